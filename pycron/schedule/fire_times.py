"""Fire times: when a schedule is due in a zone. The DST rule is here and nowhere else.

The rule is that of Debian's cron (cron.c, its virtual minutes), in the zone of the Job:

* A *wildcard* schedule (minute or hour is a star field) is due at every wall minute that it names
  and that exists: in both passes of a repeated hour, and not at all in a skipped hour.
* Every other schedule is *fixed*. If it is due in a skipped hour, its fire time is the instant at
  which the gap ends; if it is due in a repeated hour, its fire time is in the first pass only.
* The rules for gaps and repeated hours do not hold if the clock is shifted by more than three hours
  (a skipped day).
* Day rules (day_rules.py) choose among the wall times, as the fields do. The day of an interval is
  that of its fire time.

A gap maps several wall times to one instant: they are one fire time. Vixie cron starts the command
once for each of them.
"""

from collections.abc import Iterator
from dataclasses import replace

from pycron.schedule.day_rules import DayRules
from pycron.schedule.expressions import (
    After,
    Days,
    Interval,
    NoSchedule,
    Reboot,
    WallTimes,
    rules_of,
)
from pycron.schedule.zone import END_OF_TIME, START_OF_TIME, Zone

Times = WallTimes | Interval | Reboot | NoSchedule | After

# Any date falls on any weekday within 40 years (29 February around 2100).
_HORIZON = 41 * 366 * 86_400
# The days of a calendar are found year by year, which may take a tenth of a second for each.
_HORIZON_OF_CALENDARS = 10 * 366 * 86_400

_MIDNIGHTS = WallTimes(1, 1, Days((1 << 32) - 2, 0x7F, both=True), (1 << 13) - 2, wildcard=False)


def has_fire_times(schedule: Times) -> bool:
    """Whether the clock makes a Job with this schedule due; for @reboot, another event does."""
    return isinstance(_own(schedule), WallTimes | Interval)


def next_fire(schedule: Times, zone: Zone, after: int) -> int | None:
    """The first fire time after a UTC second; None if there is none (@reboot, end of time)."""
    schedule = _own(schedule)
    if isinstance(schedule, WallTimes):
        return _next_cron(schedule, zone, after + 1)
    if isinstance(schedule, Interval):
        return _next_multiple(schedule, zone, after + 1)
    return None


def _own(schedule: Times) -> WallTimes | Interval | Reboot | NoSchedule:
    """The schedule itself; for `@after`, that of the named Jobs."""
    return schedule.when if isinstance(schedule, After) else schedule


def may_run_on_day_of(schedule: Times, zone: Zone, instant: int) -> bool:
    """Whether the day rules of a schedule allow the day of a UTC second."""
    rules = rules_of(_own(schedule))
    return rules is None or rules.allow(zone.local(instant).date())


def fire_times(schedule: Times, zone: Zone, start: int, end: int) -> Iterator[int]:
    """The fire times in [start, end), in order (UTC seconds)."""
    fire = next_fire(schedule, zone, start - 1)
    while fire is not None and fire < end:
        yield fire
        fire = next_fire(schedule, zone, fire)


def last_fire_times(schedule: Times, zone: Zone, start: int, end: int, most: int) -> list[int]:
    """The last `most` fire times in [start, end), in order.

    The search widens backwards until it has found enough, so a long window costs no more than a
    short one.
    """
    width = 3600
    while True:
        first = max(start, end - width)
        found = list(fire_times(schedule, zone, first, end))
        if len(found) >= most or first == start:
            return found[-most:]
        width *= 12


def follows_the_wall(schedule: Times) -> bool:
    """Whether a Job follows the wall clock when it is stepped: wildcard schedules and intervals.

    A fixed Job waits until the clock has caught up.
    """
    schedule = _own(schedule)
    return schedule.wildcard if isinstance(schedule, WallTimes) else True


def horizon_of(schedule: Times) -> int:
    """How many seconds ahead, or back, a fire time of the schedule is looked for."""
    rules = rules_of(_own(schedule))
    return _HORIZON_OF_CALENDARS if rules and rules.has_calendars else _HORIZON


def _next_multiple(schedule: Interval, zone: Zone, earliest: int) -> int | None:
    """The first multiple of an interval from a UTC second on that is on an allowed day."""
    seconds, rules = schedule.seconds, schedule.rules
    fire = -(-earliest // seconds) * seconds
    if rules is None:
        return fire
    horizon = min(earliest + horizon_of(schedule), END_OF_TIME)
    while fire < horizon:
        if may_run_on_day_of(schedule, zone, fire):
            return fire
        fire = -(-_end_of_days_without(rules, zone, fire) // seconds) * seconds
    return None


def _end_of_days_without(rules: DayRules, zone: Zone, instant: int) -> int:
    """The UTC second up to which no later day is allowed, or the next shift of the clock."""
    stretch = zone.stretch_at(instant)
    wall, end = _minute(instant + stretch.offset + 1), _minute(stretch.end + stretch.offset)
    found = replace(_MIDNIGHTS, rules=rules).next_wall(wall, end)
    return stretch.end if found is None else found * 60 - stretch.offset


def _next_cron(schedule: WallTimes, zone: Zone, earliest: int) -> int | None:
    earliest = max(earliest, START_OF_TIME)
    horizon = min(earliest + horizon_of(schedule), END_OF_TIME)
    while earliest < horizon:
        stretch = zone.stretch_at(earliest)
        offset = stretch.offset
        wall = earliest + offset
        if not schedule.wildcard:
            if stretch.skipped and earliest == stretch.start:
                gap = _minute(wall - stretch.skipped)
                if schedule.next_wall(gap, _minute(wall)) is not None:
                    return earliest
            wall = max(wall, stretch.repeated_until)
        found = schedule.next_wall(_minute(wall), _minute(stretch.end + offset))
        if found is not None:
            return found * 60 - offset
        earliest = stretch.end
    return None


def _minute(wall_second: int) -> int:
    """The first whole minute at or after a wall second."""
    return -(-wall_second // 60)
