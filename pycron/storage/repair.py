"""A damaged database: set aside, and what can still be read of it taken over into a new one."""

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pycron.storage.errors import StoreError, store_error
from pycron.storage.rows import is_sound
from pycron.storage.schema import open_database
from pycron.system.files import sync_directory

_ASIDE_KEPT = 3

# What a damaged file answers with. A disk without room has other words, and rows to come back for.
_NO_SUCH_ROWS = (sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_UNREADABLE = (
    sqlite3.SQLITE_IOERR_READ,
    sqlite3.SQLITE_IOERR_SHORT_READ,
    sqlite3.SQLITE_IOERR_CORRUPTFS,
)

# In the order in which they are saved: first what keeps a fire time from running twice. The order
# of their rows, and what the triggers count anew.
_TABLES = {
    "meta": "key",
    "users": "number",
    "jobs": "number",
    "runs": "number",
    "attempts": "run, number",
    "outputs": "run, number",
    "pauses": "scope",
    "gaps": "number",
}
_COUNTED = {"jobs": {"runs", "output_kept"}}


@dataclass(frozen=True, slots=True)
class Repair:
    """Where the damaged file is now, how many Runs were saved, and what was wrong with it.

    Of a file that was deleted, nothing is anywhere; of one that was replaced, `aside` is the other.
    """

    aside: Path | None
    runs: int
    reason: str


def repair(path: Path, reason: str) -> Repair:
    """Put a sound database in the place of a damaged one that nobody has open.

    Until the new one is whole the old one stays where it is. Raises StoreError.
    """
    with _fresh(path, f"{reason}; it can't be repaired") as fresh:
        open_database(fresh).close()
        _salvage(path, fresh)
        with closing(open_database(fresh)) as database:
            (runs,) = database.execute("SELECT count(*) FROM runs").fetchone()
        aside = _set_aside(path)
        _put_in_place(fresh, path)
    return Repair(aside, runs, reason)


def put_back(database: sqlite3.Connection, path: Path, reason: str) -> Repair:
    """Put a database that is open, but no longer in its place, back there, whole.

    Another file that is there is set aside. Raises StoreError.
    """
    with _fresh(path, f"{reason}; it can't be put back") as fresh:
        fresh.touch(0o600)
        with closing(sqlite3.connect(fresh)) as copy:
            database.backup(copy)  # page by page: repairing relies on where the tables are
            (runs,) = copy.execute("SELECT count(*) FROM runs").fetchone()
        aside = _set_aside(path) if path.exists() else None
        _put_in_place(fresh, path)
    return Repair(aside, runs, reason)


@contextmanager
def _fresh(path: Path, failure: str) -> Iterator[Path]:
    """Where a new database is made, and what is left of it removed. Raises StoreError."""
    fresh = path.with_name(f"{path.name}.new")
    try:
        _remove(fresh)
        try:
            yield fresh
        finally:
            _remove(fresh)
    except (OSError, sqlite3.Error) as error:
        raise StoreError(f"{path}: {failure}: {error}") from error


def _put_in_place(fresh: Path, path: Path) -> None:
    """From the first step on the new database is the one that counts; see finish()."""
    os.replace(fresh, _ready(path))
    sync_directory(path.parent)
    finish(path)


def finish(path: Path) -> None:
    """Do what is left to do of a repair that was cut short. Raises OSError.

    The log of the old file goes before the new one comes: SQLite would take it for that one's.
    """
    if not _ready(path).exists():
        return
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    os.replace(_ready(path), path)
    sync_directory(path.parent)


def newest(path: Path) -> Path:
    """The file that counts, where a repair has been cut short and can't be finished."""
    return _ready(path) if _ready(path).exists() else path


def _ready(path: Path) -> Path:
    return path.with_name(f"{path.name}.repaired")


def _set_aside(path: Path) -> Path:
    """Second names for the file and its log, so that both stay whole whatever happens next."""
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    aside = path.with_name(f"{path.name}.corrupt-{stamp}")
    _remove(aside)
    os.link(path, aside)
    with suppress(FileNotFoundError):
        os.link(_log_of(path), _log_of(aside))
    others = path.parent.glob(f"{path.name}.corrupt-*Z")
    for old in sorted(others)[:-_ASIDE_KEPT]:
        _remove(old)
    return aside


def _log_of(path: Path) -> Path:
    return path.with_name(f"{path.name}-wal")


def _remove(path: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def _salvage(damaged: Path, fresh: Path) -> None:
    with closing(_open_as_it_is(damaged)) as source:
        if _is_readable(source):
            _copy_rows(source, fresh)
            return
    patched = damaged.with_name(f"{damaged.name}.patched")
    try:
        _patch_first_page(damaged, fresh, patched)
        with closing(_open_as_it_is(patched)) as source:
            _copy_rows(source, fresh)
    finally:
        _remove(patched)


def _open_as_it_is(path: Path) -> sqlite3.Connection:
    source = sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True)
    source.text_factory = lambda data: data.decode("utf-8", "backslashreplace")
    return source


def _is_readable(source: sqlite3.Connection) -> bool:
    try:
        source.execute("SELECT 1 FROM meta")
    except sqlite3.DatabaseError as error:
        if not _is_damage(error):
            raise
        return False
    return True


def _is_damage(error: sqlite3.Error) -> bool:
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
    return code & 0xFF in _NO_SUCH_ROWS or code in _UNREADABLE


def _patch_first_page(damaged: Path, fresh: Path, patched: Path) -> None:
    """A copy that begins as a new database does: the first page says where each table is.

    All our databases are made in the same way, so there it is the same.
    """
    import shutil  # half a MB, and only damage asks for it

    shutil.copyfile(damaged, patched)
    with suppress(FileNotFoundError):
        shutil.copyfile(_log_of(damaged), _log_of(patched))
    with fresh.open("rb") as file:
        size = int.from_bytes(file.read(18)[16:], "big")
        file.seek(0)
        page = bytearray(file.read(size))
    page[24:28] = b"\0\0\0\0"  # so that SQLite asks the file for its size, and not this page
    page[32:40] = bytes(8)  # no page is free
    with patched.open("r+b") as file:
        file.write(page)


def _copy_rows(source: sqlite3.Connection, fresh: Path) -> None:
    with closing(open_database(fresh)) as database:
        database.execute("PRAGMA foreign_keys = OFF")
        try:
            database.execute("BEGIN")
            for table, order in _TABLES.items():
                _copy_table(source, database, table, order)
            for orphans in (
                "runs WHERE job NOT IN (SELECT number FROM jobs)",
                "attempts WHERE run IN"
                " (SELECT number FROM runs WHERE user NOT IN (SELECT number FROM users))",
                "runs WHERE user NOT IN (SELECT number FROM users)",
                "attempts WHERE run NOT IN (SELECT number FROM runs)",
                "outputs WHERE (run, number) NOT IN (SELECT run, number FROM attempts)",
            ):
                database.execute(f"DELETE FROM {orphans}")
            database.execute("COMMIT")
        except sqlite3.Error as error:
            raise store_error(fresh, error) from error


def _copy_table(
    source: sqlite3.Connection, database: sqlite3.Connection, table: str, order: str
) -> None:
    there = _readable_columns(source, table)
    columns = {
        row["name"]: row["type"]
        for row in database.execute(f"PRAGMA table_info({table})")
        if row["name"] not in _COUNTED.get(table, ()) and row["name"] in there
    }
    if not columns:
        return
    names = ", ".join(f'"{name}"' for name in columns)
    places = ", ".join("?" * len(columns))
    for row in _readable_rows(source, f"SELECT {names} FROM {table}", order):
        if all(
            is_sound(table, name, declared, value)
            for (name, declared), value in zip(columns.items(), row, strict=True)
        ):
            database.execute(f"INSERT OR IGNORE INTO {table} ({names}) VALUES ({places})", row)


def _readable_columns(source: sqlite3.Connection, table: str) -> set[str]:
    """Those that it has: one of an older version has fewer of them, and fewer tables."""
    try:
        return {row[1] for row in source.execute(f"PRAGMA table_info({table})")}
    except sqlite3.DatabaseError as error:
        if not _is_damage(error):
            raise
        return set()


def _readable_rows(source: sqlite3.Connection, query: str, order: str) -> Iterator[tuple[Any, ...]]:
    """The rows on both sides of the damage; all of them, some twice, where there is none."""
    for direction in ("ASC", "DESC"):
        keys = ", ".join(f"{key} {direction}" for key in order.split(", "))
        try:
            yield from source.execute(f"{query} ORDER BY {keys}")
            return
        except sqlite3.DatabaseError as error:
            if not _is_damage(error):
                raise
