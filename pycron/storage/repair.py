"""Replaces the file of a damaged database by a new one with every row that can still be read.

Also puts the database back if its file was deleted or replaced while it was open.
"""

import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pycron.storage.errors import SQLITE_ERRORS, StoreError
from pycron.storage.rows import is_sound
from pycron.storage.schema import open_database
from pycron.storage.shared import forget_store_id
from pycron.system.files import sync_directory

_DAMAGED_FILES_KEPT = 3

# Errors of a damaged file. A disk without room has other errors, after which the rows still exist.
_NO_SUCH_ROWS = (sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_UNREADABLE = (
    sqlite3.SQLITE_IOERR_READ,
    sqlite3.SQLITE_IOERR_SHORT_READ,
    sqlite3.SQLITE_IOERR_CORRUPTFS,
)

# The tables with the order of their rows. `meta` comes first: it has the cursor, without which a
# fire time could run twice.
_TABLES = {
    "meta": "key",
    "users": "number",
    "jobs": "number",
    "runs": "number",
    "attempts": "run, number",
    "outputs": "run, number",
    "pauses": "scope",
    "gaps": "number",
    "shared": "key",
}
_COUNTED = {"jobs": {"runs", "output_kept"}}  # columns that triggers count anew

# Rows that refer to a row that was lost.
_ORPHANS = (
    "runs WHERE job NOT IN (SELECT number FROM jobs)",
    "attempts WHERE run IN (SELECT number FROM runs WHERE user NOT IN (SELECT number FROM users))",
    "runs WHERE user NOT IN (SELECT number FROM users)",
    "attempts WHERE run NOT IN (SELECT number FROM runs)",
    "outputs WHERE (run, number) NOT IN (SELECT run, number FROM attempts)",
)


@dataclass(frozen=True, slots=True)
class Repair:
    """The result of a repair, and its reason.

    `aside`: the new name of the damaged file, or of the file that had replaced the database; None
    if there was no file. `runs`: how many Runs the new database has.
    """

    aside: Path | None
    runs: int
    reason: str


def repair(path: Path, reason: str) -> Repair:
    """Replace a damaged database that nobody has open. Raises StoreError.

    If nothing can be read, for example because the first page is damaged, the new database is
    empty. Then no fire time runs twice: the daemon begins with the next minute.
    """
    return _replace(path, reason, lambda new: _copy_readable_rows(path, new))


def put_back(database: sqlite3.Connection, path: Path, reason: str) -> Repair:
    """Put an open database back after its file was deleted or replaced. Raises StoreError.

    A new, empty file would lose more than the history: Runs that wait for a retry, the ends and the
    limits of running commands (no row is left to update), the pauses. A file that replaced ours,
    such as an older copy, has Attempts that were recorded and not yet started, which the next
    daemon would start again. For a million Runs this takes 2 seconds (163 MiB).
    """
    return _replace(path, reason, database.backup)


def _replace(path: Path, reason: str, fill: Callable[[sqlite3.Connection], None]) -> Repair:
    """Fill a new database and put it in place of the file, which stays until the new one is whole.

    Raises StoreError.
    """
    new = path.with_name(f"{path.name}.new")
    try:
        _remove(new)
        try:
            with closing(open_database(new)) as database:
                fill(database)
                (runs,) = database.execute("SELECT count(*) FROM runs").fetchone()
                # close() would not report that there is no room to empty the log into the file.
                database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            aside = _set_aside(path) if path.exists() else None
            _put_in_place(new, path)
        finally:
            _remove(new)
    except (OSError, *SQLITE_ERRORS) as error:
        raise StoreError(f"{path}: {reason}; it can't be repaired: {error}") from error
    return Repair(aside, runs, reason)


def _put_in_place(new: Path, path: Path) -> None:
    """From the first step on, the new database is the valid one; finish() does the rest."""
    os.replace(new, _ready(path))
    sync_directory(path.parent)
    finish(path)


def finish(path: Path) -> None:
    """Finish a repair that was interrupted. Raises OSError.

    The log (WAL) of the old file is deleted first: SQLite would apply it to the new file.
    """
    if not _ready(path).exists():
        return
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    os.replace(_ready(path), path)
    sync_directory(path.parent)


def valid_file(path: Path) -> Path:
    """The file to read: that of an interrupted repair if the repair cannot be finished."""
    return _ready(path) if _ready(path).exists() else path


def _ready(path: Path) -> Path:
    return path.with_name(f"{path.name}.repaired")


def _set_aside(path: Path) -> Path:
    """Give the file and its log second names, under which both stay complete."""
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    aside = path.with_name(f"{path.name}.corrupt-{stamp}")
    _remove(aside)
    os.link(path, aside)
    with suppress(FileNotFoundError):
        os.link(_log_of(path), _log_of(aside))
    others = path.parent.glob(f"{path.name}.corrupt-*Z")
    for old in sorted(others)[:-_DAMAGED_FILES_KEPT]:
        _remove(old)
    return aside


def _log_of(path: Path) -> Path:
    return path.with_name(f"{path.name}-wal")


def _remove(path: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def _copy_readable_rows(damaged: Path, database: sqlite3.Connection) -> None:
    """Copy in one transaction, without the rows that refer to a lost one. Raises sqlite3.Error."""
    database.execute("PRAGMA foreign_keys = OFF")
    database.execute("BEGIN")
    with closing(_open_read_only(damaged)) as source:
        for table, order in _TABLES.items():
            _copy_table(source, database, table, order)
    for orphans in _ORPHANS:
        database.execute(f"DELETE FROM {orphans}")
    forget_store_id(database)
    database.execute("COMMIT")


def _open_read_only(path: Path) -> sqlite3.Connection:
    source = sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True)
    source.execute("PRAGMA writable_schema = ON")  # otherwise SQLite rejects a file that was cut
    source.text_factory = lambda data: data.decode("utf-8", "backslashreplace")
    return source


def _is_damage(error: Exception) -> bool:
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
    return code & 0xFF in _NO_SUCH_ROWS or code in _UNREADABLE


def _copy_table(
    source: sqlite3.Connection, database: sqlite3.Connection, table: str, order: str
) -> None:
    readable = _readable_columns(source, table)
    columns = {
        row["name"]: row["type"]
        for row in database.execute(f"PRAGMA table_info({table})")
        if row["name"] not in _COUNTED.get(table, ()) and row["name"] in readable
    }
    if not columns:
        return
    names = ", ".join(f'"{name}"' for name in columns)
    marks = ", ".join("?" * len(columns))
    for row in _readable_rows(source, f"SELECT {names} FROM {table}", order):
        if all(
            is_sound(table, name, declared, value)
            for (name, declared), value in zip(columns.items(), row, strict=True)
        ):
            database.execute(f"INSERT OR IGNORE INTO {table} ({names}) VALUES ({marks})", row)


def _readable_columns(source: sqlite3.Connection, table: str) -> set[str]:
    """The columns that the table has; an older version has fewer columns and fewer tables."""
    try:
        return {row[1] for row in source.execute(f"PRAGMA table_info({table})")}
    except SQLITE_ERRORS as error:
        if not _is_damage(error):
            raise
        return set()


def _readable_rows(source: sqlite3.Connection, query: str, order: str) -> Iterator[tuple[Any, ...]]:
    """The rows before the damage and, from the end backwards, those behind it."""
    for direction in ("ASC", "DESC"):
        keys = ", ".join(f"{key} {direction}" for key in order.split(", "))
        try:
            yield from source.execute(f"{query} ORDER BY {keys}")
            return
        except SQLITE_ERRORS as error:
            if not _is_damage(error):
                raise
