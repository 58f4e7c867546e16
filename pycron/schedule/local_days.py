"""Days and hours of a zone as stretches of UTC seconds."""

import datetime
from calendar import timegm
from collections.abc import Iterator

from pycron.schedule.zone import Zone


def day_start(day: datetime.date, zone: Zone) -> int:
    """The first UTC second of a local day, which is not always at midnight."""
    return _first_instant(day, zone)


def day_of(instant: int, zone: Zone) -> tuple[int, int]:
    """The local day that contains a UTC second: its first second, and that of the next day."""
    day = zone.local(instant).date()
    return day_start(day, zone), day_start(day + datetime.timedelta(days=1), zone)


def days(start: int, end: int, zone: Zone) -> Iterator[tuple[int, int]]:
    """The local days that [start, end) touches, each as its first second and that of the next."""
    while start < end:
        first, following = day_of(start, zone)
        yield first, following
        start = following


def hour_start(instant: int, zone: Zone) -> int:
    """The UTC second at which the local hour of a UTC second began."""
    local = zone.local(instant)
    return instant - 60 * local.minute - local.second


def wall_instant(wall: datetime.datetime, zone: Zone) -> int:
    """The UTC second of a time as a clock in the zone shows it: the first of two, after a gap.

    A time with an offset of its own is that instant. Raises ValueError outside 1970 to 9998.
    """
    if not 1970 <= wall.year <= 9998:
        raise ValueError("from 1970 to 9998")
    if wall.tzinfo is not None:
        return int(wall.timestamp())
    return _first_instant(wall, zone)


def _first_instant(wall: datetime.date, zone: Zone) -> int:
    """The first UTC second of a time on the clock; where the clock skips it, that of the jump."""
    second = timegm(wall.timetuple())
    instants = zone.instants_of(second)
    return instants[0] if instants else zone.jump_over(second)
