"""How long the programs take to answer: `python bench/views.py [ENTRIES…]`, default: 10 and 200000.

Whole processes, with the start of Python, in milliseconds; beside them the processor time of the
program and of the daemon. A daemon has so many entries, due at 1440 minutes of the day, in tables
of at most 100,000.
"""

import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.support.running_daemon import RunningDaemon, program

ROOT = Path(__file__).parents[1]
ROUNDS = 5
LONG = 3.0  # seconds; what takes longer is measured once
QUESTIONS = [["status"], ["next", "--count", "5"], ["list"], ["top", "--once"]]
LOADING = 600  # seconds at most
TABLE = 100_000  # entries, the most that a table may have


@contextmanager
def daemon_with(entries: int, directory: Path) -> Iterator[RunningDaemon]:
    arguments: list[str | Path] = ["--foreground", "--state-dir", directory / "state"]
    for first in range(0, entries, TABLE):
        table = directory / f"table-{first}"
        numbers = range(first, min(entries, first + TABLE))
        table.write_text("".join(f"{n % 60} {n // 60 % 24} * * * job {n}\n" for n in numbers))
        arguments += ["--table", table]
    tables = len(arguments) // 2 - 1
    daemon = RunningDaemon(arguments, directory / "log")
    try:
        end = time.monotonic() + LOADING
        while len(daemon.log("table_loaded")) < tables and time.monotonic() < end:
            time.sleep(0.5)
        time.sleep(3)
        yield daemon
    finally:
        daemon.stop()


def measure(daemon: RunningDaemon, state: Path, words: list[str]) -> str:
    walls, programs, daemons = [], [], []
    of_daemon = psutil.Process(daemon.process.pid)
    lines = 0
    while len(walls) < ROUNDS and not (walls and walls[-1] > LONG):
        before, children = sum(of_daemon.cpu_times()[:2]), resource.RUSAGE_CHILDREN
        used, began = resource.getrusage(children), time.monotonic()
        command = program("pycron", "--state-dir", state, *words)
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        walls.append(time.monotonic() - began)
        after = resource.getrusage(children)
        programs.append(after.ru_utime + after.ru_stime - used.ru_utime - used.ru_stime)
        daemons.append(sum(of_daemon.cpu_times()[:2]) - before)
        lines = len(done.stdout.splitlines())
    return (
        f"{' '.join(words):16} {1000 * min(walls):8.0f} ms (to {1000 * max(walls):.0f})   processor"
        f" time {1000 * min(programs):6.0f} ms, of the daemon {1000 * min(daemons):6.0f} ms  "
        f" {lines:,} lines"
    )


def main() -> None:
    os.environ["PYTHONPATH"] = str(ROOT)  # for the programs
    print(f"Python {platform.python_version()}, load {os.getloadavg()[0]:.1f}")
    for entries in map(int, sys.argv[1:] or ["10", "200000"]):
        print(f"\n{entries:,} entries")
        with (
            tempfile.TemporaryDirectory() as scratch,
            daemon_with(entries, Path(scratch)) as daemon,
        ):
            for words in QUESTIONS:
                print(f"  {measure(daemon, Path(scratch) / 'state', words)}", flush=True)


if __name__ == "__main__":
    main()
