"""A real runner for a test, and the daemon's end of the connection to that runner."""

import contextlib
import os
import pwd
import selectors
import signal
import socket
import sys
from pathlib import Path
from typing import Any

import pytest

from pycron.executor.connection import RunnerClient, RunnerGone
from pycron.executor.launch import find_runner, start_runner
from pycron.protocol.framing import Message
from pycron.system import unix_sockets
from pycron.system.paths import paths_in
from tests.support.waiting import until

MEGABYTE = 2**20

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


def children(pid: int) -> list[int]:
    try:
        return [
            int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        ]
    except (FileNotFoundError, ProcessLookupError):
        return []


def starters_of(runner: int) -> list[int]:
    """The starters of a runner: its children that have not executed another program."""
    found = []
    for pid in children(runner):
        with contextlib.suppress(OSError):
            program, *arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            # The process that starts a runner may have children with the same arguments.
            if program == os.fsencode(sys.executable) and b"pycron.runner" in arguments:
                found.append(pid)
    return found


class RunningRunner:
    """A runner process and the daemon's end of the connection to it."""

    def __init__(self, directory: Path, *, again: bool = False) -> None:
        """`again`: an earlier runner has used this directory."""
        self.paths = paths_in(directory)
        self.paths.output.mkdir(exist_ok=again)
        self.selector = selectors.DefaultSelector()
        self.messages: list[Message] = []
        self.pids: set[int] = set()
        self.client, self.process, _ = start_runner(self.paths, self.selector)
        self.selector.register(self.client, selectors.EVENT_READ)

    def start_message(self, id: str, command: str, **changes: Any) -> Message:
        message: Message = {
            "type": "start",
            "id": id,
            "argv": ["/bin/sh", "-c", command],
            "env": {"PATH": "/usr/bin:/bin"},
            "user": None,
            "cwd": str(self.paths.state),
            "cwd_required": True,
            "umask": None,
            "nice": None,
            "stdin": None,
            "output": str(self.output_path(id)),
            "output_limit": MEGABYTE,
            "short_output": 0,
            "report_output": False,
            "hold": None,
            "timeout": None,
            "kill_after": 10,
            "memory_max": None,
            "processes_max": 4096,
        }
        return message | changes

    def start(self, id: str, command: str, **changes: Any) -> Message:
        """Start a command and return the runner's answer: `started` or `refused`."""
        self.client.send([self.start_message(id, command, **changes)])
        return until(lambda: self.received("started", id) or self.received("refused", id) or {})

    def run(self, command: str, **changes: Any) -> tuple[Message, str]:
        """Run a command to its end: the runner's `ended` message, and the output."""
        self.start("only", command, **changes)
        return self.ended("only"), self.output("only")

    def receive(self) -> list[Message]:
        """All messages of this connection so far.

        An `ended` message without a `started` one before it counts as both.
        """
        self.client.flush()
        started = {message["id"] for message in self.messages if message["type"] == "started"}
        early, self.client.came_with_hello = self.client.came_with_hello, []
        for message in map(dict, [*early, *self.client.receive()]):
            if message["type"] == "started":
                started.add(message["id"])
            elif message["type"] == "ended" and message["id"] not in started:
                self.messages.append(message | {"type": "started"})
            self.messages.append(message)
        self.pids |= {message["pid"] for message in self.messages if "pid" in message}
        return self.messages

    def received(self, kind: str, id: str) -> Message | None:
        found = (m for m in self.receive() if m["type"] == kind and m["id"] == id)
        return next(found, None)

    def ended(self, id: str) -> Message:
        return until(lambda: self.received("ended", id) or {})

    def output_path(self, id: str) -> Path:
        return self.paths.output / "2026-03-08" / f"{id}.log"

    def output(self, id: str) -> str:
        path = self.output_path(id)
        return path.read_bytes().decode("utf-8", "surrogateescape") if path.exists() else ""

    def disconnect_in_good_order(self) -> None:
        """Disconnect like a daemon that stops in good order."""
        self.client.send([{"type": "bye"}])
        self.disconnect()

    def disconnect(self) -> None:
        """Disconnect like a daemon that is killed: without a message."""
        self.selector.unregister(self.client)
        self.client.close()
        self.messages = []

    def reconnect(self) -> dict[str, Message]:
        """Connect again; the Attempts that the runner knows, by id."""
        self.client = until(self._find)
        self.selector.register(self.client, selectors.EVENT_READ)
        self.messages = []
        return {message["id"]: dict(message) for message in self.client.known}

    def _find(self) -> RunnerClient | None:
        assert self.alive(), self.paths.runner_log.read_text()
        return find_runner(self.paths, self.selector)

    def raw_connection(self) -> socket.socket:
        return unix_sockets.connect(str(self.paths.runner_socket), 10)

    def alive(self) -> bool:
        return self.process.poll() is None

    def close(self) -> None:
        with contextlib.suppress(RunnerGone, OSError, ValueError):
            self.receive()
        self.client.close()
        self.selector.close()
        self.process.kill()
        self.process.wait()
        for pid in self.pids:  # commands outlive their runner; each leads its process group
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)


def exists(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def status_of(pid: int | str, key: str) -> str:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(line.split(":")[1].strip() for line in lines if line.startswith(f"{key}:"))


def other_user(groups: tuple[int, ...] = ()) -> dict[str, Any]:
    entry = pwd.getpwnam("nobody")
    return {"uid": entry.pw_uid, "gid": entry.pw_gid, "groups": [entry.pw_gid, *groups]}
