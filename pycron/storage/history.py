"""Reads the history: Runs and their Attempts, a page at a time.

Newest first means: by fire time, and of one fire time the Run that was recorded last. Each kind of
filter has an index in that order, so a page costs the same however long the history is. If a filter
needs several ranges of an index, their rows are merged.

All functions raise sqlite3.Error.
"""

import heapq
import sqlite3
from collections.abc import Iterator, Sequence
from itertools import islice

from pycron.model.history import AttemptRecord, RunFilter, RunRecord
from pycron.model.run import AttemptKey, Outcome, RunKey
from pycron.storage.deliveries import numbers_about, read_delivery
from pycron.storage.errors import BadValue
from pycron.storage.rows import (
    RUN_KEY,
    blob,
    find_run,
    instant_or_none,
    number_or_none,
    outcome_or_none,
    run_key,
    second,
    text,
    text_or_none,
    whole,
    whole_or_none,
)

_SELECT_RUN = f"""
SELECT {RUN_KEY}, runs.number, jobs.name, jobs."table", jobs.line, users.name AS user,
    jobs.schedule, jobs.zone, jobs.command, runs.outcome, runs.reason, runs.dead, runs.retry_at,
    runs.started_by, jobs.delivery
FROM runs JOIN jobs ON jobs.number = runs.job JOIN users ON users.number = runs.user
WHERE runs.number = ?
"""

# An SQL condition, and the values of its question marks.
_Condition = tuple[str, list[object]]
_Position = tuple[int, int]  # of a Run in the order of the history: fire time and row number


def runs(database: sqlite3.Connection, wanted: RunFilter) -> list[RunRecord]:
    """The Runs that pass a filter with their Attempts, newest first.

    A list that is to continue after a Run that was deleted meanwhile is empty.
    """
    limits = _limits(database, wanted)
    if limits is None:
        return []
    ranges = [_positions(database, [*each, *limits]) for each in _ranges(database, wanted)]
    page = islice(heapq.merge(*ranges, reverse=True), wanted.limit)
    return [_run(database, number) for _, number in page]


def run(database: sqlite3.Connection, key: RunKey) -> RunRecord | None:
    """One Run with all its Attempts."""
    number = find_run(database, key)
    return None if number is None else _run(database, number)


def deliveries(database: sqlite3.Connection, key: RunKey) -> list[RunRecord]:
    """The deliveries about a Run, in the order in which they were recorded."""
    return [_run(database, number) for number in numbers_about(database, key)]


def short_output(database: sqlite3.Connection, attempt: AttemptKey) -> bytes | None:
    """The output of an Attempt, if it is in the database and not in a file."""
    query = "SELECT data FROM outputs WHERE run = ? AND number = ?"
    values = find_run(database, attempt.run), attempt.number
    row = database.execute(query, values).fetchone()
    return None if row is None else blob(row, "data")


def knows(database: sqlite3.Connection, attempt: AttemptKey) -> bool:
    """Whether the Attempt is recorded."""
    query = "SELECT 1 FROM attempts WHERE run = ? AND number = ?"
    values = find_run(database, attempt.run), attempt.number
    return database.execute(query, values).fetchone() is not None


def owners_of(database: sqlite3.Connection, job: str) -> set[str]:
    """The users of all recorded Jobs that have this name or id."""
    query = (
        "SELECT DISTINCT users.name FROM jobs JOIN users ON users.number = jobs.user"
        " WHERE jobs.name = ? OR jobs.id = ?"
    )
    return {text(row, "name") for row in database.execute(query, (job, job))}


def jobs_called(database: sqlite3.Connection, job: str) -> list[tuple[str, str, str]]:
    """All recorded Jobs of this name or id: the id, the user, and the table with the line."""
    query = (
        'SELECT jobs.id, users.name AS user, jobs."table" AS file, jobs.line FROM jobs'
        " JOIN users ON users.number = jobs.user WHERE jobs.name = ? OR jobs.id = ?"
    )
    return [
        (text(row, "id"), text(row, "user"), f"{text(row, 'file')}:{whole(row, 'line')}")
        for row in database.execute(query, (job, job))
    ]


def count_runs(database: sqlite3.Connection, user: str | None = None) -> int:
    """How many Runs are recorded, of a user or (None) of all users."""
    query = "SELECT total(runs) FROM jobs"
    if user is None:
        return int(database.execute(query).fetchone()[0])
    query += " WHERE user = (SELECT number FROM users WHERE name = ?)"
    return int(database.execute(query, (user,)).fetchone()[0])


def count_dead(database: sqlite3.Connection) -> int:
    """How many dead letters there are; they have an index of their own."""
    return int(database.execute("SELECT count(*) FROM runs WHERE dead").fetchone()[0])


def gap_at(database: sqlite3.Connection, instant: int, wall: bool) -> str | None:
    """Why fire times at this UTC second have no Run; the gap that was recorded last counts."""
    row = database.execute(
        "SELECT reason FROM gaps WHERE after < ? AND until >= ? AND wall = ?"
        " ORDER BY number DESC LIMIT 1",
        (instant, instant, wall),
    ).fetchone()
    return None if row is None else text(row, "reason")


