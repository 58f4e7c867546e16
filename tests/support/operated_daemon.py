"""A foreground daemon that a test operates with the program pycron."""

import json
import os
import pwd
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from subprocess import DEVNULL, PIPE, CompletedProcess, Popen
from typing import Any

from tests.support.running_daemon import RunningDaemon, program
from tests.support.running_daemon import run as run_program

Row = dict[str, Any]
OWN_NAME = pwd.getpwuid(os.geteuid()).pw_name


@dataclass
class OperatedDaemon:
    """A daemon on one table and its command line.

    `gate`: the file that the commands of waiting_for_gate() wait for. It is created at the end
    of the test, if not before.
    """

    directory: Path
    arguments: list[str | Path]
    daemon: RunningDaemon

    @property
    def state(self) -> Path:
        return self.directory / "state"

    @property
    def gate(self) -> Path:
        return self.directory / "gate"

    def run(self, *words: str) -> CompletedProcess[str]:
        return run_program("pycron", "--state-dir", self.state, *words)

    def begin(self, *words: str) -> Popen[str]:
        """Start pycron without waiting for its end."""
        command = program("pycron", "--state-dir", self.state, *words)
        return Popen(command, stdin=DEVNULL, stdout=PIPE, stderr=PIPE, text=True)

    def rows(self, verb: str, *words: str) -> list[Row]:
        done = self.run(verb, "--json", *words)
        assert (done.returncode, done.stderr) == (0, "")
        return [json.loads(line) for line in done.stdout.splitlines()]

    def row(self, verb: str, *words: str) -> Row:
        (row,) = self.rows(verb, *words)
        return row

    def refusal(self, *words: str) -> str:
        """The message of a command that fails."""
        done = self.run(*words)
        assert (done.returncode, done.stdout) == (1, "")
        return done.stderr.removeprefix("pycron: ").removesuffix("\n")

    def start(self, job: str, *words: str) -> str:
        """Start a Run by hand; its run_id."""
        return str(self.row("start", job, *words)["run_id"])

    def runs(self, job: str) -> list[Row]:
        """All Runs of a Job, the oldest first."""
        return self.rows("runs", "--job", job, "--limit", "10000")[::-1]

    def open_gate(self) -> None:
        self.gate.touch()

    def kill_daemon(self) -> None:
        """Kill the daemon with SIGKILL and start another one on the same state."""
        self.daemon.kill()
        self.daemon = RunningDaemon(self.arguments, self.directory / "log")
        self.daemon.wait_until_ready()


def waiting_for_gate(directory: Path) -> str:
    """A shell command that runs until the gate is opened."""
    return f"while [ ! -e {directory}/gate ]; do sleep 0.05; done"


@contextmanager
def operated_daemon(
    directory: Path, table: str, config: str = "", *, system: bool = False
) -> Iterator[OperatedDaemon]:
    """A foreground daemon on one table. `system`: the table has a user column."""
    (directory / "table").write_text(table)
    (directory / "config").write_text(config)
    kind = "--system-table" if system else "--table"
    arguments: list[str | Path] = [
        "--foreground", kind, directory / "table", "--config", directory / "config",
        "--state-dir", directory / "state",
    ]  # fmt: skip
    operated = OperatedDaemon(directory, arguments, RunningDaemon(arguments, directory / "log"))
    try:
        operated.daemon.wait_until_ready()
        yield operated
    finally:
        operated.open_gate()
        operated.daemon.stop()
