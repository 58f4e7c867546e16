"""Versions of a user's table: who changed it, when and how."""

from dataclasses import dataclass
from enum import StrEnum

MOST_VERSIONS = 10  # of each user's table, the current one included


class Origin(StrEnum):
    """How a version of a table came to be."""

    EDIT = "edit"
    FILE = "file"
    STDIN = "stdin"
    RESTORE = "restore"
    DELETE = "delete"
    FOUND = "found"  # somebody changed the file without the daemon
    REQUEST = "request"  # of a client that does not say how


@dataclass(frozen=True, slots=True)
class Provenance:
    """Who changed a table (None: nobody knows), and how.

    `restored`: the number of the version that was installed again.
    """

    author: str | None
    origin: Origin
    restored: int | None = None


@dataclass(frozen=True, slots=True)
class TableVersion:
    """One version of a user's table, without its text.

    `time`: UTC second of the change. `size`: bytes of the text; None if the table was deleted.
    `current`: whether the table is this version now.
    """

    number: int
    time: int
    provenance: Provenance
    size: int | None
    entries: int
    current: bool = False
