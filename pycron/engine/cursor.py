"""The cursor: how far the timetable has come, and the gaps that it has passed over.

The daemon records the cursor with every turn. The next daemon starts from the recorded cursor.
"""

from collections.abc import Iterable
from dataclasses import dataclass

# Seconds. A wake-up that is late by at most this is only late. Any other difference between the
# clock and the cursor is a step of the clock.
LATE = 300
# Seconds. A step by more than this is a new start (Vixie's cron.c).
LONGEST_STEP = 3 * 3600
MOST_STEPS = 100  # backward steps of the clock that a Cursor keeps
_MINUTE = 60


@dataclass(frozen=True, slots=True)
class Cursor:
    """How far the timetable has come, in UTC seconds.

    The fire times of fixed Jobs up to `fixed`, and those of the Jobs that follow the wall clock up
    to `wall`, have been handed out. `stepped`: the value of `wall` each time the clock was set
    back, oldest first, at most MOST_STEPS of them.
    """

    fixed: int
    wall: int
    stepped: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Gap:
    """Fire times in (after, until] that were not handed out.

    `wall`: those of the Jobs that follow the wall clock; otherwise those of fixed Jobs.
    """

    after: int
    until: int
    wall: bool


def after_other_cron(record: Cursor | None, stopped: int | None, now: int) -> Cursor | None:
    """What counts as the last record if another cron has run the same tables.

    `stopped`: the UTC second at which that cron stopped; None if there was none.
    """
    if stopped is None or stopped > now or (record is not None and record.wall >= stopped):
        return record
    return Cursor(stopped, stopped)


def starting_cursor(record: Cursor | None, now: int) -> Cursor:
    """The cursor of a new daemon. `record`: the last one recorded; None if there is none.

    If the last daemon recorded it at most LATE seconds ago, the new daemon continues from there.
    Otherwise the new daemon starts anew, after `now`: with the next minute, except for intervals.
    """
    if record is None:
        return Cursor(now, now)
    if -_MINUTE < now - record.wall <= LATE:
        return record
    set_back = 0 < record.fixed - now <= LONGEST_STEP
    stepped = (*record.stepped, record.wall) if record.wall > now else record.stepped
    return Cursor(record.fixed if set_back else now, now, stepped[-MOST_STEPS:])


def starting_gaps(record: Cursor | None, now: int) -> list[Gap]:
    """The gaps between the recorded cursor and the start of a new daemon that starts anew."""
    if record is None or 0 <= now - record.wall <= LATE:
        return []
    gaps = [Gap(record.wall, now, wall=True), Gap(record.fixed, now, wall=False)]
    return [gap for gap in gaps if gap.after < gap.until]


def handed_out_after(cursor: Cursor, gaps: Iterable[Gap]) -> int:
    """The UTC second after which a new daemon hands out fire times, caught-up ones included.

    A Run with a later fire time may have been claimed by the last daemon, and have ended.
    """
    return min(cursor.fixed, cursor.wall, *(gap.after for gap in gaps))
