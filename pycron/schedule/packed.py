"""Schedules of five fields as three integers: columns of a table with a million entries."""

from functools import lru_cache

from pycron.schedule.expressions import CronSchedule, Days, Schedule, WallTimes, parse_days
from pycron.schedule.fields import HOUR, MINUTE, is_star, parse_field

# An ordinary schedule as three integers: minutes, hours, days. A table keeps them for each entry.
# Bits of the minutes: 0-59 the minutes, 60 `wildcard`. Bits of the days: 0-31 the days of the
# month, 32-38 the weekdays, 39 `both`, from 40 on the months.
Packed = tuple[int, int, int]
_WILDCARD = 1 << 60
_BOTH = 1 << 39


def pack(fields: tuple[str, ...]) -> Packed | None:
    """Five field texts, packed; None if they have extended elements.

    Raises FieldError and ScheduleError; `~` and `H` are errors, as in parse_cron without `pick`.
    """
    minute, hour, day_of_month, month, day_of_week = fields
    minutes = parse_field(minute, MINUTE)
    hours = parse_field(hour, HOUR)
    days = _packed_days(day_of_month, month, day_of_week)
    if days is None:
        return None
    if is_star(minute) or is_star(hour):
        minutes |= _WILDCARD
    return minutes, hours, days


def pack_schedule(schedule: Schedule) -> Packed | Schedule:
    """The schedule packed, or the schedule itself if it cannot be packed."""
    packed = pack(schedule.fields) if isinstance(schedule, CronSchedule) else None
    return packed or schedule


@lru_cache(maxsize=4096)
def _packed_days(day_of_month: str, month: str, day_of_week: str) -> int | None:
    days, months = parse_days(day_of_month, month, day_of_week)
    if days.extended_of_month or days.extended_of_week:
        return None
    both = _BOTH if days.both else 0
    return days.of_month | days.of_week << 32 | both | months << 40


def unpack(minutes: int, hours: int, days: int) -> WallTimes:
    """The reverse of `pack`."""
    chosen, months = _unpacked_days(days)
    return WallTimes(minutes & ~_WILDCARD, hours, chosen, months, is_wildcard(minutes))


def is_wildcard(packed_minutes: int) -> bool:
    """Whether the schedule with these packed minutes is a wildcard one."""
    return packed_minutes >= _WILDCARD


@lru_cache(maxsize=4096)
def _unpacked_days(packed: int) -> tuple[Days, int]:
    days = Days(packed & 0xFFFFFFFF, packed >> 32 & 0x7F, bool(packed & _BOTH))
    return days, packed >> 40
