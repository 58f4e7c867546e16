"""The time that a user asks about, on the clock of a Job.

A time means a whole minute. With an interval and a time that has seconds, it means that second.
"""

from dataclasses import dataclass, replace

from pycron.engine.field_checks import fields_match
from pycron.schedule.expressions import Interval, Schedule, own_schedule
from pycron.schedule.fire_times import fire_times, follows_the_wall
from pycron.schedule.zone import Zone

_MINUTE = 60


@dataclass(frozen=True, slots=True)
class AskedTime:
    """A UTC second; or (`wall`) a second as the Job's clock shows it."""

    second: int
    wall: bool


@dataclass(frozen=True, slots=True)
class LocalTime:
    """`width` seconds (60 or 1) on the clock of a Job, from the wall second `wall`.

    `instants`: the UTC seconds at which the clock shows `wall`: one; two if the clock shows it
    twice; none if the clock skips it. In that case `jump` is the UTC second at which the clock
    skips. `due`: the Job's fire times in this time.
    """

    wall: int
    width: int
    instants: tuple[int, ...]
    jump: int | None = None
    due: tuple[int, ...] = ()

    @property
    def windows(self) -> list[tuple[int, int]]:
        """The UTC seconds [start, end) of the fire times whose Runs belong to this time."""
        if self.jump is not None:
            return [(fire, fire + 1) for fire in self.due]
        return [(instant, instant + self.width) for instant in self.instants]

    @property
    def start(self) -> int:
        return self.instants[0] if self.jump is None else self.jump

    @property
    def end(self) -> int:
        return self.instants[-1] + self.width if self.jump is None else self.jump + 1


def local_time(asked: AskedTime, schedule: Schedule | None, zone: Zone) -> LocalTime:
    """The asked time for a Job with this schedule (None: not known) and zone."""
    schedule = schedule and own_schedule(schedule)
    to_the_second = isinstance(schedule, Interval) and asked.second % _MINUTE
    width = 1 if to_the_second else _MINUTE
    if asked.wall:
        wall = asked.second - asked.second % width
        instants = tuple(zone.instants_of(wall))
    else:
        offset = zone.offset_at(asked.second)
        wall = (asked.second + offset) // width * width
        instants = (wall - offset,)
    jump = None if instants else zone.jump_over(wall)
    local = LocalTime(wall, width, instants, jump)
    return local if schedule is None else replace(local, due=_due(local, schedule, zone))


def _due(local: LocalTime, schedule: Schedule, zone: Zone) -> tuple[int, ...]:
    if local.jump is None:
        windows = local.windows
    elif not follows_the_wall(schedule) and fields_match(schedule, local.wall):
        windows = [(local.jump, local.jump + 1)]  # a fixed Job runs when the clock has jumped
    else:
        windows = []
    return tuple(fire for window in windows for fire in fire_times(schedule, zone, *window))
