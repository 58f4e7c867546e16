"""The cost of a long history: `python bench/history.py [RUNS] [DIRECTORY]`.

Fills a store with RUNS Runs (default: ten million) of 1000 Jobs of 20 users; one Run in fifty has
failed. Then it measures the daemon's steps on this store and on an empty one.
"""

import json
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import astuple, replace
from pathlib import Path

from pycron.crontab.reader import ReaderContext, parse
from pycron.engine.actions import (
    Record,
    RecordAttempt,
    RecordCursor,
    RecordEnded,
    RecordRun,
    RecordStarted,
)
from pycron.engine.cursor import Cursor
from pycron.model.history import RunFilter
from pycron.model.job import Job, Source
from pycron.model.retention import RetentionLimits
from pycron.model.run import AttemptKey, Ending, Outcome, RunKey
from pycron.storage.store import Store

BEGIN = 1_700_000_000 // 60 * 60
JOBS = 1000
USERS = 20
BATCH = 100_000
LIMITS = RetentionLimits(10**9, 10**9, 10**9, 2**40, 2**40, 2**40)


def jobs() -> list[Job]:
    return [
        parse(
            f"CRON_NAME=job{number} * * * * * {number}\n", Source(user, user), ReaderContext()
        ).jobs[0]
        for number in range(JOBS)
        for user in [f"user{number % USERS}"]
    ]


def minute(jobs: list[Job], fire_time: int) -> tuple[list[Record], list[list[Record]]]:
    """The records of a minute in which all Jobs are due.

    First the records of all starts; then those of all ends, in groups of 40.
    """
    begun: list[Record] = []
    ended: list[Record] = []
    for number, job in enumerate(jobs):
        attempt = AttemptKey(RunKey(job.id, fire_time), 1)
        begun += [RecordRun(attempt.run, job), RecordAttempt(attempt)]
        ending = Ending(fire_time + 1.5, 0, None, 0.01, 10**7, 42, 42)
        ended += [
            RecordStarted(attempt, 10_000 + number, fire_time + 0.1),
            RecordEnded(attempt, Outcome.SUCCEEDED, ending, None, Outcome.SUCCEEDED),
        ]
    begun.append(RecordCursor(Cursor(fire_time, fire_time)))
    return begun, [ended[first : first + 40] for first in range(0, len(ended), 40)]


def burst(store: Store, jobs: list[Job], fire_time: int) -> float:
    """Write a minute of Runs; the CPU microseconds for the four records of one Run."""
    begun, ended = minute(jobs, fire_time)
    began = time.process_time()
    store.write(begun)
    for group in ended:
        store.write(group)
    return (time.process_time() - began) / len(jobs) * 1e6


