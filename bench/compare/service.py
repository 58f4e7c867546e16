"""Bursts of the pycron that runs as the machine's service.

It has systemd, the journal, and for each command a cgroup with its controllers; the box of the
other measures has none of these. It adds a table to /etc/pycron.d and removes it.
"""

import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from box import Unable

_TABLE = Path("/etc/pycron.d/bench-service")
_SLICE = Path("/sys/fs/cgroup/system.slice")
_SPAWN = "pycron-bench-spawn"  # the unit of plain spawning
_PATIENCE = 40  # seconds after a boundary within which all commands must start
_REST = 5  # seconds after the last start, for what follows the ends


class Minute(NamedTuple):
    """First and last start: ms after the minute begins. `cpu`: seconds, including commands."""

    first: float
    last: float
    cpu: float


class ServiceBurst:
    """Commands that are all due in each minute; each notes when it has started."""

    def __init__(self, directory: Path, cache: Path, jobs: int, *, shell: bool) -> None:
        self._spawn = cache / "spawn"
        self._stamps = directory / "stamps"
        self._commands = directory / "commands"
        stamp = f"{'cd / && ' if shell else ''}{cache}/stamp {self._stamps}"
        self._lines = [f"{stamp} {number}\n" for number in range(jobs)]
        self._commands.write_text("".join(self._lines))

    def spawned(self) -> Minute:
        """The next minute of plain spawning, also as a service."""
        argv = [f"--unit={_SPAWN}", self._spawn, "60", self._commands, "root", "0"]
        subprocess.run(["systemd-run", "--quiet", "--collect", *argv], check=True)
        try:
            return self._minute([_SLICE / f"{_SPAWN}.service"])
        finally:
            subprocess.run(["systemctl", "stop", _SPAWN], check=True)

    def pycron(self) -> Minute:
        """The next minute of pycron."""
        new = _TABLE.with_name(f".{_TABLE.name}")
        new.write_text("".join(f"* * * * * root {line}" for line in self._lines))
        new.rename(_TABLE)
        try:
            return self._minute([_SLICE / "pycron.service", *_SLICE.glob("pycron-runner-*.scope")])
        finally:
            _TABLE.unlink()

    def _minute(self, cgroups: list[Path]) -> Minute:
        boundary = (time.time() + 12) // 60 * 60 + 60
        # The Runs of a burst are recorded up to five seconds ahead of it.
        time.sleep(boundary - 7 - time.time())
        before = sum(map(_cpu, cgroups))
        time.sleep(boundary - 1 - time.time())
        self._stamps.write_text("")
        while len(times := self._times()) < len(self._lines) and time.time() < boundary + _PATIENCE:
            time.sleep(0.2)
        if len(times) != len(self._lines):
            raise Unable(f"{len(times)} of {len(self._lines)} commands ran in {_PATIENCE} s")
        time.sleep(_REST)
        cpu = sum(map(_cpu, cgroups)) - before
        return Minute((min(times) - boundary) * 1e3, (max(times) - boundary) * 1e3, cpu)

    def _times(self) -> list[float]:
        return [int(line.split()[1]) / 1e9 for line in self._stamps.read_text().splitlines()]


@contextmanager
def service_burst(cache: Path, jobs: int, *, shell: bool) -> Iterator[ServiceBurst]:
    """Raises Unable if pycron is not a service of this machine."""
    active = ["systemctl", "is-active", "--quiet", "pycron"]
    if not Path("/run/systemd/system").exists() or subprocess.run(active, check=False).returncode:
        raise Unable("pycron does not run as a service of systemd here")
    with tempfile.TemporaryDirectory() as directory:
        yield ServiceBurst(Path(directory), cache, jobs, shell=shell)


def _cpu(cgroup: Path) -> float:
    fields = dict(line.split() for line in (cgroup / "cpu.stat").read_text().splitlines())
    return int(fields["usage_usec"]) / 1e6
