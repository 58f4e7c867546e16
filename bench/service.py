"""How late a running service starts due commands: `python bench/service.py [JOBS] [MINUTES]`.

Run it as root on a machine where pycron runs as a service: with systemd, a cgroup for each command,
and the journal. The box of `compare` has none of these three. It measures minutes of pycron and of
plain spawning of the same commands in turns. It adds a table to /etc/pycron.d and removes it.
"""

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "compare"))

from daemons import build

TABLE = Path("/etc/pycron.d/bench-service")
CACHE = Path("/tmp/pycron-bench")
PATIENCE = 50  # seconds after a boundary within which all commands must start


class Bench:
    """The commands of one measurement; each writes the time of its start to a file."""

    def __init__(self, directory: Path, jobs: int) -> None:
        self._jobs = jobs
        self._stamps = directory / "stamps"
        self._commands = directory / "commands"
        self._lines = [f"{CACHE}/stamp {self._stamps} {number}\n" for number in range(jobs)]
        self._commands.write_text("".join(self._lines))

    @contextmanager
    def spawning(self) -> Iterator[None]:
        with subprocess.Popen([CACHE / "spawn", "60", self._commands, "root", "0"]) as process:
            yield
            process.kill()

    @contextmanager
    def service(self) -> Iterator[None]:
        new = TABLE.with_name(f".{TABLE.name}")
        new.write_text("".join(f"* * * * * root {line}" for line in self._lines))
        new.rename(TABLE)
        try:
            yield
        finally:
            TABLE.unlink()

    def minute(self) -> tuple[float, float]:
        """The first and the last start of the next minute, in ms after it begins."""
        boundary = (time.time() + 10) // 60 * 60 + 60
        time.sleep(boundary - 1 - time.time())
        self._stamps.write_text("")
        while len(times := self._times()) < self._jobs and time.time() < boundary + PATIENCE:
            time.sleep(0.2)
        if len(times) != self._jobs:
            sys.exit(f"{len(times)} of {self._jobs} commands ran within {PATIENCE} s")
        return (min(times) - boundary) * 1e3, (max(times) - boundary) * 1e3

    def _times(self) -> list[float]:
        return [int(line.split()[1]) / 1e9 for line in self._stamps.read_text().splitlines()]


def main() -> None:
    jobs = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    minutes = int(sys.argv[2]) if len(sys.argv) > 2 else 3
    build(CACHE)
    print(f"{jobs:,} commands due in a minute (ms after it began)")
    ratios = []
    with tempfile.TemporaryDirectory() as directory:
        bench = Bench(Path(directory), jobs)
        for _ in range(minutes):
            spawned = measured("spawn", bench.spawning(), bench)
            ratios.append(measured("pycron", bench.service(), bench) / spawned)
    print(f"  last / spawn  {statistics.median(ratios):.2f}")


def measured(name: str, running: AbstractContextManager[None], bench: Bench) -> float:
    """Measure one minute and print it; return the last start, in ms after the minute begins."""
    with running:
        first, last = bench.minute()
    print(f"  {name:8} first {first:8.1f}   last {last:8.0f}", flush=True)
    return last


if __name__ == "__main__":
    main()
