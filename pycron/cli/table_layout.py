"""How a table gets a place between the edges of a terminal: which columns, and how wide."""

from collections.abc import Sequence
from dataclasses import dataclass

GAP = 2  # spaces between two columns


@dataclass(frozen=True, slots=True)
class Column:
    """`title`: what stands above it. `right`: its values are aligned to the right.

    `least`: the number of characters down to which its values may be cut; None: they are whole as
    long as there is another way. `rank`: where the terminal is too narrow, the columns with the
    highest rank are left out first, and those with rank 0 never.
    """

    title: str
    right: bool = False
    least: int | None = None
    rank: int = 0


def fit(columns: Sequence[Column], widths: Sequence[int], room: int | None) -> dict[int, int]:
    """The columns that are shown and the width of each: in all at most `room` characters.

    `widths`: what the values and the title of each column take. `room` None: without a limit.
    First the widest columns that may be cut are cut, then columns are left out, and at last any
    column is cut.
    """
    shown = dict(enumerate(widths))
    if room is None:
        return shown
    while not _narrowed(columns, shown, room):
        last = max(shown, key=lambda i: columns[i].rank)
        if columns[last].rank == 0 or len(shown) == 1:
            break
        del shown[last]
    leasts = {i: _least(columns[i], width) for i, width in shown.items()}
    if not _narrowed(columns, shown, room):
        leasts = dict.fromkeys(shown, 1)
    return _cut(shown, leasts, room)


def _narrowed(columns: Sequence[Column], shown: dict[int, int], room: int) -> bool:
    """Whether the columns fit if each is as narrow as it may be."""
    leasts = [_least(columns[i], width) for i, width in shown.items()]
    return sum(leasts) + GAP * (len(leasts) - 1) <= room


def _least(column: Column, width: int) -> int:
    return width if column.least is None else min(width, column.least)


def _cut(widths: dict[int, int], leasts: dict[int, int], room: int) -> dict[int, int]:
    """The widths made smaller, the widest first, until all fit or none may become smaller."""
    cut = {i: max(min(width, room), leasts[i]) for i, width in widths.items()}
    excess = sum(cut.values()) + GAP * (len(cut) - 1) - room
    while excess > 0:
        i = max((i for i in cut if cut[i] > leasts[i]), key=cut.__getitem__, default=None)
        if i is None:
            break
        cut[i] -= 1
        excess -= 1
    return cut
