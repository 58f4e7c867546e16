"""What an earlier daemon has left in the store: the Runs that have not ended."""

import json
import sqlite3
from dataclasses import dataclass

from pycron.model.job import Job, Source
from pycron.model.run import AttemptKey, Outcome, Redrive, RunKey
from pycron.model.settings import Settings, intern
from pycron.schedule.expressions import Reboot

# What a command that runs is counted and ended by, and whether it is a dead letter, when its entry
# has gone while no daemon was there.
_KEPT_SETTINGS = ("pool", "kill_after", "retries")


@dataclass(frozen=True, slots=True)
class Unfinished:
    """A Run that has not ended: its last Attempt (0: none) and what is known of its Job.

    `outcome`, `exit_status`: of that Attempt, where it has ended; then `retry_at` is when the next
    one is due. `redrive`: the last one, where it has been a dead letter. `latest`: the last fire
    time of its Job that has come.
    """

    attempt: AttemptKey
    job: Job
    pid: int | None
    started: float | None
    outcome: Outcome | None
    retry_at: float | None
    redrive: Redrive | None
    latest: int | None
    exit_status: int | None


def unfinished(database: sqlite3.Connection, reached: int) -> list[Unfinished]:
    """In the order in which they were recorded. Raises sqlite3.Error.

    `reached`: the UTC second that the last daemon had come to; what lies beyond came before the
    clock was set back.
    """
    query = (
        'SELECT jobs.id, jobs.name, jobs."table", jobs.line, users.name AS user, jobs.command,'
        " jobs.settings, runs.fire_time, runs.pass, runs.retry_at, runs.redriven,"
        " runs.redriven_at,"
        " attempts.number AS attempt, attempts.pid, attempts.started, attempts.outcome,"
        " attempts.exit_status,"
        " (SELECT max(fire_time) FROM runs AS others WHERE others.job = runs.job"
        " AND fire_time <= ? AND started_by IS NULL) AS latest"
        " FROM runs JOIN jobs ON jobs.number = runs.job JOIN users ON users.number = runs.user"
        " LEFT JOIN attempts ON attempts.run = runs.number AND attempts.number ="
        " (SELECT max(number) FROM attempts WHERE run = runs.number)"
        " WHERE runs.outcome IS NULL ORDER BY runs.number"
    )
    return [_unfinished(row) for row in database.execute(query, (reached,))]


def _unfinished(row: sqlite3.Row) -> Unfinished:
    run = RunKey(row["id"], row["fire_time"], row["pass"])
    redriven_at = row["redriven_at"]
    return Unfinished(
        attempt=AttemptKey(run, row["attempt"] or 0),
        job=_job_of(row),
        pid=row["pid"],
        started=row["started"],
        outcome=Outcome(row["outcome"]) if row["outcome"] else None,
        retry_at=row["retry_at"],
        redrive=None if redriven_at is None else Redrive(row["redriven"], redriven_at),
        latest=row["latest"],
        exit_status=row["exit_status"],
    )


def kept_settings(settings: Settings) -> str:
    """What of a Job's settings is on record beside it."""
    return json.dumps({name: getattr(settings, name) for name in _KEPT_SETTINGS})


def _settings_of(text: str | None) -> Settings:
    """Of what was kept; the defaults where that is damaged, or of an older version."""
    try:
        kept = json.loads(text or "{}")
        return intern(frozenset((name, kept[name]) for name in _KEPT_SETTINGS if name in kept))
    except (ValueError, TypeError):
        return intern(frozenset())


def _job_of(row: sqlite3.Row) -> Job:
    """What is known of a Job whose entry may have gone: enough to see its Run to its end."""
    return Job(
        id=row["id"],
        name=row["name"],
        source=Source(row["table"], row["user"]),
        line=row["line"],
        user=row["user"],
        schedule=Reboot(),
        command=row["command"],
        stdin=None,
        environment=(),
        settings=_settings_of(row["settings"]),
    )
