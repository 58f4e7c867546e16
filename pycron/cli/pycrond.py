"""pycrond: the daemon's command line."""

import argparse
import contextlib
import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from pycron import __version__
from pycron.cli.daemon_directories import (
    AlreadyRunning,
    NoSafeDirectory,
    locked,
    make_directory,
    make_spool,
    temporary_directory,
)
from pycron.cli.instants import parse_instant
from pycron.cli.named_tables import NamedTables, UnusableTable
from pycron.cli.output_end import ends_quietly
from pycron.cli.table_options import add_table_options, named_sources
from pycron.cli.terminal import raw
from pycron.config import Config, ConfigError, Configuration
from pycron.daemon.daemon import Daemon
from pycron.daemon.demands import NO_DEMANDS, BadTables, NothingToRun, TableDemands
from pycron.daemon.log import (
    FORMATS,
    LEVELS,
    DaemonLog,
    LogChoice,
    complaint,
    configure,
    default_format,
)
from pycron.daemon.setup import Mode, Setup
from pycron.executor.environments import (
    NOTHING_PASSED,
    Passed,
    passed_in_foreground,
    passed_to_desktop,
)
from pycron.executor.link import NoRunner
from pycron.model.problem import Problem, Severity
from pycron.model.text import printable
from pycron.storage.errors import StoreError, StoreTooNew
from pycron.system import host, paths
from pycron.system.accounts import own_account
from pycron.system.files import ROOTS, TRUSTED, FileRules, own_rules
from pycron.system.listen_address import NO_PROMETHEUS_CLIENT, BadAddress, parse_address
from pycron.system.pam import why_no_pam
from pycron.system.paths import Paths
from pycron.system.programs import own_programs
from pycron.system.zone_data import UnknownZone, ZoneData, unknown_machine_zone
from pycron.tables.check import check_file
from pycron.tables.directories import TableDirectories, TableLocation
from pycron.tables.layouts import layout_of
from pycron.tables.user_tables import UserTablePaths

# A second start would fail in the same way: the unit does not try it (RestartPreventExitStatus).
_MISCONFIGURED = (ConfigError, NoSafeDirectory, StoreTooNew)
_FAILURES = (
    AlreadyRunning, UnusableTable, UnknownZone, NothingToRun, BadTables, NoRunner, StoreError,
    OSError,
)  # fmt: skip


_OF_FOREGROUND = ("strict", "allow_empty", "clean_env", "pass_env", "passthrough", "quiet",
                  "no_log_commands", "once", "metrics")  # fmt: skip


def _names(text: str) -> tuple[str, ...]:
    """The names of variables with commas between them."""
    names = tuple(text.split(","))
    for name in names:
        if not name or "=" in name:
            raise argparse.ArgumentTypeError(f'no name of a variable: "{name}"')
    return names


def _address(text: str) -> str:
    try:
        parse_address(text)
    except BadAddress as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    if find_spec("prometheus_client") is None:
        raise argparse.ArgumentTypeError(NO_PROMETHEUS_CLIENT)
    return text


def _host_id(text: str) -> str:
    if not text:
        raise argparse.ArgumentTypeError("an empty text identifies no host")
    return text


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="pycrond",
        description="A cron daemon. As root it serves all users; as any other user that user's "
        "own table; with --foreground the tables that are named.",
    )
    parser.add_argument("--foreground", action="store_true",
                        help="run the tables that are named and print what they do")  # fmt: skip
    parser.add_argument("--config", metavar="F", type=Path, help="the configuration file")
    add_table_options(parser)
    parser.add_argument("--state-dir", metavar="D", type=Path,
                        help="where history, output and sockets are kept")  # fmt: skip
    parser.add_argument("--host-id", metavar="ID", type=_host_id,
                        help="what H, ~ and CRON_JITTER depend on, instead of the machine "
                        "id")  # fmt: skip
    parser.add_argument("--log-format", choices=FORMATS,
                        help="of the log; default: journal under systemd, console on a "
                        "terminal, else json")  # fmt: skip
    parser.add_argument("--log-level", choices=LEVELS, default="info",
                        help="of the log: the least important events; default: info")  # fmt: skip
    parser.add_argument("--passthrough", action="store_true",
                        help="with --foreground: write output as it is, not as events")  # fmt: skip
    parser.add_argument("--quiet", action="store_true",
                        help="with --foreground: log no starts and no successful ends")  # fmt: skip
    parser.add_argument("--no-log-commands", action="store_true",
                        help="with --foreground: keep commands' text out of the log")  # fmt: skip
    parser.add_argument("--strict", action="store_true",
                        help="with --foreground: do not start if a table is bad")  # fmt: skip
    parser.add_argument("--allow-empty", action="store_true",
                        help="with --foreground: start with nothing to run, too")  # fmt: skip
    parser.add_argument("--clean-env", action="store_true",
                        help="with --foreground: give commands cron's environment")  # fmt: skip
    parser.add_argument("--once", metavar="MINUTE",
                        help="with --foreground: run what is due in this minute (or now), and "
                        "exit with the worst status")  # fmt: skip
    parser.add_argument("--metrics", metavar="ADDRESS", type=_address,
                        help="with --foreground: serve metrics for Prometheus at HOST:PORT, or at "
                        "the socket of this path")  # fmt: skip
    parser.add_argument("--pass-env", metavar="NAME,…", type=_names, default=(),
                        help="with --foreground: variables for all commands")  # fmt: skip
    parser.add_argument("--check", action="store_true",
                        help="check configuration and tables, and exit")  # fmt: skip
    parser.add_argument("-v", "--verbose", action="store_true",
                        help="on the console: also the name of each event and its "
                        "keys")  # fmt: skip
    parser.add_argument("-V", "--version", action="version", version=f"pycrond {__version__}",
                        help="print the version and exit")  # fmt: skip
    return parser


