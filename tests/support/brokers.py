"""Real brokers for a test: a redis-server and a RabbitMQ, on loopback, below a directory.

A test that needs one is skipped where the server is not installed.
"""

import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.waiting import until

_RABBITMQ = Path("/usr/lib/rabbitmq/bin")
PASSWORD = "br0ker/pass:word"  # with signs that a URL quotes
QUOTED = "br0ker%2Fpass%3Aword"

needs_redis = pytest.mark.skipif(shutil.which("redis-server") is None, reason="needs redis-server")
needs_rabbitmq = pytest.mark.skipif(
    not (_RABBITMQ / "rabbitmq-server").exists(), reason="needs rabbitmq-server"
)


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


class RabbitServer:
    """A RabbitMQ of one node, with its own port mapper and its own files."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        self.port, self._distribution, self._mapper = free_port(), free_port(), free_port()
        self._plugins = directory / "plugins"
        self._plugins.write_text("[].\n")
        self.process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def url(self) -> str:
        return f"amqp://guest:guest@127.0.0.1:{self.port}//"

    def _environment(self) -> dict[str, str]:
        base = self.directory
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(base),
            "RABBITMQ_NODENAME": f"pycron{self.port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(self._distribution),
            "RABBITMQ_MNESIA_BASE": str(base / "mnesia"),
            "RABBITMQ_LOG_BASE": str(base / "log"),
            "RABBITMQ_PID_FILE": str(base / "node.pid"),
            "RABBITMQ_CONF_ENV_FILE": "/dev/null",
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self._plugins),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_EPMD_PORT": str(self._mapper),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": (
                "-kernel inet_dist_use_interface {127,0,0,1} +S 1:1"
            ),
        }

    def start(self) -> None:
        """Start the node; ready after some seconds."""
        with (self.directory / "rabbitmq.log").open("ab") as log:
            self.process = subprocess.Popen(
                [str(_RABBITMQ / "rabbitmq-server")], env=self._environment(),
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        until(lambda: _listens(self.port), patience=90)

    def stop(self) -> None:
        """End the node with TERM, and wait for it."""
        if self.process is not None and self.process.poll() is None:
            os.kill(int((self.directory / "node.pid").read_text()), 15)
            self.process.wait(60)

    def close(self) -> None:
        """End the node, and the port mapper that it has started."""
        self.stop()
        found = subprocess.run(
            ["ss", "-Hltnp", f"sport = :{self._mapper}"], capture_output=True, text=True, check=True
        )
        _, _, rest = found.stdout.partition("pid=")
        if rest:
            os.kill(int(rest.partition(",")[0]), 15)


@contextmanager
def rabbitmq_server(directory: Path) -> Iterator[RabbitServer]:
    """A RabbitServer; it is ended at the end."""
    server = RabbitServer(directory)
    try:
        yield server
    finally:
        server.close()
