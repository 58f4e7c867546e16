"""How late a running service starts what is due: `python bench/service.py [JOBS] [MINUTES]`.

As root, where pycron runs as a service: with systemd, a cgroup for each command, and the journal,
which `compare` has none of. Beside it, in turns, plain spawning of the same commands. It makes a
table of its own in /etc/pycron.d, and removes it.
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
PATIENCE = 50  # seconds after a boundary in which all are to start


class Bench:
    """So many commands, each of which notes in a file when it ran."""

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
        """The first and the last start after the next boundary, in ms."""
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
            spawned = told("spawn", bench.spawning(), bench)
            ratios.append(told("pycron", bench.service(), bench) / spawned)
    print(f"  last / spawn  {statistics.median(ratios):.2f}")


def told(name: str, running: AbstractContextManager[None], bench: Bench) -> float:
    """A minute of it, printed; its last start."""
    with running:
        first, last = bench.minute()
    print(f"  {name:8} first {first:8.1f}   last {last:8.0f}", flush=True)
    return last


if __name__ == "__main__":
    main()
