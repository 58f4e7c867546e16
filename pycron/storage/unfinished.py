"""Records that a daemon starts with: unfinished Runs, pauses, Runs that ended early.

All functions raise sqlite3.Error.
"""

import json
import sqlite3
from types import UnionType

from pycron.engine.cursor import Cursor
from pycron.model.history import UnfinishedRun
from pycron.model.job import Job, Source
from pycron.model.pause import Pause
from pycron.model.run import AttemptKey, Redrive, RunKey
from pycron.model.settings import Settings, intern
from pycron.schedule.expressions import Reboot
from pycron.storage.rows import (
    RUN_KEY,
    instant,
    instant_or_none,
    outcome_or_none,
    run_key,
    scope,
    text,
    text_or_none,
    whole,
    whole_or_none,
)

# Settings stored with a Run's Job, so that the Run can still be limited and ended, and becomes a
# dead letter or not, after its entry was removed while no daemon ran.
_STORED_SETTINGS: dict[str, type | UnionType] = {
    "pool": str | None,
    "kill_after": int,
    "retries": int,
}

_UNFINISHED = f"""
SELECT {RUN_KEY}, jobs.name, jobs."table", jobs.line, users.name AS user, jobs.command,
    jobs.settings, runs.retry_at, runs.redriven, runs.redriven_at,
    attempts.number AS attempt, attempts.pid, attempts.started, attempts.outcome,
    attempts.exit_status,
    (SELECT max(fire_time) FROM runs AS others
     WHERE others.job = runs.job AND fire_time <= ? AND started_by IS NULL) AS latest
FROM runs JOIN jobs ON jobs.number = runs.job JOIN users ON users.number = runs.user
LEFT JOIN attempts ON attempts.run = runs.number
    AND attempts.number = (SELECT max(number) FROM attempts WHERE run = runs.number)
WHERE runs.outcome IS NULL ORDER BY runs.number
"""


def read_all(database: sqlite3.Connection, cursor: Cursor | None) -> None:
    """Read everything that a daemon begins with, to learn whether it can be read."""
    pauses(database)
    unfinished(database, cursor)
    if cursor:
        done_after(database, min(cursor.fixed, cursor.wall))


def unfinished(database: sqlite3.Connection, cursor: Cursor | None) -> list[UnfinishedRun]:
    """The Runs that have not ended, in the order in which they were recorded.

    `cursor`: up to where the last daemon had handled fire times. Runs of a later fire time were
    recorded before the clock was set back.
    """
    reached = cursor.wall if cursor else 0
    return [_unfinished(row) for row in database.execute(_UNFINISHED, (reached,))]


def done_after(database: sqlite3.Connection, instant: int) -> list[RunKey]:
    """The Runs that have ended although their fire time is after this UTC second."""
    query = (
        f"SELECT {RUN_KEY} FROM runs JOIN jobs ON jobs.number = runs.job"
        " WHERE fire_time > ? AND outcome IS NOT NULL"
    )
    return [run_key(row) for row in database.execute(query, (instant,))]


def pauses(database: sqlite3.Connection) -> list[Pause]:
    """The pauses that hold, the oldest first."""
    return [_pause(row) for row in database.execute("SELECT * FROM pauses ORDER BY since")]


def stored_settings(settings: Settings) -> str:
    """The settings of a Job that are stored with it, as JSON."""
    return json.dumps({name: getattr(settings, name) for name in _STORED_SETTINGS})


def _pause(row: sqlite3.Row) -> Pause:
    return Pause(
        scope=scope(row, "scope"),
        since=instant(row, "since"),
        until=instant_or_none(row, "until"),
        by=text(row, "by"),
        reason=text_or_none(row, "reason"),
    )


def _unfinished(row: sqlite3.Row) -> UnfinishedRun:
    redriven_at = instant_or_none(row, "redriven_at")
    return UnfinishedRun(
        attempt=AttemptKey(run_key(row), whole_or_none(row, "attempt") or 0),
        job=_job(row),
        pid=whole_or_none(row, "pid"),
        started=instant_or_none(row, "started"),
        outcome=outcome_or_none(row, "outcome"),
        retry_at=instant_or_none(row, "retry_at"),
        redrive=None if redriven_at is None else Redrive(whole(row, "redriven"), redriven_at),
        latest=whole_or_none(row, "latest"),
        exit_status=whole_or_none(row, "exit_status"),
    )


def _job(row: sqlite3.Row) -> Job:
    """The Job as far as it is recorded, which is enough to finish its Run."""
    return Job(
        id=text(row, "job_id"),
        name=text(row, "name"),
        source=Source(text(row, "table"), text(row, "user")),
        line=whole(row, "line"),
        user=text(row, "user"),
        schedule=Reboot(),
        command=text(row, "command"),
        stdin=None,
        environment=(),
        settings=_settings(row["settings"]),
    )


def _settings(stored: object) -> Settings:
    """The stored settings; a default for each that is damaged or missing."""
    try:
        values = json.loads(stored) if isinstance(stored, str) else {}
    except (ValueError, RecursionError):
        values = {}
    if not isinstance(values, dict):
        values = {}
    return intern(
        frozenset(
            (name, values[name])
            for name, kind in _STORED_SETTINGS.items()
            if name in values and isinstance(values[name], kind)
        )
    )
