"""Rows as CSV (RFC 4180), for spreadsheets."""

import csv
import sys
from collections.abc import Iterable, Sequence

from pycron.cli.printing import Row
from pycron.cli.terminal import raw
from pycron.model.text import printable

_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def print_csv(keys: Sequence[str], rows: Iterable[Row]) -> None:
    """A line of keys, and a line for each row, as they come; no value is an empty cell.

    A text that a spreadsheet would take for a formula gets an apostrophe in front: names and
    reasons come from other users. Control characters are escaped.
    """
    writer = csv.writer(raw(sys.stdout), lineterminator="\n")
    writer.writerow(keys)
    for row in rows:
        writer.writerow([_cell(row.get(key)) for key in keys])


def _cell(value: object) -> object:
    if not isinstance(value, str):
        return value
    return f"'{printable(value)}" if value.startswith(_FORMULA) else printable(value)
