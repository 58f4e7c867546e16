"""Counts what records say of Runs that have started and ended; see counters.py."""

import sqlite3
from collections.abc import Callable, Iterable

from pycron.crontab.identity import is_named
from pycron.engine.actions import (
    Record,
    RecordEnded,
    RecordNotStarted,
    RecordRun,
    RecordStarted,
)
from pycron.engine.shared_actions import RecordHold
from pycron.model.counts import DELIVERIES, OTHER_JOBS, TESTS, CountsOfJobs, Series
from pycron.model.job import Job
from pycron.model.run import TEST_SUFFIX, AttemptKey
from pycron.storage.counters import Counters

_MOST_KNOWN = 20_000  # Jobs whose series is remembered


class Counting:
    """Counts records that are being written.

    After a failed transaction a new object has to be made. `most`: how many named Jobs have a
    series of their own.
    """

    def __init__(self, database: sqlite3.Connection, most: Callable[[], int]) -> None:
        self._db = database
        self._counters = Counters(database, most)
        self._series: dict[str, Series] = {}  # by the id of the Job
        self._started: dict[AttemptKey, float] = {}  # of those that have not ended

    def count(self, records: Iterable[Record]) -> None:
        """Count records that the same transaction has just written. Raises sqlite3.Error."""
        for record in records:
            match record:
                case RecordRun() | RecordHold():
                    self._remember(record.job)
                case RecordStarted():
                    self._started[record.attempt] = record.started
                    self._count_start(record)
                case RecordEnded():
                    self._count_end(record)
                case RecordNotStarted():
                    series = self._series_of(record.run.job_id)
                    if series != TESTS:
                        self._counters.ended(series, record.outcome, None)
        self._counters.write()

    def of_jobs(self, jobs: Iterable[Series]) -> CountsOfJobs:
        """See Counters.of_jobs. Raises sqlite3.Error."""
        return self._counters.of_jobs(jobs)

    def forget_jobs(self) -> None:
        """Look up the Jobs again: some have another owner or name."""
        self._series.clear()

    def _count_start(self, record: RecordStarted) -> None:
        run, number = record.attempt
        if number == 1 and not run.is_by_hand and self._series_of(run.job_id) != DELIVERIES:
            self._counters.started(record.started - run.fire_time)

    def _count_end(self, record: RecordEnded) -> None:
        series = self._series_of(record.attempt.run.job_id)
        ended = record.ending.ended if record.ending else None
        started = self._started.pop(record.attempt, None) or self._recorded_start(record.attempt)
        if series == TESTS:
            return
        if ended is not None and started is not None and series != DELIVERIES:
            self._counters.ran(series, ended - started)
        if record.run_outcome is not None:
            self._counters.ended(series, record.run_outcome, ended)

    def _recorded_start(self, attempt: AttemptKey) -> float | None:
        """When an Attempt has started that an earlier daemon recorded."""
        run = attempt.run
        row = self._db.execute(
            "SELECT started FROM jobs JOIN runs ON runs.job = jobs.number"
            " JOIN attempts ON attempts.run = runs.number"
            " WHERE jobs.id = ? AND fire_time = ? AND pass = ? AND attempts.number = ?",
            (run.job_id, run.fire_time, run.pass_number, attempt.number),
        ).fetchone()
        return row[0] if row and isinstance(row[0], float) else None

    def _remember(self, job: Job) -> None:
        if job.id in self._series:
            return
        if len(self._series) >= _MOST_KNOWN:
            self._series.clear()
        if job.settings.runs_on.shared:  # its id does not come from its table
            self._series[job.id] = Series(job.user, job.name)
            return
        is_delivery = job.delivery is not None
        self._series[job.id] = _series(job.id, job.source.name, job.user, job.name, is_delivery)

    def _series_of(self, job_id: str) -> Series:
        """The series of a Job; an earlier daemon may have recorded its Run."""
        if job_id not in self._series:
            row = self._db.execute(
                'SELECT "table", users.name AS user, jobs.name AS name, about FROM jobs'
                " JOIN users ON users.number = jobs.user WHERE id = ?",
                (job_id,),
            ).fetchone()
            if row is None:
                return OTHER_JOBS
            about = row["about"] is not None
            self._series[job_id] = _series(job_id, row["table"], row["user"], row["name"], about)
        return self._series[job_id]


def _series(job_id: str, table: str, user: str, name: str, is_delivery: bool) -> Series:
    if is_delivery:
        return DELIVERIES
    if name.endswith(TEST_SUFFIX):
        return TESTS
    return Series(user, name) if is_named(job_id, table, user, name) else OTHER_JOBS
