"""Brokers of a test's own: a Redis, a RabbitMQ, and moto's server, which plays SQS."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from pycron.cluster.publisher import Publisher
from tests.support.brokers import free_port
from tests.support.waiting import until

KINDS = ("redis", "rabbitmq", "sqs")
_RABBITMQ = "/usr/lib/rabbitmq/bin/rabbitmq-server"  # of Debian; in PATH there is a wrapper
_AWS = {"AWS_ACCESS_KEY_ID": "AKIAFAKE", "AWS_SECRET_ACCESS_KEY": "fake",
        "AWS_DEFAULT_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true"}  # fmt: skip


def is_here(kind: str) -> bool:
    """Whether a test can start such a server, and speak to it."""
    if find_spec("celery") is None:
        return False
    if kind == "redis":
        return shutil.which("redis-server") is not None and find_spec("redis") is not None
    if kind == "rabbitmq":
        return Path(_RABBITMQ).exists()
    return find_spec("moto") is not None and find_spec("pycurl") is not None


def each_kind() -> list[Any]:
    """Parameters for a test: each broker, skipped where it cannot be started; Redis by default."""
    return [
        pytest.param(kind, marks=[
            pytest.mark.skipif(not is_here(kind), reason=f"needs a server: {kind}"),
            *([] if kind == "redis" else [pytest.mark.slow]),
        ])
        for kind in KINDS
    ]  # fmt: skip


class Broker:
    """A server in a directory; `url` is its address for pycron.

    What it has in memory is gone after `kill`; RabbitMQ keeps its queues. `address`: at which it
    listens.
    """

    def __init__(self, kind: str, directory: Path, address: str = "127.0.0.1") -> None:
        self.kind = kind
        self.directory = directory
        self.address = address
        self.port = free_port()
        self._prefix: tuple[str, ...] = ()
        self._others = [free_port(), free_port()] if kind == "rabbitmq" else []
        self._server: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        at = f"{self.address}:{self.port}"
        return {
            "redis": f"redis://{at}/0",
            "rabbitmq": f"amqp://guest:guest@{at}//",
            "sqs": f"sqs://AKIAFAKE:fake@{at}",
        }[self.kind]

    def start(self, prefix: tuple[str, ...] = ()) -> None:
        """`prefix`: the command that runs the server, such as nsenter."""
        self._prefix = prefix
        command, environment = self._command()
        with (self.directory / "log").open("ab") as log:
            self._server = subprocess.Popen(
                [*prefix, *command], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                env={"PATH": "/usr/bin:/bin", **environment}, start_new_session=True,
                cwd=self.directory,
            )  # fmt: skip
        until(self.answers, 60)

    def _command(self) -> tuple[list[str], dict[str, str]]:
        if self.kind == "redis":
            return ["redis-server", "--port", str(self.port), "--bind", self.address, "--save", "",
                    "--appendonly", "no", "--protected-mode", "no"], {}  # fmt: skip
        if self.kind == "sqs":
            server = [sys.executable, "-m", "moto.server", "-H", self.address, "-p", str(self.port)]
            return server, {"HOME": str(self.directory), **_AWS}
        distribution, mapper = self._others
        home = self.directory
        return [_RABBITMQ], {
            "HOME": str(home), "RABBITMQ_NODENAME": f"test{self.port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": self.address, "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(distribution), "RABBITMQ_MNESIA_BASE": f"{home}/mnesia",
            "RABBITMQ_LOG_BASE": f"{home}/logs", "RABBITMQ_CONF_ENV_FILE": "/dev/null",
            "RABBITMQ_CONFIG_FILE": self._rabbitmq_rules(),
            "RABBITMQ_ENABLED_PLUGINS_FILE": f"{home}/plugins",
            "ERL_EPMD_ADDRESS": "127.0.0.1", "ERL_EPMD_PORT": str(mapper),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS":
                "-kernel inet_dist_use_interface {127,0,0,1} +S 1:1",
        }  # fmt: skip

    def _rabbitmq_rules(self) -> str:
        """`guest` may come from other addresses than the loopback, and the disk may be small."""
        rules = self.directory / "rabbitmq.conf"
        rules.write_text("loopback_users = none\ndisk_free_limit.absolute = 50MB\n")
        return str(rules)

    def answers(self) -> bool:
        if self.kind == "rabbitmq":
            # A channel as well: the port is open before the node is ready.
            probe = "import kombu, sys; kombu.Connection(sys.argv[1]).channel()"
        elif self.kind == "redis":
            probe = "import redis, sys; redis.Redis.from_url(sys.argv[1]).ping()"
        else:
            probe = "import urllib.request, sys; urllib.request.urlopen(sys.argv[2])"
        page = f"http://{self.address}:{self.port}/moto-api/"
        command = [*self._prefix, sys.executable, "-c", probe, self.url, page]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0

    def pids(self) -> list[int]:
        """The processes of the server, without RabbitMQ's port mapper, which stays."""
        assert self._server is not None
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            with suppress(OSError, IndexError):
                session = int((entry / "stat").read_text().rpartition(")")[2].split()[3])
                if session == self._server.pid:
                    found.append(int(entry.name))
        return found

    def send(self, number: signal.Signals) -> None:
        for pid in self.pids():
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        """End it, by default as a crash does; `start` starts it again."""
        if self._server is not None:
            self.send(number)
            self._server.wait()
            until(lambda: not self.pids(), 30)

    def stop(self) -> None:
        """End it and everything that it has started."""
        self.kill()
        if self._others:
            _kill_port_mapper(self._others[1])


def _kill_port_mapper(port: int) -> None:
    """RabbitMQ's epmd leaves the session of the server; its environment has its port."""
    mark = f"ERL_EPMD_PORT={port}".encode()
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if mark in (entry / "environ").read_bytes().split(b"\0"):
                os.kill(int(entry.name), signal.SIGKILL)


@cache
def publisher(broker_url: str) -> Publisher:
    """The Publisher of this process for a broker: its thread and its connection never end."""
    return Publisher(broker_url, "test")


@contextmanager
def running_broker(kind: str) -> Iterator[Broker]:
    """A server on this machine, in a new directory below /tmp."""
    directory = Path(tempfile.mkdtemp(prefix=f"pycron-{kind}-", dir="/tmp"))
    directory.chmod(0o755)
    broker = Broker(kind, directory)
    try:
        broker.start()
        yield broker
    finally:
        broker.stop()
        shutil.rmtree(directory, ignore_errors=True)
