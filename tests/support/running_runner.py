"""A real runner for a test, and the daemon's end of the wire to it."""

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
    """Children of a runner that have not become anything else."""
    found = []
    for pid in children(runner):
        with contextlib.suppress(OSError):
            program, *arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            # What starts a runner may have children with the same arguments.
            if program == os.fsencode(sys.executable) and b"pycron.runner" in arguments:
                found.append(pid)
    return found


class Host:
    """A runner and the daemon's end of the wire to it."""

    def __init__(self, directory: Path) -> None:
        self.paths = paths_in(directory)
        self.paths.output.mkdir()
        self.selector = selectors.DefaultSelector()
        self.messages: list[Message] = []
        self.pids: set[int] = set()
        self.client, self.process, _ = start_runner(self.paths, self.selector)
        self.selector.register(self.client, selectors.EVENT_READ)

    def order(self, id: str, command: str, **changes: Any) -> Message:
        order: Message = {
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
        return order | changes

    def start(self, id: str, command: str, **changes: Any) -> Message:
        """Start a command; what the runner says of it."""
        self.client.send([self.order(id, command, **changes)])
        return until(lambda: self.heard("started", id) or self.heard("refused", id) or {})

    def run(self, command: str, **changes: Any) -> tuple[Message, str]:
        """How a command ended, and what it printed."""
        self.start("only", command, **changes)
        return self.ended("only"), self.output("only")

    def hear(self) -> list[Message]:
        """Everything that has been said on this connection; an end says the start as well."""
        self.client.flush()
        started = {message["id"] for message in self.messages if message["type"] == "started"}
        for message in map(dict, self.client.receive()):
            if message["type"] == "started":
                started.add(message["id"])
            elif message["type"] == "ended" and message["id"] not in started:
                self.messages.append(message | {"type": "started"})
            self.messages.append(message)
        self.pids |= {message["pid"] for message in self.messages if "pid" in message}
        return self.messages

    def heard(self, kind: str, id: str) -> Message | None:
        found = (m for m in self.hear() if m["type"] == kind and m["id"] == id)
        return next(found, None)

    def ended(self, id: str) -> Message:
        return until(lambda: self.heard("ended", id) or {})

    def output_path(self, id: str) -> Path:
        return self.paths.output / "2026-03-08" / f"{id}.log"

    def output(self, id: str) -> str:
        path = self.output_path(id)
        return path.read_bytes().decode("utf-8", "surrogateescape") if path.exists() else ""

    def say_goodbye(self) -> None:
        """The end of a daemon in good order."""
        self.client.send([{"type": "bye"}])
        self.hang_up()

    def hang_up(self) -> None:
        """The end of a daemon that was killed."""
        self.selector.unregister(self.client)
        self.client.close()
        self.messages = []

    def call_again(self) -> dict[str, Message]:
        """A new connection; the Attempts that the runner knows."""
        self.client = until(self._find)  # type: ignore[assignment]
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
            self.hear()
        self.client.close()
        self.selector.close()
        self.process.kill()
        self.process.wait()
        for pid in self.pids:  # commands outlive their runner; each is the leader of its group
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