def _options(arguments: list[str] | None) -> argparse.Namespace:
    options, unknown = parser().parse_known_args(arguments)
    if unknown:
        file = next(filter(os.path.exists, unknown), None)
        hint = f" (a table: --table {file}, or --system-table {file})" if file else ""
        parser().error(f"unrecognized arguments: {' '.join(unknown)}{hint}")
    return options


@ends_quietly
def main(arguments: list[str] | None = None) -> int:
    options = _options(arguments)
    mode, once = _mode(options), _minute(options)
    os.umask(0o077)  # other users may not read the files of the daemon
    if options.check:
        return _check(options, mode)
    try:
        configuration = _configuration(options, mode)
        log = _log(options)
        with _paths(options, mode) as where, locked(where):
            return Daemon(_setup(options, mode, configuration, where, once), log).run()
    except (*_MISCONFIGURED, *_FAILURES) as error:
        print(complaint(f"pycrond: {error}"), file=sys.stderr)
        return os.EX_CONFIG if isinstance(error, _MISCONFIGURED) else 1


def _log(options: argparse.Namespace) -> DaemonLog:
    choice = LogChoice(
        LEVELS[options.log_level], options.quiet, not options.no_log_commands, options.verbose
    )
    form, output = options.log_format or default_format(), raw(sys.stdout)
    return configure(form, raw(sys.stderr), choice, output if options.passthrough else None)


def _mode(options: argparse.Namespace) -> Mode:
    named = bool(options.table or options.system_table)
    if options.foreground:
        if not named:
            parser().error("--foreground needs --table or --system-table")
        return Mode.FOREGROUND
    if named and not options.check:
        parser().error("--table and --system-table need --foreground")
    for option in _OF_FOREGROUND:
        if getattr(options, option):
            parser().error(f"--{option.replace('_', '-')} needs --foreground")
    return Mode.SYSTEM if os.geteuid() == 0 else Mode.USER


def _minute(options: argparse.Namespace) -> int | None:
    """The UTC second at which the minute of --once begins; None without the option."""
    if options.once is None:
        return None
    try:
        instant = parse_instant(options.once, ZoneData().machine)
    except argparse.ArgumentTypeError as error:
        parser().error(f"--once: {error}")
    return instant - instant % 60


def _configuration(options: argparse.Namespace, mode: Mode) -> Configuration:
    """The configuration that was named, or else that of the mode. Raises ConfigError.

    In the foreground, the file is trusted as its tables are: somebody named it.
    """
    path = options.config.absolute() if options.config else None
    if path is None and mode is not Mode.FOREGROUND:
        path = paths.SYSTEM_CONFIG if mode is Mode.SYSTEM else paths.user_config()
    rules = {Mode.SYSTEM: ROOTS, Mode.USER: own_rules(), Mode.FOREGROUND: TRUSTED}[mode]
    required, objection = options.config is not None, partial(_objection, mode)
    return Configuration(path, required=required, rules=rules, objection=objection)


def _objection(mode: Mode, config: Config) -> str | None:
    """Why a daemon of this mode cannot use a configuration; None if it can.

    Without the account check that was asked for, no command may start.
    """
    services = {"pam.service": config.pam_service, "web.pam_service": config.web_pam_service}
    wanted = next((key for key, service in services.items() if service is not None), None)
    reason = why_no_pam(system=mode is Mode.SYSTEM) if wanted else None
    return f"bad {wanted}: {reason}" if reason else None


