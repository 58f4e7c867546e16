"""Shared Runs in the store: the Attempts that this host has, and the ends that are to be told.

The table `shared` has one row for each Attempt that the database of the cluster has given to this
host, from before its start until the database has heard of its end. The key is that of the Attempt;
the other facts are one object of JSON, because the schema has to fit on the first page.

All functions raise sqlite3.Error.
"""

import json
import os
import sqlite3
from typing import Any

from pycron.engine.shared_actions import (
    RecordHold,
    RecordReported,
    RecordSharedCursor,
    RecordSharedEnd,
)
from pycron.engine.shared_runs import SharedState
from pycron.model.run import AttemptKey, Outcome
from pycron.model.shared import Hold, SharedEnd, SharedKey

_STORE = "store"  # in `meta`: the name of this store for the agent
_CURSOR = "shared_cursor"  # in `meta`


def write_hold(database: sqlite3.Connection, record: RecordHold) -> None:
    """This host has an Attempt."""
    _write(database, record.hold, None)


def write_shared(
    database: sqlite3.Connection, record: RecordSharedEnd | RecordReported | RecordSharedCursor
) -> None:
    """Write a record that changes no Run."""
    match record:
        case RecordSharedEnd(end=end):
            _write(database, end.hold, end)
        case RecordReported():
            database.execute("DELETE FROM shared WHERE key = ?", (str(record.attempt),))
            if record.late is not None:
                note_late(database, record.attempt, record.late)
        case RecordSharedCursor():
            database.execute(
                "INSERT OR REPLACE INTO meta VALUES (?, ?)", (_CURSOR, str(record.second))
            )


def note_late(database: sqlite3.Connection, attempt: AttemptKey, late: str) -> None:
    """The row of the cluster says something else about the Attempt than the history here."""
    run = attempt.run
    database.execute(
        "UPDATE attempts SET reason = ifnull(reason || '; ', '') || ? WHERE number = ? AND run ="
        " (SELECT runs.number FROM runs JOIN jobs ON jobs.number = runs.job"
        " WHERE jobs.id = ? AND runs.fire_time = ? AND runs.pass = ?)",
        (f"reported too late: {_storable(late)}", attempt.number, *run),
    )


def _storable(text: str) -> str:
    """The text without what SQLite does not take."""
    return text.encode("utf-8", "backslashreplace").decode()


def read_state(database: sqlite3.Connection, cluster: str) -> SharedState:
    """What an earlier daemon left. If a row is damaged, this is another store for the cluster."""
    holds, ends = [], []
    for row in database.execute("SELECT key, data FROM shared ORDER BY key").fetchall():
        try:
            hold, end = _read(row)
        except (ValueError, TypeError, KeyError, RecursionError):
            forget_store_id(database)
            continue
        if end is None:
            holds.append(hold)
        else:
            ends.append(end)
    found = database.execute("SELECT value FROM meta WHERE key = ?", (_CURSOR,)).fetchone()
    cursor = int(found[0]) if found and str(found[0]).isdecimal() else None
    return SharedState(cluster, cursor, tuple(holds), tuple(ends))


def store_id(database: sqlite3.Connection) -> str:
    """The name of this store; made if it has none. A repaired store has another one."""
    database.execute("INSERT OR IGNORE INTO meta VALUES (?, ?)", (_STORE, os.urandom(16).hex()))
    row = database.execute("SELECT value FROM meta WHERE key = ?", (_STORE,)).fetchone()
    return str(row[0])


def forget_store_id(database: sqlite3.Connection) -> None:
    """Rows were lost: for the cluster, this is another store, which knows nothing."""
    database.execute("DELETE FROM meta WHERE key = ?", (_STORE,))


def _write(database: sqlite3.Connection, hold: Hold, end: SharedEnd | None) -> None:
    data: dict[str, Any] = {**hold.shared._asdict(), "incarnation": hold.incarnation}
    if hold.queue is not None:
        data |= {"queue": hold.queue, "spec": hold.spec}
    if end is not None:
        data["end"] = [end.outcome.value, end.reason, end.retry_at]
    row = str(hold.attempt), json.dumps(data)
    database.execute("INSERT OR REPLACE INTO shared VALUES (?, ?)", row)


def _read(row: sqlite3.Row) -> tuple[Hold, SharedEnd | None]:
    """Raises ValueError, TypeError, KeyError or RecursionError."""
    data = json.loads(row["data"])
    shared = SharedKey(str(data["owner"]), str(data["name"]), int(data["fire_time"]))
    queue, spec = (_text_or_none(data.get(key)) for key in ("queue", "spec"))
    attempt = AttemptKey.parse(row["key"])
    hold = Hold(shared, attempt, str(data["incarnation"]), queue, spec)
    if "end" not in data:
        return hold, None
    outcome, reason, retry_at = data["end"]
    retry = None if retry_at is None else float(retry_at)
    return hold, SharedEnd(hold, Outcome(outcome), _text_or_none(reason), retry)


def _text_or_none(value: object) -> str | None:
    return None if value is None else str(value)
