"""Whether retention keeps up: `python bench/retention.py [RUNS] [MEBIBYTES] [DIRECTORY]`.

Writes RUNS Runs (default: ten million) through the store, 1000 for each simulated minute. Once a
minute, like the daemon, it deletes the Runs beyond the default limits, or beyond MEBIBYTES of
database. Only the measured steps and ticks wait for the disk.
"""

import sys
import tempfile
import time
from collections import deque
from contextlib import closing
from dataclasses import replace
from itertools import chain
from pathlib import Path
from statistics import mean

from history import BEGIN, JOBS, jobs, median_us, minute, tick

from pycron.config import Config
from pycron.crontab.reader import ReaderContext, parse
from pycron.engine.actions import RecordEnded
from pycron.model.job import Source
from pycron.model.run import AttemptKey, Outcome, RunKey
from pycron.storage.store import Store

STEPS = 10
TICKS = 200
STEPS_MEASURED = 100
MIB = 2**20


class Life:
    """A store that is written to and pruned, and the largest sizes of its files."""

    def __init__(self, path: Path, config: Config) -> None:
        self.store = Store(path)
        self.steps: deque[float] = deque(maxlen=STEPS_MEASURED)  # milliseconds
        self.file = self.journal = self.both = 0
        self._ticked = 0
        self._config = config
        self._files = path, path.with_name(f"{path.name}-wal")
        self._jobs = jobs()
        self._ticking = parse("@every 1s tick\n", Source("tick", "user0"), ReaderContext()).jobs[0]

    def minute(self, fire_time: int) -> None:
        """Write the start and the end of a Run of each Job, then do a retention step."""
        begun, ended = minute(self._jobs, fire_time)
        self._wait_for_disk("OFF")
        self.store.write(begun)
        self.store.write(chain.from_iterable(ended))
        self._wait_for_disk("FULL")
        self._measure()
        before = fire_time - self._config.retention_days * 86_400
        self.steps.append(
            median_us(1, lambda _: self.store.prune(self._config.keep, before, lambda _: None))
            / 1e3
        )
        self._measure()

    def tick(self, after: int) -> float:
        """The median microseconds of a tick that begins one Run; the Runs are ended afterwards.

        The fire times are successive seconds, from `after` or from the last tick on.
        """
        first = max(after, self._ticked)
        self._ticked = first + TICKS
        taken = median_us(TICKS, lambda number: tick(self.store, self._ticking, first + number))
        done = Outcome.SUCCEEDED
        self.store.write(
            RecordEnded(AttemptKey(RunKey(self._ticking.id, second), 1), done, None, None, done)
            for second in range(first, self._ticked)
        )
        return taken

    def close(self) -> None:
        self.store.close()

    def _wait_for_disk(self, how: str) -> None:
        self.store._database.connection.execute(f"PRAGMA synchronous = {how}")

    def _measure(self) -> None:
        file, journal = (path.stat().st_size for path in self._files)
        self.file = max(self.file, file)
        self.journal = max(self.journal, journal)
        self.both = max(self.both, file + journal)


def configured() -> Config:
    if len(sys.argv) > 2:
        return replace(Config(), retention_database_bytes=int(sys.argv[2]) * MIB)
    return Config()


def live(life: Life, runs: int) -> None:
    """Write all Runs; print a row of the table after each tenth of them."""
    print(f"{'Runs written':>12} {'kept':>9}{'largest file, journal, both (MiB)':>35}"
          f"{'tick (us)':>11}{'step (ms)':>11}{'longest':>9}")  # fmt: skip
    life.tick(BEGIN - TICKS)  # the journal grows to its usual size before the first measurement
    print(f"{0:12,} {0:9,}{'':35}{life.tick(BEGIN):11.0f}", flush=True)
    minutes = runs // JOBS
    for number in range(1, minutes + 1):
        fire_time = BEGIN + 60 * number
        life.minute(fire_time)
        if number % (minutes // STEPS) == 0:
            sizes = "".join(f"{size / MIB:9.1f}" for size in (life.file, life.journal, life.both))
            print(f"{number * JOBS:12,} {life.store.count_runs():9,}{sizes:>35}"
                  f"{life.tick(fire_time):11.0f}{mean(life.steps):11.1f}{max(life.steps):9.1f}",
                  flush=True)  # fmt: skip


def main() -> None:
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000_000
    config = configured()
    print(f"{runs:,} Runs; at most {config.retention_runs:,} are kept, in a file of at most"
          f" {config.retention_database_bytes / MIB:,.0f} MiB\n")  # fmt: skip
    began = time.perf_counter()
    with (
        tempfile.TemporaryDirectory(dir=sys.argv[3] if len(sys.argv) > 3 else None) as directory,
        closing(Life(Path(directory) / "pycron.db", config)) as life,
    ):
        live(life, runs)
    print(f"\n{time.perf_counter() - began:,.0f} s")


if __name__ == "__main__":
    main()
