"""Where the timetable, the boot and the runner are: a copy in memory of the table `meta`."""

import json
import sqlite3
from pathlib import Path
from typing import Any

from pycron.engine.cursor import Cursor
from pycron.storage.cursor_file import CursorFile
from pycron.storage.rows import INSTANTS_END, text

_KEPT = ("cursor", "runner", "boot_id", "booted")


class Meta:
    """The values of `meta`, newest first: of this daemon, of the cursor file, of the database.

    They outlive the database file: a new file gets them from here.
    """

    def __init__(self, path: Path) -> None:
        self._values: dict[str, str] = {}
        self._cursor_file = CursorFile(path)

    def read(self, database: sqlite3.Connection) -> None:
        """Add what this daemon does not know yet. Raises sqlite3.Error."""
        rows = database.execute("SELECT key, value FROM meta")
        found = {text(row, "key"): text(row, "value") for row in rows}
        found = {key: value for key, value in found.items() if key in _KEPT}
        self._cursor_file.recorded = found.get("cursor")
        if cursor := self._cursor_file.read():
            found["cursor"] = cursor
        self._values = found | self._values

    def write(self, database: sqlite3.Connection) -> None:
        """Write all values into another database. Raises sqlite3.Error."""
        database.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", self._values.items())
        self._cursor_file.recorded = self._values.get("cursor")

    def written(self, values: dict[str, str]) -> None:
        """These values are in the database now."""
        self._values |= values
        self._cursor_file.recorded = values.get("cursor", self._cursor_file.recorded)

    def write_beside(self, cursor: Cursor) -> bool:
        """Write the cursor into its file; False if that is not possible."""
        text = cursor_text(cursor)
        if not self._cursor_file.write(text):
            return False
        self._values["cursor"] = text
        return True

    def copy(self) -> dict[str, str]:
        """The values, for restore()."""
        return dict(self._values)

    def restore(self, values: dict[str, str]) -> None:
        """Drop the values that were added since copy()."""
        self._values = values

    def assume_booted(self, boot_id: str) -> None:
        """The @reboot Jobs of this boot have run, unless another boot is known."""
        self._values.setdefault("boot_id", boot_id)

    def cursor(self) -> Cursor | None:
        """How far the timetable had come; None also if the record of it is damaged."""
        match parsed(self._values.get("cursor")):
            case [fixed, wall, [*stepped]] if all(map(_is_second, (fixed, wall, *stepped))):
                return Cursor(fixed, wall, tuple(stepped))
        return None

    def runner(self) -> str | None:
        return self._values.get("runner")

    def boot_id(self) -> str | None:
        return self._values.get("boot_id")

    def boots_in(self, second: int) -> int:
        """How many boots were recorded in this UTC second, if the last one is of that second."""
        match parsed(self._values.get("booted")):
            case [last, int(pass_number)] if last == second:
                return pass_number + 1
        return 0


def cursor_text(cursor: Cursor) -> str:
    return json.dumps((cursor.fixed, cursor.wall, cursor.stepped))


def boot_text(second: int, pass_number: int) -> str:
    return json.dumps((second, pass_number))


def _is_second(value: object) -> bool:
    return type(value) is int and 0 <= value < INSTANTS_END


def parsed(text: str | None) -> Any:
    """The value in a row of `meta`; None without a row, or if it is damaged."""
    try:
        return None if text is None else json.loads(text)
    except (ValueError, RecursionError):
        return None
