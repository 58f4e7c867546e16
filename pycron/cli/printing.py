"""Output of the programs: JSON, one object a line, or columns for people."""

import json
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence

from pycron.model.text import printable

Row = Mapping[str, object]

_NARROWEST = 10  # characters of the last column; if there is less room, the terminal wraps it


def print_json(rows: Iterable[Row]) -> None:
    for row in rows:
        text = json.dumps(row, ensure_ascii=False, default=str)
        sys.stdout.write(_without_controls(text) + "\n")


def _without_controls(text: str) -> str:
    """JSON of the same value, in which what is not printable is an escape of JSON."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in text)


def print_columns(columns: Sequence[tuple[str, str]], rows: Sequence[Row], empty: str) -> None:
    """Rows under their titles; `columns` are (key, title). Without rows: `empty`, to stderr.

    On a terminal the last column is cut to the width of the terminal. Control characters in the
    rows are escaped, so a table cannot control the terminal of the person who reads about it.
    """
    if not rows:
        print(empty, file=sys.stderr)
        return
    cells = [[title.upper() for _, title in columns]]
    cells += [[_text(row.get(key)) for key, _ in columns] for row in rows]
    widths = [max(len(line[i]) for line in cells) for i in range(len(columns))]
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    for line in cells:
        padded = [cell.ljust(widths[i]) for i, cell in enumerate(line[:-1])]
        before = len("  ".join([*padded, ""]))
        room = width - before if width is not None else None
        last = line[-1] if room is None or room < _NARROWEST else line[-1][:room]
        print("  ".join([*padded, last]).rstrip())


def print_fields(row: Row) -> None:
    """One object, a line for each of its keys."""
    width = max(len(key) for key in row)
    for key, value in row.items():
        print(f"{key.ljust(width)}  {_text(value)}")


def _text(value: object) -> str:
    return "-" if value is None else printable(str(value))
