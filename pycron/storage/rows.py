"""Values of rows, checked where they enter: a damaged database may hold anything in any column.

Each function raises BadValue for a value that pycron never writes. What they refuse, a repair
leaves out (`is_sound`); otherwise the repaired database would be found damaged again.
"""

import re
import sqlite3

from pycron.model.pause import Scope
from pycron.model.run import Outcome, RunKey
from pycron.storage.errors import BadValue

# The columns that run_key() needs, of a query that joins runs and jobs.
RUN_KEY = "jobs.id AS job_id, runs.fire_time, runs.pass"

_FIND_RUN = """
SELECT runs.number FROM runs JOIN jobs ON jobs.number = runs.job
WHERE jobs.id = ? AND runs.fire_time = ? AND runs.pass = ?
"""

_JOB_ID = re.compile(r"[0-9a-f]{16}")
_OUTCOMES = frozenset(Outcome)
INSTANTS_END = 253_402_300_800  # UTC second: 10000-01-01, which datetime cannot express
_INSTANTS = frozenset({
    "fire_time", "retry_at", "redriven_at", "started", "ended", "since", "until", "after",
})  # fmt: skip
_TYPES: dict[str, type | tuple[type, ...]] = {
    "INTEGER": int,
    "REAL": (float, int),
    "TEXT": str,
    "BLOB": bytes,
}


def find_run(database: sqlite3.Connection, key: RunKey) -> int | None:
    """The row number of a Run. Raises sqlite3.Error."""
    row = database.execute(_FIND_RUN, key).fetchone()
    return None if row is None else int(row[0])


def run_key(row: sqlite3.Row) -> RunKey:
    job_id = text(row, "job_id")
    if not _JOB_ID.fullmatch(job_id):
        raise _bad_value("job_id", job_id)
    return RunKey(job_id, second(row, "fire_time"), whole(row, "pass"))


def text(row: sqlite3.Row, column: str) -> str:
    value = row[column]
    if not isinstance(value, str):
        raise _bad_value(column, value)
    return value


def text_or_none(row: sqlite3.Row, column: str) -> str | None:
    return None if row[column] is None else text(row, column)


def blob(row: sqlite3.Row, column: str) -> bytes:
    value = row[column]
    if not isinstance(value, bytes):
        raise _bad_value(column, value)
    return value


def whole(row: sqlite3.Row, column: str) -> int:
    value = row[column]
    if not isinstance(value, int):
        raise _bad_value(column, value)
    return value


def whole_or_none(row: sqlite3.Row, column: str) -> int | None:
    return None if row[column] is None else whole(row, column)


def number_or_none(row: sqlite3.Row, column: str) -> float | None:
    value = row[column]
    if value is None or isinstance(value, int | float):
        return value
    raise _bad_value(column, value)


def second(row: sqlite3.Row, column: str) -> int:
    """A UTC second that datetime can express."""
    value = whole(row, column)
    if not 0 <= value < INSTANTS_END:
        raise _bad_value(column, value)
    return value


def instant(row: sqlite3.Row, column: str) -> float:
    """A UTC second with its fraction."""
    value = instant_or_none(row, column)
    if value is None:
        raise _bad_value(column, value)
    return value


def instant_or_none(row: sqlite3.Row, column: str) -> float | None:
    value = number_or_none(row, column)
    if value is not None and not 0 <= value < INSTANTS_END:
        raise _bad_value(column, value)
    return value


def outcome_or_none(row: sqlite3.Row, column: str) -> Outcome | None:
    value = row[column]
    if value is None:
        return None
    if value not in _OUTCOMES:
        raise _bad_value(column, value)
    return Outcome(value)


def scope(row: sqlite3.Row, column: str) -> Scope:
    value = text(row, column)
    if not _is_scope(value):
        raise _bad_value(column, value)
    return Scope.parse(value)


def _is_scope(value: object) -> bool:
    try:
        Scope.parse(str(value))
    except ValueError:
        return False
    return True


def is_sound(table: str, column: str, declared: str, value: object) -> bool:
    """Whether a value of a column that was declared like this is one that can be read.

    NULL is left to the constraints of the table.
    """
    if value is None:
        return True
    if not isinstance(value, _TYPES[declared]):
        return False
    if isinstance(value, int | float) and column in _INSTANTS:
        return 0 <= value < INSTANTS_END
    if column == "outcome":
        return value in _OUTCOMES
    if column == "scope":
        return _is_scope(value)
    return (table, column) != ("jobs", "id") or bool(_JOB_ID.fullmatch(str(value)))


def _bad_value(column: str, value: object) -> BadValue:
    return BadValue(f"a row has a bad {column}: {value!r:.50}")
