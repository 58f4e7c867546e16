"""Records that a daemon starts with: unfinished Runs, pauses, Runs that ended early.

All functions raise sqlite3.Error.
"""

import json
import sqlite3
from functools import lru_cache
from types import UnionType
from typing import Any

from pycron.engine.cursor import Cursor
from pycron.engine.delivery_jobs import MAIL_VARIABLES, message_settings
from pycron.model.history import UnfinishedRun
from pycron.model.job import Environment, Job, Source
from pycron.model.pause import Pause
from pycron.model.run import AttemptKey, Outcome, Redrive, RunKey
from pycron.model.settings import MailOn, Settings, intern
from pycron.schedule.expressions import After, Reboot, Schedule
from pycron.storage.deliveries import read_delivery
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
# The same for those that decide about its deliveries, or that its command is no command; stored if
# they are not the default.
_STORED_IF_SET: dict[str, type] = {
    "on_failure": str, "ping_url": str, "ping_output": bool, "expect_within": int, "timeout": int,
    "memory_max": int, "priority": int, "nice": int, "umask": int, "cwd": str, "send": str,
}  # fmt: skip
_DEFAULTS = Settings()

_UNFINISHED = f"""
SELECT {RUN_KEY}, jobs.name, jobs."table", jobs.line, users.name AS user, jobs.command,
    jobs.schedule, jobs.settings, jobs.delivery, runs.retry_at, runs.redriven, runs.redriven_at,
    attempts.number AS attempt, attempts.pid, attempts.started, attempts.outcome,
    attempts.exit_status, attempts.output_bytes,
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


def done_after(database: sqlite3.Connection, instant: int) -> dict[RunKey, Outcome]:
    """The Runs that have ended although their fire time is after this UTC second, and how."""
    query = (
        f"SELECT {RUN_KEY}, outcome FROM runs JOIN jobs ON jobs.number = runs.job"
        " WHERE fire_time > ? AND outcome IS NOT NULL"
    )
    rows = database.execute(query, (instant,))
    return {run_key(row): how for row in rows if (how := outcome_or_none(row, "outcome"))}


def pauses(database: sqlite3.Connection) -> list[Pause]:
    """The pauses that hold, the oldest first."""
    return [_pause(row) for row in database.execute("SELECT * FROM pauses ORDER BY since")]


def stored_settings(job: Job) -> str:
    """What is stored with a Job, as JSON.

    Besides settings these are the variables of its table that its deliveries need.
    """
    variables = {
        name: text
        for name, text in job.environment
        if job.settings.on_failure is not None or name in MAIL_VARIABLES
    }
    values, as_json = _stored_values(job.settings)
    return json.dumps(values | {"variables": variables}) if variables else as_json


@lru_cache(maxsize=16)
def _stored_values(settings: Settings) -> tuple[dict[str, object], str]:
    """Entries share their settings, so these are made once for thousands of Jobs."""
    values: dict[str, object] = {name: getattr(settings, name) for name in _STORED_SETTINGS}
    for name in (*_STORED_IF_SET, "mail_on", "notify"):
        if (value := getattr(settings, name)) != getattr(_DEFAULTS, name):
            values[name] = value
    return values, json.dumps(values)


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
        printed=whole_or_none(row, "output_bytes") or 0,
    )


def _job(row: sqlite3.Row) -> Job:
    """The Job as far as it is recorded, which is enough to finish its Run, and to tell of it."""
    stored = _stored(row["settings"])
    delivery = read_delivery(row["delivery"])
    settings = _settings(stored)
    if delivery is not None and delivery.is_message:
        settings = message_settings(delivery)
    return Job(
        id=text(row, "job_id"),
        name=text(row, "name"),
        source=Source(text(row, "table"), text(row, "user")),
        line=whole(row, "line"),
        user=text(row, "user"),
        schedule=_schedule(text(row, "schedule")),
        command=text(row, "command"),
        stdin=None,
        environment=_variables(stored),
        settings=settings,
        delivery=delivery,
    )


def _schedule(stored: str) -> Schedule:
    """The schedule as far as it matters: whether the Run may wait for others."""
    if not stored.startswith("@after "):
        return Reboot()
    return After(stored, tuple(stored.removeprefix("@after ").split(",")))


def _stored(text: object) -> dict[str, object]:
    """What stored_settings() has stored; empty if that is damaged."""
    try:
        values = json.loads(text) if isinstance(text, str) else {}
    except (ValueError, RecursionError):
        return {}
    return values if isinstance(values, dict) else {}


def _settings(stored: dict[str, object]) -> Settings:
    """The stored settings; a default for each that is damaged or missing."""
    found: set[tuple[str, Any]] = {
        (name, stored[name])
        for name, kind in (_STORED_SETTINGS | _STORED_IF_SET).items()
        if name in stored and isinstance(stored[name], kind)
    }
    if isinstance(notify := stored.get("notify"), list):
        found.add(("notify", tuple(map(str, notify))))
    if (mail_on := stored.get("mail_on")) in list(MailOn):
        found.add(("mail_on", MailOn(str(mail_on))))
    return intern(frozenset(found))


def _variables(stored: dict[str, object]) -> Environment:
    variables = stored.get("variables")
    if not isinstance(variables, dict):
        return ()
    return tuple((name, text) for name, text in variables.items() if isinstance(text, str))
