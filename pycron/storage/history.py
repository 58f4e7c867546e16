"""Reading history: Runs and their Attempts, a page at a time.

Newest first means: by fire time, and of one fire time the one recorded last. Every kind of filter
has an index in that order, so that a page costs the same however long the history is; where a
filter takes several stretches of an index, they are merged.
"""

import heapq
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from pycron.model.run import Outcome, RunKey

Row = dict[str, Any]

_SELECT_RUNS = """
SELECT runs.number, jobs.id AS job_id, jobs.name AS job, jobs."table", jobs.line,
    users.name AS user, jobs.schedule, jobs.zone, jobs.command, runs.fire_time, runs.pass,
    runs.outcome, runs.reason, runs.dead, runs.retry_at, runs.started_by
FROM runs JOIN jobs ON jobs.number = runs.job JOIN users ON users.number = runs.user
"""

# A condition and the values that it is about.
_Test = tuple[str, list[Any]]
_Mark = tuple[int, int]  # of a Run, by which it is ordered: its fire time and its number


@dataclass(frozen=True, slots=True)
class Filter:
    """Which Runs to list: None is any. Newest first, from after run number `before` on.

    `since` and `until` are of fire times. A list whose Run `before` was forgotten is at its end.
    """

    limit: int
    job: str | None = None
    user: str | None = None
    outcome: str | None = None
    since: float | None = None
    until: float | None = None
    before: int | None = None
    dead: bool | None = None


class History:
    """What one database knows."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._db = database

    def runs(self, wanted: Filter) -> list[Row]:
        """Runs with their last Attempt, newest first."""
        limits = self._limits(wanted)
        if limits is None:
            return []
        stretches = [self._marks([*stretch, *limits]) for stretch in self._stretches(wanted)]
        page = islice(heapq.merge(*stretches, reverse=True), wanted.limit)
        return [self._run(number) for _, number in page]

    def _stretches(self, wanted: Filter) -> list[list[_Test]]:
        """The stretches of indexes that hold what is wanted, each by its conditions.

        A condition that is none of an index begins with a plus, by SQLite's rule.
        """
        user = None if wanted.user is None else self._user(wanted.user)
        if wanted.user is not None and user is None:
            return []
        rest: list[_Test] = []
        if user is not None:
            rest.append(("+user = ?", [user]))
        if wanted.outcome is not None:
            rest.append(("+outcome = ?", [wanted.outcome]))
        if wanted.dead is not None:
            rest.append(("+dead = ?", [wanted.dead]))
        if wanted.job is not None:
            return [[("job = ?", [job]), *rest] for job in self._jobs(wanted.job)]
        if wanted.dead:
            return [[("dead", []), *rest]]
        if user is None and wanted.outcome is None:
            return [rest]
        users = [user] if user is not None else self._users()
        outcomes = [wanted.outcome] if wanted.outcome is not None else [None, *Outcome]
        return [
            [("outcome IS ?", [outcome]), ("user = ?", [each]), *rest]
            for outcome in outcomes
            for each in users
        ]

    def _limits(self, wanted: Filter) -> list[_Test] | None:
        """What bounds all stretches; None where nothing can be within."""
        limits: list[_Test] = []
        if wanted.since is not None:
            limits.append(("fire_time >= ?", [wanted.since]))
        if wanted.until is not None:
            limits.append(("fire_time < ?", [wanted.until]))
        if wanted.before is not None:
            query = "SELECT fire_time FROM runs WHERE number = ?"
            row = self._db.execute(query, (wanted.before,)).fetchone()
            if row is None:
                return None
            limits.append(("fire_time <= ?", [row[0]]))
            limits.append(("(fire_time < ? OR number < ?)", [row[0], wanted.before]))
        return limits

    def _marks(self, tests: list[_Test]) -> Iterator[_Mark]:
        where = " AND ".join(test for test, _ in tests) or "1"
        values = [value for _, values in tests for value in values]
        query = f"SELECT fire_time, number FROM runs WHERE {where}"
        for row in self._db.execute(f"{query} ORDER BY fire_time DESC, number DESC", values):
            yield row[0], row[1]

    def _user(self, name: str) -> int | None:
        row = self._db.execute("SELECT number FROM users WHERE name = ?", (name,)).fetchone()
        return None if row is None else int(row[0])

    def _users(self) -> list[int]:
        return [row[0] for row in self._db.execute("SELECT number FROM users")]

    def _jobs(self, job: str) -> list[int]:
        query = "SELECT number FROM jobs WHERE name = ? OR id = ?"
        return [row[0] for row in self._db.execute(query, (job, job))]

    def _run(self, number: int) -> Row:
        row = self._db.execute(f"{_SELECT_RUNS} WHERE runs.number = ?", (number,)).fetchone()
        return _named(row) | {"all": self._attempts(number)}

    def run(self, key: RunKey) -> tuple[Row, list[Row]] | None:
        """One Run and all its Attempts; None when there is none."""
        query = f"{_SELECT_RUNS} WHERE jobs.id = ? AND runs.fire_time = ? AND runs.pass = ?"
        row = self._db.execute(query, (key.job_id, key.fire_time, key.turn)).fetchone()
        if row is None:
            return None
        return _named(row), self._attempts(row["number"])

    def _attempts(self, run: int) -> list[Row]:
        query = "SELECT * FROM attempts WHERE run = ? ORDER BY number"
        return [dict(row) for row in self._db.execute(query, (run,))]

    def owners_of(self, job: str) -> set[str]:
        """The users of all Jobs on record that have this name or id."""
        query = (
            "SELECT DISTINCT users.name FROM jobs JOIN users ON users.number = jobs.user"
            " WHERE jobs.name = ? OR jobs.id = ?"
        )
        return {row[0] for row in self._db.execute(query, (job, job))}


def _named(row: sqlite3.Row) -> Row:
    key = RunKey(row["job_id"], row["fire_time"], row["pass"])
    return dict(row) | {"run_id": str(key)}
