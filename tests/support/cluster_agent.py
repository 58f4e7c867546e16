"""A real agent, and this test as its daemon."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pycron.protocol.cluster_messages import agent_message
from pycron.protocol.framing import CHUNK, Decoder, encode
from pycron.system import lease_file, unix_sockets

ROOT = Path(__file__).resolve().parents[2]
_PATIENCE = 30.0  # seconds
TERMS: dict[str, Any] = {
    "concurrency": "allow",
    "max_running": None,
    "pool": None,
    "window": 300.0,
    "catch_up": False,
    "after": [],
    "hosts": None,
    "retry": {
        "most": 3,
        "lost": True,
        "delay": 0.1,
        "backoff": 1.0,
        "delay_max": 1.0,
        "jitter": 0.0,
        "until": None,
    },
}


def run_at(fire_time: int, name: str = "nightly") -> dict[str, Any]:
    return {"owner": "deploy", "name": name, "fire_time": fire_time}


class Agent:
    """An agent process of a host, and the connection of a daemon to it."""

    def __init__(self, directory: Path, address: str, host: str, **hello: Any) -> None:
        directory.mkdir(exist_ok=True)
        self.directory = directory
        self.path = str(directory / "agent.sock")
        self.hello = {
            "type": "hello",
            "protocol": 1,
            "cluster": "test",
            "database": address,
            "host": host,
            "lease": 15.0,
            "lease_file": str(directory / "lease"),
            "store": "store-" + host,
            "pools": {},
            "version": "1",
            "tzdata": "2026a",
            "tables": "",
        } | hello
        self.messages: list[Any] = []
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the process and connect to it."""
        listener = unix_sockets.listen(self.path, 0o600, 4)
        with listener, (self.directory / "agent.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "pycron.cluster", str(listener.fileno())],
                pass_fds=[listener.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
            )
        self.connect()

    def connect(self) -> None:
        self.messages = []
        self._decoder = Decoder(2**24)
        self._connection = unix_sockets.connect(self.path, _PATIENCE)
        self.send(self.hello)
        self.wait_for(lambda: self.heard("hello"))

    def disconnect(self) -> None:
        self._connection.close()

    def send(self, *messages: dict[str, Any]) -> None:
        self._connection.sendall(encode(messages))

    def ask(self, run: dict[str, Any], **terms: Any) -> None:
        self.send({"type": "ask", "run": run, "terms": TERMS | terms})

    def finish(self, held: dict[str, Any], outcome: str, retry_in: float | None = None) -> None:
        kept = {key: held[key] for key in ("run", "attempt", "incarnation")}
        more = {"outcome": outcome, "reason": None, "retry_in": retry_in}
        self.send({"type": "finish", **kept, **more})

    def accept(self, offer: dict[str, Any], **terms: Any) -> None:
        self.send({**offer, "type": "accept", "terms": TERMS | terms})

    def receive(self, seconds: float) -> None:
        """Take in what comes within so many seconds; returns as soon as something has come."""
        self._connection.settimeout(max(0.001, seconds))
        try:
            data = self._connection.recv(CHUNK)
        except TimeoutError:
            return
        assert data, "the agent has closed the connection"
        for message in self._decoder.feed(data):
            if message["type"] != "hello":
                assert agent_message(message) is not None
            self.messages.append(message)

    def heard(self, kind: str, run: dict[str, Any] | None = None) -> list[Any]:
        return [
            each
            for each in self.messages
            if each["type"] == kind and (run is None or each["run"] == run)
        ]

    def wait_for(self, condition: Callable[[], Any], seconds: float = _PATIENCE) -> Any:
        """What the condition returns as soon as it is true."""
        deadline = time.monotonic() + seconds
        while not (result := condition()):
            assert time.monotonic() < deadline, self.messages
            self.receive(min(0.2, deadline - time.monotonic()))
        return result

    def answer(self, kind: str, run: dict[str, Any]) -> Any:
        """The last message of this type about this Run, as soon as there is one."""
        return self.wait_for(lambda: self.heard(kind, run))[-1]

    def answer_to(self, run: dict[str, Any]) -> Any:
        """The answer that settles the question about this Run, as soon as there is one."""
        return self.wait_for(lambda: self.heard("held", run) or self.heard("settled", run))[-1]

    def registered(self) -> str:
        """The incarnation, as soon as there is one."""

        def live() -> Any:
            statuses = self.heard("status")
            return statuses and statuses[-1]["incarnation"]

        return str(self.wait_for(live))

    def hosts(self) -> list[str]:
        """The live hosts, as last told."""
        statuses = self.heard("status")
        return list(statuses[-1]["hosts"]) if statuses else []

    def lease(self) -> lease_file.Lease | None:
        return lease_file.read(str(self.hello["lease_file"]))

    def signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def stop(self) -> None:
        if self.process is not None:
            self._connection.close()
            self.process.kill()
            self.process.wait()
            self.process = None
