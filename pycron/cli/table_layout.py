"""How a table gets a place between the edges of a terminal: which columns, and how wide."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

GAP = 2  # spaces between two columns
_COMFORTABLE = 24  # characters of a value that is whole in most tables


@dataclass(frozen=True, slots=True)
class Column:
    """`title`: what stands above it. `right`: its values are aligned to the right.

    `least`: the number of characters down to which its values may be cut; None: they are whole as
    long as there is another way. `rank`: where the terminal is too narrow, the columns with the
    highest rank are left out first, and those with rank 0 never. `optional`: a terminal has the
    column only if one of the first rows has a value there.
    """

    title: str
    right: bool = False
    least: int | None = None
    rank: int = 0
    optional: bool = False


def fit(columns: Sequence[Column], widths: Sequence[int], room: int | None) -> dict[int, int]:
    """The columns that are shown and the width of each: in all at most `room` characters.

    `widths`: what the values and the title of each column take; 0: the column is left out. `room`
    None: without a limit. Columns with a rank are there if the others need not be cut for them, but
    for very long values. If the others alone do not fit, they are cut, the widest first.
    """
    shown = {i: width for i, width in enumerate(widths) if width}
    if room is None:
        return shown
    for rank in sorted({columns[i].rank for i in shown}, reverse=True):
        chosen = {i: width for i, width in shown.items() if columns[i].rank <= rank}
        leasts = {i: _least(columns[i], width) for i, width in chosen.items()}
        if _sum(leasts) <= room:
            return _cut(chosen, leasts, room)
    leasts = {i: min(columns[i].least or width, width) for i, width in chosen.items()}
    return _cut(chosen, leasts if _sum(leasts) <= room else dict.fromkeys(chosen, 1), room)


def _least(column: Column, width: int) -> int:
    """How narrow a column may be while there are others that could be left out."""
    least = width if column.least is None else column.least
    return min(width, least if column.rank else max(least, _COMFORTABLE))


def _sum(widths: Mapping[int, int]) -> int:
    return sum(widths.values()) + GAP * (len(widths) - 1)


def _cut(widths: dict[int, int], leasts: dict[int, int], room: int) -> dict[int, int]:
    """The widths made smaller, the widest first, until all fit or none may become smaller."""
    cut = {i: max(min(width, room), leasts[i]) for i, width in widths.items()}
    excess = _sum(cut) - room
    while excess > 0:
        i = max((i for i in cut if cut[i] > leasts[i]), key=cut.__getitem__, default=None)
        if i is None:
            break
        cut[i] -= 1
        excess -= 1
    return cut
