"""Reads what statistics need of many Runs, in pieces of a few milliseconds.

Deliveries are left out. All functions raise sqlite3.Error.
"""

import sqlite3

from pycron.model.history import JobSample, RunSample, SampleFilter
from pycron.storage.rows import instant_or_none, outcome_or_none, second, text, whole

# A Run that was looked at: its fire time and its row number.
Position = tuple[int, int]

_NEXT_JOB = """
SELECT jobs.number, jobs.id, jobs.name, jobs."table", jobs.line, users.name AS user
FROM jobs JOIN users ON users.number = jobs.user
WHERE jobs.number > ? AND jobs.about IS NULL
ORDER BY jobs.number LIMIT 1
"""
# The newest Runs of a Job, by the index of (job, fire time, pass); then their Attempts.
_RUNS = """
SELECT recent.number, recent.fire_time, recent.pass, recent.outcome, attempts.started,
    attempts.ended
FROM (
    SELECT number, fire_time, pass, outcome FROM runs
    WHERE job = ? AND fire_time >= ? AND fire_time < ? AND outcome IS NOT NULL
    ORDER BY fire_time DESC, pass DESC LIMIT ?
) AS recent LEFT JOIN attempts ON attempts.run = recent.number
ORDER BY recent.fire_time, recent.pass, attempts.number
"""
# Where a part of the Runs that were due in a stretch ends.
_END_OF_PART = """
SELECT fire_time, number FROM runs
WHERE fire_time >= ? AND fire_time < ? AND (fire_time > ? OR number > ?)
ORDER BY fire_time, number LIMIT 1 OFFSET ?
"""
# The Runs of one user are chosen afterwards: a query looks at a bounded number of rows.
_STARTS = """
SELECT CAST(started / 60 AS INTEGER) AS minute, count(*) AS starts
FROM runs JOIN attempts ON attempts.run = runs.number AND attempts.number = 1
WHERE fire_time >= ? AND fire_time <= ? AND (fire_time > ? OR runs.number > ?)
    AND (fire_time < ? OR runs.number <= ?)
    AND +runs.delivery IS NULL AND (? IS NULL OR +runs.user = ?) AND started IS NOT NULL
GROUP BY minute
"""
_END = 2**62


def job_sample(database: sqlite3.Connection, after: int, wanted: SampleFilter) -> JobSample | None:
    """The next recorded Job behind that of a row number, with its newest Runs; None: the last.

    A Job that is not wanted has no Runs there.
    """
    if wanted.job is not None:
        query = "SELECT number FROM jobs WHERE id = ? AND number > ?"
        found = database.execute(query, (wanted.job, after)).fetchone()
        if found is None:
            return None
        after = whole(found, "number") - 1
    row = database.execute(_NEXT_JOB, (after,)).fetchone()
    if row is None:
        return None
    number, user = whole(row, "number"), text(row, "user")
    return JobSample(
        number=number,
        id=text(row, "id"),
        name=text(row, "name"),
        table=text(row, "table"),
        line=whole(row, "line"),
        user=user,
        runs=_runs(database, number, wanted) if wanted.user in (None, user) else (),
    )


def _runs(database: sqlite3.Connection, job: int, wanted: SampleFilter) -> tuple[RunSample, ...]:
    since = 0 if wanted.since is None else wanted.since
    until = _END if wanted.until is None else wanted.until
    found: dict[int, RunSample] = {}
    for row in database.execute(_RUNS, (job, since, until, wanted.limit)):
        outcome = outcome_or_none(row, "outcome")
        assert outcome is not None
        begun, ended = instant_or_none(row, "started"), instant_or_none(row, "ended")
        first = found.get(whole(row, "number"))
        found[whole(row, "number")] = RunSample(
            fire_time=second(row, "fire_time"),
            pass_number=whole(row, "pass"),
            outcome=outcome,
            started=first.started if first else begun,
            duration=None if begun is None or ended is None else max(0.0, ended - begun),
        )
    return tuple(found.values())


def starts(
    database: sqlite3.Connection,
    since: int,
    until: int,
    after: Position,
    user: str | None,
    most: int,
) -> tuple[dict[int, int], Position | None]:
    """How many Runs were started in each minute (UTC) of those that were due in [since, until).

    At most so many Runs are looked at: those behind `after`. The last of them is returned, too, for
    the next call; None if there are no more.
    """
    query = "SELECT number FROM users WHERE name = ?"
    own = None if user is None else database.execute(query, (user,)).fetchone()
    if user is not None and own is None:
        return {}, None
    since, number = max(since, after[0]), None if own is None else own[0]
    last = database.execute(_END_OF_PART, (since, until, *after, most - 1)).fetchone()
    end = (until - 1, _END) if last is None else (second(last, "fire_time"), whole(last, "number"))
    values = (since, end[0], *after, *end, number, number)
    rows = database.execute(_STARTS, values)
    found = {60 * whole(row, "minute"): whole(row, "starts") for row in rows}
    return found, None if last is None else end