def _ranges(database: sqlite3.Connection, wanted: RunFilter) -> list[list[_Condition]]:
    """The ranges of indexes that contain the wanted Runs, each as its conditions.

    A plus sign keeps SQLite from choosing an index for a condition
    (sqlite.org/optoverview.html#disqualifying_where_clause_terms_using_unary_).
    """
    user = None if wanted.user is None else _user_number(database, wanted.user)
    if wanted.user is not None and user is None:
        return []
    rest: list[_Condition] = []
    if user is not None:
        rest.append(("+user = ?", [user]))
    if wanted.outcomes is not None:
        marks = ", ".join("?" * len(wanted.outcomes))
        rest.append((f"+outcome IN ({marks})", list(wanted.outcomes)))
    if wanted.dead is not None:
        rest.append(("+dead = ?", [wanted.dead]))
    if wanted.delivery is False:
        rest.append(("+delivery IS NULL", []))
    if wanted.job is not None:
        names = (wanted.job, *wanted.job_ids)
        numbers = _job_numbers(database, names, deliveries=bool(wanted.delivery))
        return [[("job = ?", [job]), *rest] for job in numbers]
    if wanted.dead:
        users = [user] if user is not None else _user_numbers(database)
        return [[("dead", []), ("user = ?", [each]), *rest] for each in users]
    if wanted.delivery:
        return [[("delivery", []), *rest]]
    if user is None and wanted.outcomes is None:
        return [rest]
    users = [user] if user is not None else _user_numbers(database)
    outcomes = [None, *Outcome] if wanted.outcomes is None else sorted(set(wanted.outcomes))
    return [
        [("outcome IS ?", [outcome]), ("user = ?", [each]), *rest]
        for outcome in outcomes
        for each in users
    ]


def _limits(database: sqlite3.Connection, wanted: RunFilter) -> list[_Condition] | None:
    """The conditions that hold for all ranges; None if no Run can fulfil them."""
    limits: list[_Condition] = []
    if wanted.since is not None:
        limits.append(("fire_time >= ?", [wanted.since]))
    if wanted.until is not None:
        limits.append(("fire_time < ?", [wanted.until]))
    if wanted.before is not None:
        query = "SELECT fire_time FROM runs WHERE number = ?"
        row = database.execute(query, (wanted.before,)).fetchone()
        if row is None:
            return None
        limits.append(("fire_time <= ?", [row[0]]))
        limits.append(("(fire_time < ? OR number < ?)", [row[0], wanted.before]))
    return limits


def _positions(database: sqlite3.Connection, conditions: list[_Condition]) -> Iterator[_Position]:
    where = " AND ".join(condition for condition, _ in conditions) or "1"
    values = [value for _, values in conditions for value in values]
    query = f"SELECT fire_time, number FROM runs WHERE {where}"
    for row in database.execute(f"{query} ORDER BY fire_time DESC, number DESC", values):
        yield second(row, "fire_time"), whole(row, "number")


def _user_number(database: sqlite3.Connection, name: str) -> int | None:
    row = database.execute("SELECT number FROM users WHERE name = ?", (name,)).fetchone()
    return None if row is None else whole(row, "number")


def _user_numbers(database: sqlite3.Connection) -> list[int]:
    return [whole(row, "number") for row in database.execute("SELECT number FROM users")]


def _job_numbers(
    database: sqlite3.Connection, names: Sequence[str], *, deliveries: bool
) -> list[int]:
    """The Jobs with one of these names or ids, or those that tell about them."""
    marks = ", ".join("?" * len(names))
    condition = f"name IN ({marks}) OR id IN ({marks})"
    query = f"SELECT number FROM jobs WHERE {condition}"
    if deliveries:
        query = f"SELECT number FROM jobs WHERE about IN (SELECT id FROM jobs WHERE {condition})"
    return [whole(row, "number") for row in database.execute(query, (*names, *names))]


def _run(database: sqlite3.Connection, number: int) -> RunRecord:
    row = database.execute(_SELECT_RUN, (number,)).fetchone()
    if row is None:
        raise BadValue(f"run {number} has no job or no user")
    return RunRecord(
        number=number,
        key=run_key(row),
        job=text(row, "name"),
        table=text(row, "table"),
        line=whole(row, "line"),
        user=text(row, "user"),
        schedule=text(row, "schedule"),
        zone=text_or_none(row, "zone"),
        command=text(row, "command"),
        outcome=outcome_or_none(row, "outcome"),
        reason=text_or_none(row, "reason"),
        dead=bool(row["dead"]),
        retry_at=instant_or_none(row, "retry_at"),
        started_by=text_or_none(row, "started_by"),
        delivery=read_delivery(row["delivery"]),
        attempts=_attempts(database, number),
    )


def _attempts(database: sqlite3.Connection, run_number: int) -> tuple[AttemptRecord, ...]:
    query = "SELECT * FROM attempts WHERE run = ? ORDER BY number"
    return tuple(map(_attempt, database.execute(query, (run_number,))))


def _attempt(row: sqlite3.Row) -> AttemptRecord:
    return AttemptRecord(
        number=whole(row, "number"),
        pid=whole_or_none(row, "pid"),
        started=instant_or_none(row, "started"),
        ended=instant_or_none(row, "ended"),
        outcome=outcome_or_none(row, "outcome"),
        exit_status=whole_or_none(row, "exit_status"),
        signal=whole_or_none(row, "signal"),
        cpu_seconds=number_or_none(row, "cpu_seconds"),
        memory_peak=whole_or_none(row, "memory_peak"),
        output_bytes=whole_or_none(row, "output_bytes"),
        output_kept=whole_or_none(row, "output_kept"),
        reason=text_or_none(row, "reason"),
    )