@contextlib.contextmanager
def _paths(options: argparse.Namespace, mode: Mode) -> Iterator[Paths]:
    """The daemon's directories, created if they are missing.

    A foreground daemon without --state-dir has a temporary directory, in memory if possible.
    """
    if options.state_dir:
        where = paths.paths_in(options.state_dir.absolute())
    elif mode is Mode.FOREGROUND:
        with temporary_directory() as directory:
            yield paths.paths_in(directory, temporary=True)
        return
    else:
        where = paths.system_paths() if mode is Mode.SYSTEM else paths.user_paths()
    # All users may reach the socket of root's daemon and their receipts, but not list a directory.
    for path in (where.run, where.state):
        make_directory(path, 0o711 if os.geteuid() == 0 else 0o700)
    yield where


def _setup(
    options: argparse.Namespace,
    mode: Mode,
    configuration: Configuration,
    where: Paths,
    once: int | None,
) -> Setup:
    if where.temporary:
        configuration.keep_within(shutil.disk_usage(where.state).free)
    account = own_account()
    user_tables, layout = None, layout_of(configuration.config) if mode is Mode.SYSTEM else None
    if layout is not None:
        make_spool(layout)
        make_directory(paths.DROP_INS, 0o755)
        user_tables = UserTablePaths(layout.spool, form=layout.form())
    elif mode is Mode.USER:
        table = paths.user_table()
        table.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        user_tables = UserTablePaths(table.parent, only=(account.name, table))
    if mode is Mode.FOREGROUND:
        tables = _named_tables(options, configuration.config, account.name, where)
    else:
        tables = _tables(mode, configuration.config, account.name)
    demands, passed = _demands(options, mode), _passed(options, mode, where)
    host_id = options.host_id or host.host_id()
    return Setup(mode, where, tables, user_tables, configuration, account, host_id, layout,
                 demands, passed, once, options.metrics)  # fmt: skip


def _named_tables(
    options: argparse.Namespace, config: Config, user: str, where: Paths
) -> list[TableLocation]:
    """Raises UnusableTable or OSError."""
    copies = where.run / "tables"
    copies.mkdir(mode=0o700, exist_ok=True)
    named = NamedTables(options.table, options.system_table, user)
    return named.locations(copies, config.table_bytes)


def _passed(options: argparse.Namespace, mode: Mode, where: Paths) -> Passed:
    """A command that calls pycron finds the program and this daemon, wherever both are."""
    passed = passed_to_desktop() if mode is Mode.USER else NOTHING_PASSED
    if mode is Mode.FOREGROUND:
        passed = passed_in_foreground(options.pass_env, clean=options.clean_env)
    passed = replace(passed, programs=own_programs())
    if mode is Mode.SYSTEM and not options.state_dir:
        return passed
    # A user's own daemon has its socket in another directory than its state.
    return passed.with_variable(paths.STATE_DIR_VARIABLE, str(where.run))


def _demands(options: argparse.Namespace, mode: Mode) -> TableDemands:
    """A container that runs nothing must not look healthy. Raises UnknownZone."""
    if mode is not Mode.FOREGROUND:
        return NO_DEMANDS
    if unknown := unknown_machine_zone(ZoneData()):
        raise UnknownZone(
            f'TZ: unknown zone: "{printable(unknown)}" (a name such as Europe/Berlin)'
        )
    return TableDemands(jobs=not options.allow_empty, no_errors=options.strict)


def _tables(mode: Mode, config: Config, user: str) -> list[TableLocation]:
    """Where the daemon finds its tables; `user` owns the tables without a user column."""
    if mode is Mode.SYSTEM:
        return layout_of(config).locations()
    own = FileRules(owners=lambda _: {os.geteuid()})
    return [TableLocation(paths.user_table(), owner=user, name=user, rules=own)]


def _check(options: argparse.Namespace, mode: Mode) -> int:
    """Print what is wrong with the configuration and the tables; the exit status.

    The tables are those that are named, or else those of the mode. If the configuration is bad,
    they are checked by its defaults.
    """
    config, bad = Config(), None
    try:
        config = _configuration(options, mode).config
    except ConfigError as error:
        bad = error.problem
    if options.table or options.system_table:
        problems = _problems_of_named(options, config)
    else:
        problems = _problems_of_mode(mode, config)
    if bad:
        problems.insert(0, bad)
    for problem in problems:
        print(problem)
    if not problems:
        print("pycrond: nothing is wrong", file=sys.stderr)
    return 1 if any(problem.severity is Severity.ERROR for problem in problems) else 0


def _problems_of_named(options: argparse.Namespace, config: Config) -> list[Problem]:
    sources = named_sources(options)
    return [each for source in sources for each in check_file(source, config)]


def _problems_of_mode(mode: Mode, config: Config) -> list[Problem]:
    from pycron.tables.check import check_found

    locations = _tables(mode, config, own_account().name)
    directories = TableDirectories(locations, lambda: config)
    return [problem for change in directories.scan() for problem in check_found(change, config)]


if __name__ == "__main__":
    sys.exit(main())
