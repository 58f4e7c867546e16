"""A redis-server with a password, below a directory; queue_brokers.py has other brokers."""

import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.waiting import until

PASSWORD = "br0ker/pass:word"  # with signs that a URL quotes
QUOTED = "br0ker%2Fpass%3Aword"

needs_redis = pytest.mark.skipif(shutil.which("redis-server") is None, reason="needs redis-server")


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
    return port


def _listens(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


class RedisServer:
    """A redis-server with a password, which a test may kill and start again at the same port.

    What it holds is lost when it is killed, unless `durable`.
    """

    def __init__(self, directory: Path, *, durable: bool = False) -> None:
        self.directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self._durable = ["yes", "--appendfsync", "always"] if durable else ["no"]
        self.process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def url(self) -> str:
        """Of the database 0; the password is PASSWORD."""
        return f"redis://:{QUOTED}@127.0.0.1:{self.port}/0"

    def start(self) -> None:
        with (self.directory / "redis.log").open("ab") as log:
            self.process = subprocess.Popen(
                ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--save", "",
                 "--requirepass", PASSWORD, "--dir", str(self.directory),
                 "--appendonly", *self._durable],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        until(lambda: _listens(self.port))

    def signal(self, number: signal.Signals) -> None:
        """SIGSTOP makes it silent, SIGCONT lets it go on."""
        if self.process is not None:
            self.process.send_signal(number)

    def kill(self) -> None:
        """End it as a crash would."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()


@contextmanager
def redis_server(directory: Path, *, durable: bool = False) -> Iterator[RedisServer]:
    """A RedisServer; it is killed at the end."""
    server = RedisServer(directory, durable=durable)
    try:
        yield server
    finally:
        server.kill()
