"""The errors of the store; control and executor know them as ports.StoreFailure."""

import sqlite3
from pathlib import Path

from pycron.ports import StoreFailure

# Python cannot decode what SQLite says of a damaged schema, which it quotes.
SQLITE_ERRORS = (sqlite3.Error, UnicodeDecodeError)
_CORRUPT = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
# What SQLite says of a file that was cut to nothing, and Python of a text that is not UTF-8, and of
# a column that has another name in a damaged schema.
_NO_SUCH_COLUMN = "No item with that key"
_CORRUPT_TEXTS = ("no such table", "Could not decode to UTF-8", _NO_SUCH_COLUMN)


class StoreError(StoreFailure):
    """The database cannot be read or written; the message names the file and the reason."""


class RecordRefused(StoreError):
    """The database will never accept this record."""


class StoreCorrupt(StoreError):
    """The file is damaged, or is not a database."""


class StoreGone(StoreCorrupt):
    """The file of an open database was deleted, or replaced by another file."""


class StoreTooNew(StoreError):
    """A newer pycron has made this database."""


class StoreShut(StoreError):
    """The database could not be opened so far."""


class BadValue(sqlite3.DatabaseError):
    """A row has a value that pycron never writes: the database is damaged."""

    sqlite_errorcode = sqlite3.SQLITE_CORRUPT


def store_error(path: Path, error: Exception) -> StoreError:
    """The StoreError that stands for an error of SQLite."""
    kind = StoreError
    if isinstance(error, sqlite3.IntegrityError | OverflowError):
        kind = RecordRefused
    elif _is_corrupt(error):
        kind = StoreCorrupt
    return kind(f"{path}: {error}")


def lacks_column(error: IndexError) -> bool:
    """Whether it is that of a row of SQLite."""
    return str(error) == _NO_SUCH_COLUMN


def _is_corrupt(error: Exception) -> bool:
    if isinstance(error, UnicodeDecodeError):
        return True
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return code in _CORRUPT or any(text in str(error) for text in _CORRUPT_TEXTS)