def fill(path: Path, runs: int) -> int:
    """Write Runs with SQL, which is faster than the store; return the last fire time.

    The Runs of a Job are a minute apart, and later rows have later fire times.
    """
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute("PRAGMA synchronous = OFF")
        owners = dict(database.execute("SELECT number, user FROM jobs").fetchall())
        numbers = sorted(owners)
        (first,) = database.execute("SELECT max(number) + 1 FROM runs").fetchone()
        for start in range(0, runs, BATCH):
            span = range(start, min(start + BATCH, runs))
            database.execute("BEGIN")
            database.executemany(
                "INSERT INTO runs (number, job, user, fire_time, pass, outcome, dead)"
                " VALUES (?, ?, ?, ?, 0, ?, 0)",
                (
                    (first + number, job, owners[job], BEGIN + 60 * (number // JOBS + 1),
                     "failed" if number % 50 == 0 else "succeeded")
                    for number in span
                    for job in [numbers[number % JOBS]]
                ),
            )  # fmt: skip
            database.executemany(
                "INSERT INTO attempts VALUES (?, 1, 4711, ?, ?, ?, 0, NULL, 0.01, 10000000, ?, ?,"
                " NULL)",
                (
                    (first + number, began + 0.1, began + 1.5,
                     "failed" if number % 50 == 0 else "succeeded",
                     42 * (number % 4 == 0), 42 * (number % 4 == 0))
                    for number in span
                    for began in [BEGIN + 60 * (number // JOBS + 1)]
                ),
            )  # fmt: skip
            database.execute("COMMIT")
        end = BEGIN + 60 * (runs // JOBS + 1)
        # When a daemon starts, it reads all Runs whose fire time is after the cursor.
        reached = json.dumps(astuple(Cursor(end, end)))
        database.execute("INSERT OR REPLACE INTO meta VALUES ('cursor', ?)", (reached,))
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return end


def median_us(times: int, work: Callable[[int], object]) -> float:
    """The median wall time of one call, in microseconds."""
    taken = []
    for number in range(times):
        began = time.perf_counter()
        work(number)
        taken.append(time.perf_counter() - began)
    return statistics.median(taken) * 1e6


def tick(store: Store, job: Job, fire_time: int) -> None:
    attempt = AttemptKey(RunKey(job.id, fire_time), 1)
    cursor = RecordCursor(Cursor(fire_time, fire_time))
    store.write([RecordRun(attempt.run, job), RecordAttempt(attempt), cursor])


def writing(store: Store, all_jobs: list[Job], after: int) -> tuple[float, float, float]:
    """The microseconds of three steps.

    A tick that begins one Run; one of 1000 Runs from begin to end (CPU); a retention step that
    finds nothing to delete.
    """
    cpu = min(burst(store, all_jobs, after + 60 * number) for number in range(1, 11))
    one = median_us(200, lambda number: tick(store, all_jobs[0], after + 3600 + number))
    an_hour = 3600  # each step prunes up to an hour later, because otherwise it would do nothing
    nothing = median_us(20, lambda number: store.prune(LIMITS, number * an_hour, lambda _: None))
    return one, cpu, nothing


def queries(end: int) -> dict[str, RunFilter]:
    some = RunFilter(20)
    middle = BEGIN + (end - BEGIN) // 2
    return {
        "all": some,
        "job": replace(some, job="job7"),
        "user": replace(some, user="user7"),
        "outcome failed": replace(some, outcome=Outcome.FAILED),
        "outcome lost (none)": replace(some, outcome=Outcome.LOST),
        "user and outcome": replace(some, user="user0", outcome=Outcome.FAILED),
        "job and outcome": replace(some, job="job0", outcome=Outcome.FAILED),
        "job and outcome (none)": replace(some, job="job0", outcome=Outcome.LOST),
        "an hour, long ago": replace(some, since=middle, until=middle + 3600),
        "user, before the first": replace(some, user="user7", until=BEGIN),
        "dead (none)": replace(some, dead=True),
    }


def main() -> None:
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000_000
    with tempfile.TemporaryDirectory(dir=sys.argv[2] if len(sys.argv) > 2 else None) as directory:
        path = Path(directory) / "pycron.db"
        all_jobs = jobs()
        with closing(Store(path)) as store:
            empty = writing(store, all_jobs, BEGIN - 86_400)
        began = time.perf_counter()
        end = fill(path, runs)
        print(f"{runs:,} Runs written in {time.perf_counter() - began:.0f} s", flush=True)
        full_size = path.stat().st_size
        opening = median_us(3, lambda _: Store(path).close())
        with closing(Store(path)) as store:
            checking = median_us(1, lambda _: store._database._check_pages())
            full = writing(store, all_jobs, end)
            pages = {
                name: median_us(5, lambda _, wanted=wanted: store.runs(wanted))
                for name, wanted in queries(end).items()
            }
            fewer = replace(LIMITS, runs=store.count_runs() * 9 // 10)
            some = median_us(10, lambda _: store.prune(fewer, 0, lambda _: None))
            minutes = 10
            left = 0
            while left != (left := store.count_runs()):
                store.prune(fewer, 0, lambda _: None)
                minutes += 1
        pruned_size = path.stat().st_size

    print(f"\n{'microseconds':44}{'empty':>12}{runs:>14,}")
    print(f"{'a tick that begins one Run (median)':44}{empty[0]:12.0f}{full[0]:14.0f}")
    print(f"{'1000 Runs from begin to end, CPU of each':44}{empty[1]:12.1f}{full[1]:14.1f}")
    print(f"{'a retention step, nothing to delete':44}{empty[2]:12.0f}{full[2]:14.0f}")
    print(f"{'a retention step, 2000 Runs to delete':44}{'':12}{some:14.0f}")
    print(f"{'opening the store':44}{'':12}{opening:14.0f}")
    print(f"{'checking it, after a crash':44}{'':12}{checking:14.0f}")
    print("first page of 20")
    for name, taken in pages.items():
        print(f"  {name:42}{'':12}{taken:14.0f}")
    print(f"\nthe file: {full_size / 2**20:,.0f} MiB, {full_size / runs:.0f} bytes a Run; ", end="")
    print(f"a tenth deleted in {minutes} steps: {pruned_size / 2**20:,.0f} MiB")


if __name__ == "__main__":
    main()
