"""The texts of the table `meta`: where the timetable, the boot and the runner are."""

import json
from typing import Any

from pycron.engine.cursor import Cursor
from pycron.storage.rows import INSTANTS_END


def cursor_text(cursor: Cursor) -> str:
    return json.dumps((cursor.fixed, cursor.wall, cursor.stepped))


def cursor_of(text: str | None) -> Cursor | None:
    """The cursor that a text stands for; None also if the text is damaged."""
    match _values(text):
        case [fixed, wall, [*stepped]] if all(map(_is_second, (fixed, wall, *stepped))):
            return Cursor(fixed, wall, tuple(stepped))
    return None


def boot_text(second: int, turn: int) -> str:
    return json.dumps((second, turn))


def boot_of(text: str | None) -> tuple[int, int] | None:
    """The UTC second of the last boot, and how many boots of this second were before it."""
    match _values(text):
        case [second, int(turn)] if _is_second(second):
            return second, turn
    return None


def _is_second(value: object) -> bool:
    return type(value) is int and 0 <= value < INSTANTS_END


def _values(text: str | None) -> Any:
    try:
        return None if text is None else json.loads(text)
    except (ValueError, RecursionError):
        return None
