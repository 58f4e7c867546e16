"""Counts of ended Runs, in the table `meta`.

They are written in the transaction that records the ends. So they survive a restart, and after a
crash they still equal the record. The rows are bounded: `most` named Jobs have a row of their own.
"""

import json
import sqlite3
from collections.abc import Callable, Iterable
from typing import TypeGuard

from pycron.model.counts import (
    DELIVERIES,
    DURATION_BOUNDS,
    LATENESS_BOUNDS,
    OTHER_JOBS,
    STARTS,
    Counts,
    CountsOfJobs,
    Histogram,
    Series,
)
from pycron.model.run import Outcome
from pycron.storage.meta import parsed

_PREFIX = "counts:"
_SHARED = (OTHER_JOBS, DELIVERIES, STARTS)


class Counters:
    """Counts in memory, and writes what has changed.

    After a failed transaction a new object has to be made: this one has counted what was not
    written. `most`: how many Jobs may have a series of their own; it may change.
    """

    def __init__(self, database: sqlite3.Connection, most: Callable[[], int]) -> None:
        self._db = database
        self._most = most
        self._counts: dict[Series, Counts] | None = None  # read when they are needed
        self._changed: dict[Series, None] = {}
        self._dropped: set[Series] = set()

    # ---- counting

    def ended(self, series: Series, outcome: Outcome, at: float | None) -> None:
        """A Run has ended. `at`: when its last Attempt ended, a UTC second."""
        counts = self._to_change(series)
        counts.ended[outcome] = counts.ended.get(outcome, 0) + 1
        if outcome is Outcome.SUCCEEDED and at is not None:
            counts.succeeded = max(at, counts.succeeded or 0.0)

    def ran(self, series: Series, seconds: float) -> None:
        """An Attempt has ended after so many seconds."""
        self._to_change(series).seconds.add(max(0.0, seconds))

    def started(self, late: float) -> None:
        """The first Attempt of a Run has started, so many seconds after its fire time."""
        self._to_change(STARTS).seconds.add(max(0.0, late))

    def _to_change(self, series: Series) -> Counts:
        """The counts of a series; those of OTHER_JOBS if there are too many series."""
        counts = self._read()
        if series not in counts and len(counts) - len(_SHARED) >= self._most():
            series = OTHER_JOBS
        self._changed[series] = None
        return counts.setdefault(series, Counts())

    def write(self) -> None:
        """Write what has changed, within the caller's transaction. Raises sqlite3.Error."""
        if self._changed:
            counts = self._read()
            rows = [(_key(series), _text(counts[series])) for series in self._changed]
            self._db.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", rows)
            self._changed.clear()
        if self._dropped:
            keys = [(_key(series),) for series in self._dropped]
            self._db.executemany("DELETE FROM meta WHERE key = ?", keys)
            self._dropped.clear()

    # ---- reading

    def of_jobs(self, jobs: Iterable[Series]) -> CountsOfJobs:
        """The counts of the first Jobs that have a series of their own, or may get one.

        `jobs`: all named Jobs. The series of Jobs that are not among them make room if there are
        too many. Raises sqlite3.Error.
        """
        counts, most = self._read(), self._most()
        jobs = dict.fromkeys(jobs)
        if len(counts) - len(_SHARED) >= most:
            self._make_room(jobs, most)
        own = [series for series in jobs if series in counts]
        room = most - (len(counts) - len(_SHARED))
        new = [series for series in jobs if series not in counts][: max(0, room)]
        shown = set(own) | set(new)
        return CountsOfJobs(
            {series: counts.get(series) or Counts() for series in jobs if series in shown},
            counts[OTHER_JOBS],
            counts[DELIVERIES],
            counts[STARTS],
        )

    def _make_room(self, jobs: dict[Series, None], most: int) -> None:
        """Drop the series of Jobs that do not exist any more, then those beyond `most`."""
        counts = self._read()
        own = [series for series in counts if series not in _SHARED]
        left = [series for series in own if series in jobs]
        for series in set(own) - set(left[:most]):
            del counts[series]
            self._changed.pop(series, None)
            self._dropped.add(series)

    def _read(self) -> dict[Series, Counts]:
        """Raises sqlite3.Error."""
        if self._counts is None:
            found = {series: Counts() for series in _SHARED}
            found[STARTS].seconds = Histogram(LATENESS_BOUNDS)
            query = "SELECT key, value FROM meta WHERE key GLOB ?"
            for key, value in self._db.execute(query, (f"{_PREFIX}*",)):
                series = _series(key)
                bounds = LATENESS_BOUNDS if series == STARTS else DURATION_BOUNDS
                if series is not None and (counts := _counts(value, bounds)) is not None:
                    found[series] = counts
            self._counts = found
        return self._counts


def _key(series: Series) -> str:
    return _PREFIX + json.dumps(series, ensure_ascii=True)


def _series(key: str) -> Series | None:
    match parsed(key.removeprefix(_PREFIX)):
        case [str(user), str(job_name)]:
            return Series(user, job_name)
    return None


def _text(counts: Counts) -> str:
    return json.dumps((counts.ended, counts.seconds.buckets, counts.seconds.sum, counts.succeeded))


def _counts(text: str, bounds: tuple[float, ...]) -> Counts | None:
    """The counts in a row; None if it is damaged, or of a version with other buckets."""
    match parsed(text):
        case [dict(ended), [*buckets], int() | float() as total, None | int() | float() as last]:
            counts = [count for count in buckets if _is_count(count)]
            known: dict[str, int] = {o: ended[o] for o in Outcome if _is_count(ended.get(o))}
            if len(counts) == len(buckets) == len(bounds) + 1:
                return Counts(known, Histogram(bounds, counts, float(total)), last)
    return None


def _is_count(value: object) -> TypeGuard[int]:
    return type(value) is int and value >= 0
