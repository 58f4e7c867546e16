"""A real pycrond for a test, and its log."""

import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pycron.system.programs import own_programs
from tests.support.waiting import until

LogLine = dict[str, Any]
PYTHON = shlex.quote(sys.executable)  # in a shell command: its path may have a blank


def program(name: str, *arguments: str | Path, python: str | Path = sys.executable) -> list[str]:
    """The command line of one of pycron's programs, in this interpreter or another one."""
    return [str(python), "-m", f"pycron.cli.{name}", *map(str, arguments)]


def command_path(path: str = "/usr/bin:/bin") -> str:
    """The PATH of a command: the daemon adds the directory of its programs, if it has one."""
    programs = own_programs()
    return path if programs in (None, *path.split(":")) else f"{path}:{programs}"


def run(
    name: str, *arguments: str | Path, stdin: str | None = None, **more: Any
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end; its output as text."""
    source = {"stdin": subprocess.DEVNULL} if stdin is None else {"input": stdin}
    return subprocess.run(
        program(name, *arguments), capture_output=True, text=True, timeout=60, check=False,
        **source, **more,
    )  # fmt: skip


def python_script(text: str) -> str:
    """A program in this Python. A shell starts it, because no path after #! may have a blank."""
    return f"""#!/bin/sh
'''exec' "{sys.executable}" "$0" "$@"
' '''
{text}"""


class RunningDaemon:
    """A daemon whose log is a file of JSON lines."""

    def __init__(
        self,
        arguments: list[str | Path],
        log: Path,
        prefix: list[str] | None = None,
        python: str | Path = sys.executable,
        **more: Any,
    ) -> None:
        """`prefix`: the command that runs the daemon, such as nsenter."""
        self._log = log
        self._lines: list[LogLine] = []
        self._read_up_to = 0  # bytes of the log
        command = program("pycrond", "--log-format", "json", *arguments, python=python)
        with log.open("a") as stderr:
            self._earlier = len(self.log())  # of another daemon with this log
            self.process = subprocess.Popen(
                [*(prefix or []), *command],
                stdin=subprocess.DEVNULL,
                stdout=stderr,
                stderr=stderr,
                **more,
            )

    def log(self, event: str | None = None, **fields: object) -> list[LogLine]:
        """The lines of its log with this event and these fields.

        A last line without its end is left out: a reader may see half a write.
        """
        self._read_on()
        return [
            line
            for line in self._lines
            if event in (None, line["event"]) and fields.items() <= line.items()
        ]

    def _read_on(self) -> None:
        """Read only the new lines, because a waiting test calls this 200 times a second."""
        with self._log.open("rb") as log:
            log.seek(self._read_up_to)
            whole, end, _ = log.read().rpartition(b"\n")
        for text in whole.decode().splitlines():
            assert text.startswith("{"), text
            self._lines.append(json.loads(text))
        self._read_up_to += len(whole) + len(end)

    def wait_for(self, event: str, *, count: int = 1, **fields: object) -> LogLine:
        """The `count`-th line of the log with this event and these fields, as soon as it is there.

        Fails if the daemon ends before its first such line, or after 30 seconds.
        """

        def is_logged() -> bool:
            lines = self.log(event, **fields)
            assert lines or self.process.poll() is None, self._log.read_text()
            return len(lines) >= count

        until(is_logged, patience=30)
        return self.log(event, **fields)[count - 1]

    def wait_until_ready(self) -> None:
        """Until it has read its tables and met the runner, at most 30 seconds.

        Earlier, a table that a test writes anew may still be empty when the daemon reads it first,
        and a daemon in the foreground that has nothing to run ends.
        """

        def has_met_the_runner() -> bool:
            events = {line["event"] for line in self.log()[self._earlier :]}
            assert self.process.poll() is None, self._log.read_text()
            return not events.isdisjoint({"runner_started", "runner_found"})

        until(has_met_the_runner, patience=30)

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def wait(self) -> int:
        return self.process.wait(30)

    def stop(self) -> int:
        """End the daemon with SIGTERM, and its commands with a second one after 5 seconds."""
        if self.process.poll() is None:
            self.signal(signal.SIGTERM)
            try:
                return self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.signal(signal.SIGTERM)
        return self.process.wait(30)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        # A kill may cut a write short.
        os.truncate(self._log, self._log.read_bytes().rfind(b"\n") + 1)


@contextmanager
def foreground(
    table: str, directory: Path, *arguments: str | Path, **more: Any
) -> Iterator[RunningDaemon]:
    """A foreground daemon on one table, its state in `directory`/state."""
    path = directory / "table"
    path.write_text(table)
    daemon = RunningDaemon(
        ["--foreground", "--table", path, "--state-dir", directory / "state", *arguments],
        directory / "log",
        **more,
    )
    try:
        daemon.wait_until_ready()
        yield daemon
    finally:
        daemon.stop()


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
