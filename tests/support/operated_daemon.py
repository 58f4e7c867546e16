"""Somebody at the command line of a foreground daemon, and the daemon."""

import json
import os
import pwd
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from subprocess import DEVNULL, PIPE, CompletedProcess, Popen
from typing import Any

from tests.support.running_daemon import RunningDaemon, program, run

Row = dict[str, Any]
ME = pwd.getpwuid(os.geteuid()).pw_name


@dataclass
class Operator:
    """`gate`: a file that commands of `held` wait for; it comes at the end of the test."""

    directory: Path
    arguments: list[str | Path]
    daemon: RunningDaemon

    @property
    def state(self) -> Path:
        return self.directory / "state"

    @property
    def gate(self) -> Path:
        return self.directory / "gate"

    def do(self, *words: str) -> CompletedProcess[str]:
        return run("pycron", "--state-dir", self.state, *words)

    def begin(self, *words: str) -> Popen[str]:
        """The same, which goes on meanwhile."""
        command = program("pycron", "--state-dir", self.state, *words)
        return Popen(command, stdin=DEVNULL, stdout=PIPE, stderr=PIPE, text=True)

    def rows(self, verb: str, *words: str) -> list[Row]:
        done = self.do(verb, "--json", *words)
        assert (done.returncode, done.stderr) == (0, "")
        return [json.loads(line) for line in done.stdout.splitlines()]

    def row(self, verb: str, *words: str) -> Row:
        (row,) = self.rows(verb, *words)
        return row

    def refusal(self, *words: str) -> str:
        """Why it was refused."""
        done = self.do(*words)
        assert (done.returncode, done.stdout) == (1, "")
        return done.stderr.removeprefix("pycron: ").removesuffix("\n")

    def start(self, job: str, *words: str) -> str:
        """The run_id of a Run that was started by hand."""
        return str(self.row("start", job, *words)["run_id"])

    def runs(self, job: str) -> list[Row]:
        """All Runs of a Job, the oldest first."""
        return self.rows("runs", "--job", job, "--limit", "10000")[::-1]

    def open_gate(self) -> None:
        self.gate.touch()

    def kill_daemon(self) -> None:
        """With SIGKILL; and another one takes up its state."""
        self.daemon.kill()
        known = len(self.daemon.log("daemon_started"))
        self.daemon = RunningDaemon(self.arguments, self.directory / "log")
        self.daemon.wait_for("daemon_started", count=known + 1)


def held(directory: Path) -> str:
    """A command that goes on until the gate is opened."""
    return f"while [ ! -e {directory}/gate ]; do sleep 0.05; done"


@contextmanager
def operating(
    directory: Path, table: str, config: str = "", *, system: bool = False
) -> Iterator[Operator]:
    """A foreground daemon on one table; `system`: with a user column."""
    (directory / "table").write_text(table)
    (directory / "config").write_text(config)
    kind = "--system-table" if system else "--table"
    arguments: list[str | Path] = [
        "--foreground", kind, directory / "table", "--config", directory / "config",
        "--state-dir", directory / "state",
    ]  # fmt: skip
    operator = Operator(directory, arguments, RunningDaemon(arguments, directory / "log"))
    try:
        operator.daemon.wait_for("daemon_started")
        yield operator
    finally:
        operator.open_gate()
        operator.daemon.stop()
