"""Daemons of different versions of pycron, one after the other, on the same state."""

import os
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pycron.system import paths
from tests.support.isolated_system import PRIVATE
from tests.support.remaining_processes import VARIABLE
from tests.support.running_daemon import RunningDaemon, program

CHECKOUT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Version:
    """A version of pycron: the interpreter that runs it, and where that imports from first."""

    path: Path | None = None
    python: str | Path = sys.executable

    @property
    def environment(self) -> dict[str, str]:
        return {
            "PATH": os.defpath,
            "PYTHONPATH": str(self.path or ""),
            VARIABLE: os.environ[VARIABLE],
        }


OURS = Version(path=CHECKOUT)


class UserDaemon:
    """One table and state for successive daemons: as root the system's, else the user's own."""

    def __init__(self, directory: Path) -> None:
        self.go = directory / "go"
        self._directory = directory
        self._daemons: list[RunningDaemon] = []
        if os.geteuid() == 0:
            self.table = Path(f"{directory}{paths.SPOOL}/root")
            self._prefix = _with_directories_in(directory)
        else:
            self.table = directory / ".config/pycron/crontab"
            self._prefix = []

    def write_table(self, text: str) -> None:
        self.table.parent.mkdir(parents=True, exist_ok=True)
        self.table.write_text(f"GO={self.go}\n{text}")

    def configure(self, text: str) -> None:
        """Write the configuration of the system's daemon; only as root."""
        path = Path(f"{self._directory}{paths.SYSTEM_CONFIG}")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def start(self, version: Version) -> RunningDaemon:
        log = self._directory / f"log{len(self._daemons)}"
        daemon = RunningDaemon(
            [], log, prefix=self._prefix, python=version.python, **self._how(version)
        )
        self._daemons.append(daemon)
        daemon.wait_until_ready()
        return daemon

    def run(self, *arguments: str, version: Version = OURS) -> str:
        """Run pycron, which must succeed; its output."""
        command = [*self._prefix, *program("pycron", *arguments, python=version.python)]
        printed: str = subprocess.check_output(command, text=True, **self._how(version))
        return printed

    def _how(self, version: Version) -> dict[str, Any]:
        return {"env": {"HOME": str(self._directory), **version.environment}, "cwd": "/"}

    def end(self) -> None:
        """End all daemons, runners and commands."""
        self.go.touch()
        for daemon in self._daemons:
            daemon.stop()
            for line in daemon.log("runner_started"):
                _end_runner(line["pid"])


def _with_directories_in(directory: Path) -> list[str]:
    """A command prefix: the system's directories of pycron are mounted from below `directory`."""
    bind = "mkdir -p {0} {1}{0}; mount --bind {1}{0} {0}"
    script = "; ".join(bind.format(path, directory) for path in PRIVATE)
    return ["unshare", "--mount", "sh", "-ec", f'{script}; exec "$@"', "sh"]


def _end_runner(pid: int) -> None:
    """Kill a runner: with unsent messages it would wait for a next daemon."""
    with suppress(OSError):
        if b"pycron.runner" in Path(f"/proc/{pid}/cmdline").read_bytes():
            os.kill(pid, signal.SIGKILL)
