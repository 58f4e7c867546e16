"""pycrond: the daemon's command line."""

import argparse
import contextlib
import fcntl
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from pycron import __version__
from pycron.config import Config, ConfigError, read_config
from pycron.daemon.daemon import Daemon
from pycron.daemon.log import FORMATS, configure, default_format
from pycron.daemon.setup import Mode, Setup
from pycron.executor.link import NoRunner
from pycron.model.job import Source
from pycron.model.problem import Problem, Severity
from pycron.storage.errors import StoreError
from pycron.system import host, paths
from pycron.system.accounts import Accounts, own_account
from pycron.system.paths import Paths
from pycron.tables.check import check_file
from pycron.tables.directories import TableDirectories, TableLocation
from pycron.tables.user_tables import UserTablePaths


class AlreadyRunning(Exception):
    """Another daemon has this state directory."""


class NoTable(Exception):
    """A table that was named is not there."""


class UnsafeDirectory(Exception):
    """Somebody else could write where the daemon keeps its state."""


_FAILURES = (AlreadyRunning, NoTable, UnsafeDirectory, ConfigError, NoRunner, StoreError, OSError)


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="pycrond",
        description="A cron daemon. As root it serves all users; as any other user that user's "
        "own table; with --foreground the tables that are named.",
    )
    parser.add_argument("--foreground", action="store_true",
                        help="run the tables that are named and print what they do")  # fmt: skip
    parser.add_argument("--config", metavar="F", type=Path, help="the configuration file")
    parser.add_argument("--table", metavar="F", type=Path, action="append", default=[],
                        help="a table without a user column")  # fmt: skip
    parser.add_argument("--system-table", metavar="F", type=Path, action="append", default=[],
                        help="a table with a user column")  # fmt: skip
    parser.add_argument("--state-dir", metavar="D", type=Path,
                        help="where history, output and sockets are kept")  # fmt: skip
    parser.add_argument("--log-format", choices=FORMATS,
                        help="of the log; default: console on a terminal, else json")  # fmt: skip
    parser.add_argument("--check", action="store_true",
                        help="check configuration and tables, and exit")  # fmt: skip
    parser.add_argument("--version", action="version", version=f"pycrond {__version__}")
    return parser


