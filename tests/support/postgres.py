"""A PostgreSQL server of a test's own, with nothing durable: for speed, not for power cuts."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.waiting import until

_HOMES = "/usr/lib/postgresql"  # of Debian
_SETTINGS = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "listen_addresses": "127.0.0.1",
    "max_connections": "60",
    "shared_buffers": "32MB",
    "deadlock_timeout": "200ms",
}


def programs() -> Path | None:
    """The directory of initdb and postgres, the newest; None if there is none here."""
    if found := shutil.which("initdb"):
        path = Path(found).resolve().parent
        if (path / "postgres").exists():
            return path
    homes = sorted(Path(_HOMES).glob("*/bin/postgres")) if Path(_HOMES).exists() else []
    return homes[-1].parent if homes else None


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


class Postgres:
    """A server in a directory. As root, it runs as the user postgres, because it refuses root."""

    def __init__(self, directory: Path, port: int, **settings: str) -> None:
        self.directory = directory
        self.data = directory / "data"
        self.port = port
        self._settings = _SETTINGS | settings
        self._server: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._server is not None
        return self._server.pid

    def address(self, database: str = "postgres", host: str = "127.0.0.1") -> str:
        return f"postgresql://postgres@{host}:{self.port}/{database}"

    def make(self) -> None:
        """Make the cluster; everybody on this machine may connect."""
        command = ["initdb", "-D", str(self.data), "-A", "trust", "-U", "postgres",
                   "--no-sync", "--locale=C.UTF-8", "--encoding=UTF8"]  # fmt: skip
        self._run(command).wait()

    def start(self, *, wait: bool = True, prefix: tuple[str, ...] = ()) -> None:
        """`prefix`: the command that runs the server; as root, it has to change the user, too."""
        settings = [f"-c{key}={value}" for key, value in self._settings.items()]
        command = ["postgres", "-D", str(self.data), "-p", str(self.port),
                   f"-cunix_socket_directories={self.directory}", *settings]  # fmt: skip
        self._server = self._run(command, prefix)
        if wait:
            until(self.answers, 60)

    def stop(self, signum: signal.Signals = signal.SIGINT) -> None:
        """By default at once, with all connections closed."""
        if self._server is not None:
            self._server.send_signal(signum)
            self._server.wait(60)
            self._server = None

    def empty(self) -> None:
        """Delete the tables of pycron, for the next test; a test may have stopped the server."""
        if self._server is None:
            self.start()
        self.psql("DROP SCHEMA IF EXISTS pycron CASCADE")

    def back_up(self, directory: Path) -> None:
        """Copy the running server: what a standby has that gets nothing more from now on."""
        command = ["pg_basebackup", "-h", str(self.directory), "-p", str(self.port), "-U",
                   "postgres", "-D", str(directory), "-X", "stream", "-c", "fast"]  # fmt: skip
        assert self._run(command).wait(120) == 0

    def answers(self) -> bool:
        try:
            self.psql("SELECT 1")
        except subprocess.CalledProcessError:
            return False
        return True

    def psql(self, statement: str, database: str = "postgres") -> str:
        """Run statements and return what they print, without a heading."""
        done = subprocess.run(
            ["psql", "-XAtq", "-v", "ON_ERROR_STOP=1", self.address(database), "-c", statement],
            capture_output=True, text=True, check=True, timeout=60,
            # A test may have given the database another default.
            env={**os.environ, "PGOPTIONS": "-c default_transaction_read_only=off"},
        )  # fmt: skip
        return done.stdout.strip()

    def _run(self, command: list[str], prefix: tuple[str, ...] = ()) -> "subprocess.Popen[bytes]":
        home = programs()
        assert home is not None
        account = pwd.getpwnam("postgres") if os.geteuid() == 0 and not prefix else None
        with (self.directory / "log").open("ab") as log:
            return subprocess.Popen(
                [*prefix, str(home / command[0]), *command[1:]],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.directory,
                user=account.pw_uid if account else None,
                group=account.pw_gid if account else None,
                extra_groups=[] if account else None,
                env={"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"},
            )  # fmt: skip


def is_here() -> bool:
    """Whether a test can start a server: the programs, and, for root, the account."""
    if programs() is None or shutil.which("psql") is None:
        return False
    return os.geteuid() != 0 or any(each.pw_name == "postgres" for each in pwd.getpwall())


@contextmanager
def running_postgres(**settings: str) -> Iterator[Postgres]:
    """A server in a new directory below /tmp: the path of its socket has to be short."""
    directory = Path(tempfile.mkdtemp(prefix="pycron-pg-", dir="/tmp"))
    if os.geteuid() == 0:
        shutil.chown(directory, "postgres", "postgres")
    directory.chmod(0o755)
    server = Postgres(directory, free_port(), **settings)
    try:
        server.make()
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(directory, ignore_errors=True)
