"""The last Runs of Jobs, as a list of Jobs shows them. All functions raise sqlite3.Error."""

import sqlite3
from collections.abc import Collection, Iterator

from pycron.model.history import LastRun
from pycron.storage.rows import (
    RUN_KEY,
    instant_or_none,
    outcome_or_none,
    run_key,
    whole_or_none,
)

_SELECT = f"""
SELECT {RUN_KEY}, runs.outcome, last.started, last.ended, last.exit_status, last.signal
FROM jobs JOIN runs ON runs.job = jobs.number
LEFT JOIN attempts AS last ON last.run = runs.number
    AND last.number = (SELECT max(number) FROM attempts WHERE run = runs.number)
WHERE jobs.id = ? ORDER BY runs.fire_time DESC, runs.pass DESC LIMIT ?
"""


def last_runs(
    database: sqlite3.Connection, job_ids: Collection[str], most: int
) -> dict[str, list[LastRun]]:
    """The last Runs of each of these Jobs that has any: at most so many, newest first."""
    return {job_id: list(_of_job(database, job_id, most)) for job_id in _known(database, job_ids)}


def _known(database: sqlite3.Connection, job_ids: Collection[str]) -> list[str]:
    marks = ",".join("?" * len(job_ids))
    query = f"SELECT id FROM jobs WHERE runs > 0 AND id IN ({marks})"
    return [str(row[0]) for row in database.execute(query, tuple(job_ids))]


def _of_job(database: sqlite3.Connection, job_id: str, most: int) -> Iterator[LastRun]:
    for row in database.execute(_SELECT, (job_id, most)):
        yield LastRun(
            key=run_key(row),
            outcome=outcome_or_none(row, "outcome"),
            started=instant_or_none(row, "started"),
            ended=instant_or_none(row, "ended"),
            exit_status=whole_or_none(row, "exit_status"),
            signal=whole_or_none(row, "signal"),
        )
