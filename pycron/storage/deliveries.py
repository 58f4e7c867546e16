"""Deliveries in the database: stored as JSON, and found by what they tell about.

The functions that read raise sqlite3.Error.
"""

import json
import sqlite3
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from pycron.engine.mail_hours import HOUR, MailHour
from pycron.model.delivery import Delivery, DeliveryKind, Mail, Notification, Occasion, Ping
from pycron.model.run import Outcome, RunKey
from pycron.storage.rows import find_run, instant, run_key, text, whole

FAILING = "failing:"  # and the id of a Job: a key of meta
_ABOUT = """
SELECT runs.number FROM runs JOIN jobs ON jobs.number = runs.job
WHERE runs.delivery AND runs.fire_time = ? AND runs.pass = ? AND jobs.about = ?
ORDER BY runs.number
"""
_SUMMED_UP = """
SELECT jobs.about AS job_id, runs.fire_time, runs.pass FROM runs
JOIN jobs ON jobs.number = runs.job
WHERE runs.number > ? AND runs.delivery AND jobs.about = ? AND runs.reason = ?
ORDER BY runs.fire_time DESC, runs.number DESC
"""
_MAILED = """
SELECT jobs.delivery, count(*) AS mails, min(runs.fire_time) AS first FROM runs
JOIN jobs ON jobs.number = runs.job
WHERE runs.delivery AND runs.fire_time > ? AND coalesce(runs.outcome, '') <> ? GROUP BY jobs.number
"""


def stored_delivery(delivery: Delivery | None) -> str | None:
    """A Delivery as JSON."""
    return None if delivery is None else json.dumps(asdict(delivery))


def read_delivery(stored: object) -> Delivery | None:
    """The Delivery in a text from stored_delivery(); None for NULL, and if the text is damaged."""
    if not isinstance(stored, str):
        return None
    try:
        return _delivery(json.loads(stored))
    except (ValueError, TypeError, KeyError, RecursionError):
        return None


def _delivery(values: Mapping[str, Any]) -> Delivery:
    kind, target = DeliveryKind(values["kind"]), values["target"]
    return Delivery(
        kind=kind,
        occasion=Occasion(values["occasion"]),
        job_id=str(values["job_id"]),
        job_name=str(values["job_name"]),
        target=_target(kind, target) if isinstance(target, dict) else None,
    )


def _target(kind: DeliveryKind, values: dict[str, object]) -> Mail | Notification | Ping | None:
    match kind:
        case DeliveryKind.MAIL:
            to = values["to"]
            addresses = tuple(map(str, to)) if isinstance(to, list) else ()
            return Mail(
                addresses,
                str(values["sender"]),
                _text_or_none(values["content_type"]),
                _text_or_none(values["transfer_encoding"]),
            )
        case DeliveryKind.NOTIFICATION:
            return Notification(str(values["section"]))
        case DeliveryKind.PING:
            return Ping(str(values["url"]), values["with_output"] is True)
        case DeliveryKind.HOOK:
            return None


def _text_or_none(value: object) -> str | None:
    return value if isinstance(value, str) else None


# ---- questions


def numbers_about(database: sqlite3.Connection, run: RunKey) -> list[int]:
    """The row numbers of the deliveries about a Run, in the order in which they were recorded."""
    rows = database.execute(_ABOUT, (run.fire_time, run.pass_number, run.job_id))
    return [whole(row, "number") for row in rows]


def summed_up_in(database: sqlite3.Connection, summary: RunKey, job_id: str) -> list[RunKey]:
    """The Runs of a Job that the mail with this key sums up, newest first.

    They were recorded after it. Their fire times may be before that of the first one.
    """
    values = find_run(database, summary), job_id, f"summed up in {summary}"
    return [run_key(row) for row in database.execute(_SUMMED_UP, values)]


def failing(database: sqlite3.Connection) -> frozenset[str]:
    """The ids of the Jobs whose last Run failed, as far as somebody wants to know."""
    rows = database.execute("SELECT key FROM meta WHERE key GLOB ?", (f"{FAILING}*",))
    return frozenset(text(row, "key").removeprefix(FAILING) for row in rows)


def mail_hours(database: sqlite3.Connection, now: int) -> dict[str, MailHour]:
    """By Job id, the mails of the hour before a UTC second."""
    hours: dict[str, MailHour] = {}
    for row in database.execute(_MAILED, (now - HOUR, Outcome.SKIPPED)):
        delivery = read_delivery(row["delivery"])
        if delivery is None or not isinstance(delivery.target, Mail):
            continue
        if delivery.occasion not in (Occasion.LATE, Occasion.SUMMARY):
            began, count = instant(row, "first"), whole(row, "mails")
            hour = hours.setdefault(delivery.job_id, MailHour(began, 0))
            hour.began, hour.count = min(began, hour.began), hour.count + count
    return hours