def main(arguments: list[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    mode = _mode(options)
    os.umask(0o077)  # what the daemon writes is nobody else's
    try:
        config = _config(options, mode)
        if options.check:
            return _check(options, mode, config)
        log = configure(options.log_format or default_format())
        with _paths(options, mode) as where, _lock(where):
            Daemon(_setup(options, mode, config, where), log).run()
    except _FAILURES as error:
        print(f"pycrond: {error}", file=sys.stderr)
        return 1
    return 0


def _mode(options: argparse.Namespace) -> Mode:
    named = bool(options.table or options.system_table)
    if options.foreground:
        if not named:
            parser().error("--foreground needs --table or --system-table")
        return Mode.FOREGROUND
    if named and not options.check:
        parser().error("--table and --system-table need --foreground")
    return Mode.SYSTEM if os.geteuid() == 0 else Mode.USER


def _config(options: argparse.Namespace, mode: Mode) -> Config:
    if options.config:
        return read_config(options.config, required=True)
    if mode is Mode.FOREGROUND:
        return Config()
    path = paths.SYSTEM_CONFIG if mode is Mode.SYSTEM else paths.user_config()
    return read_config(path, required=False)


@contextlib.contextmanager
def _paths(options: argparse.Namespace, mode: Mode) -> Iterator[Paths]:
    """The directories, made when missing; for a foreground daemon without one, in memory."""
    if options.state_dir:
        where = paths.paths_in(options.state_dir.absolute())
    elif mode is Mode.SYSTEM:
        where = paths.system_paths()
    elif mode is Mode.USER:
        where = paths.user_paths()
    else:
        import shutil  # 1 MB with the next one, and only a daemon without a directory asks for them
        import tempfile

        memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108
        directory = tempfile.mkdtemp(prefix="pycron-", dir=memory)
        try:
            yield paths.paths_in(Path(directory))
        finally:
            shutil.rmtree(directory, ignore_errors=True)
        return
    shared = mode is Mode.SYSTEM  # everybody may come to the socket, and no further
    _make_directory(where.run, 0o711 if shared else 0o700)
    _make_directory(where.state, 0o700)
    yield where


def _make_directory(path: Path, mode: int) -> None:
    """A directory of ours; one that others could have prepared for us is none."""
    try:
        path.mkdir(parents=True)
    except FileExistsError:
        status = path.stat()
        if status.st_uid != os.geteuid() or status.st_mode & 0o022:
            reason = "it must be this user's, and nobody else may write to it"
            raise UnsafeDirectory(f"{path}: not a safe directory: {reason}") from None
    else:
        path.chmod(mode)


@contextlib.contextmanager
def _lock(where: Paths) -> Iterator[None]:
    """One daemon for a state directory."""
    with _lock_file(where.lock) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            pid = file.read().strip()
            raise AlreadyRunning(f"another pycrond (pid {pid}) runs on {where.state}") from None
        with contextlib.suppress(OSError):  # on a full or read-only disk it only lacks the pid
            where.lock.write_text(f"{os.getpid()}\n")
        yield


def _lock_file(path: Path) -> TextIO:
    try:
        return path.open("a+")
    except OSError:
        if not path.exists():
            raise
        return path.open()  # an earlier daemon's, where nothing can be written


def _setup(options: argparse.Namespace, mode: Mode, config: Config, where: Paths) -> Setup:
    account = own_account()
    for path in [*options.table, *options.system_table]:
        if not path.exists():
            raise NoTable(f"{path}: no such table")
    user_tables = None
    if mode is Mode.SYSTEM:
        _make_directory(paths.SPOOL, 0o700)
        _make_directory(paths.DROP_INS, 0o755)
        user_tables = UserTablePaths(paths.SPOOL)
    elif mode is Mode.USER:
        table = paths.user_table()
        table.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        user_tables = UserTablePaths(table.parent, only=(account.name, table))
    tables = _tables(options, mode, account.name)
    return Setup(mode, where, tables, user_tables, config, account, host.host_id())


def _tables(options: argparse.Namespace, mode: Mode, user: str) -> list[TableLocation]:
    accounts = Accounts()

    def user_or_root(name: str) -> set[int]:
        account = accounts.find(name)
        return {0, account.uid} if account else {0}

    if mode is Mode.SYSTEM:
        return [
            TableLocation(paths.SPOOL, users=True, directory=True, owners=user_or_root),
            TableLocation(paths.DROP_INS, directory=True, owners=lambda _: {0}),
        ]
    if mode is Mode.USER:
        return [
            TableLocation(
                paths.user_table(), owner=user, name=user, owners=lambda _: {os.geteuid()}
            )
        ]
    return [TableLocation(path.absolute(), owner=user, trusted=True) for path in options.table] + [
        TableLocation(path.absolute(), trusted=True) for path in options.system_table
    ]


def _check(options: argparse.Namespace, mode: Mode, config: Config) -> int:
    problems: list[Problem] = []
    if options.table or options.system_table:
        named = [(path, own_account().name) for path in options.table]
        for path, owner in [*named, *((path, None) for path in options.system_table)]:
            problems += check_file(Source(str(path), owner), config.table_bytes)
    else:
        problems = _check_spool(mode, config)
    for problem in problems:
        print(problem)
    if not problems:
        print("pycrond: nothing is wrong", file=sys.stderr)
    return 1 if any(problem.severity is Severity.ERROR for problem in problems) else 0


def _check_spool(mode: Mode, config: Config) -> list[Problem]:
    from pycron.tables.check import check_found

    locations = _tables(argparse.Namespace(), mode, own_account().name)
    directories = TableDirectories(locations, config.table_bytes, config.tables)
    return [problem for change in directories.scan() for problem in check_found(change)]


if __name__ == "__main__":
    sys.exit(main())
