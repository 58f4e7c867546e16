"""The five fields of a schedule, each compared with a time on the Job's clock."""

import datetime
from dataclasses import dataclass, replace

from pycron.schedule.expressions import CronSchedule, Schedule
from pycron.schedule.fields import FIELDS, Field


@dataclass(frozen=True, slots=True)
class FieldCheck:
    """One of the five fields: its text, and the value that the clock showed."""

    field: Field
    says: str
    was: int
    matches: bool

    def __str__(self) -> str:
        names = self.field.names
        name = f" ({names[self.was - self.field.low]})" if names else ""
        return f"{self.field} says {self.says} and was {self.was}{name}"


def fields_match(schedule: Schedule, wall: int) -> bool:
    """Whether the schedule has five fields and all together match this wall second."""
    minute = wall // 60
    return isinstance(schedule, CronSchedule) and schedule.next_wall(minute, minute + 1) is not None


def check_fields(schedule: Schedule, wall: int) -> tuple[FieldCheck, ...]:
    """The fields in their order; none if the schedule has no fields."""
    if not isinstance(schedule, CronSchedule):
        return ()
    shown = datetime.datetime.fromtimestamp(wall, datetime.UTC)
    days = schedule.days
    of_month = replace(days, of_week=0, extended_of_week=(), both=False)
    of_week = replace(days, of_month=0, extended_of_month=(), both=False)
    was = (shown.minute, shown.hour, shown.day, shown.month, shown.isoweekday() % 7)
    matches = (
        schedule.minutes >> shown.minute & 1,
        schedule.hours >> shown.hour & 1,
        of_month.in_month(shown.year, shown.month) >> shown.day & 1,
        schedule.months >> shown.month & 1,
        of_week.in_month(shown.year, shown.month) >> shown.day & 1,
    )
    return tuple(
        FieldCheck(field, says, value, bool(match))
        for field, says, value, match in zip(FIELDS, schedule.fields, was, matches, strict=True)
    )


def failed_checks(schedule: CronSchedule, wall: int) -> list[FieldCheck]:
    """The fields because of which a Job was not due.

    A day field is not among them if the other day field matches and one of the two is enough.
    """
    minute, hour, of_month, month, of_week = check_fields(schedule, wall)
    checks = [minute, hour, month]
    if schedule.days.both or not (of_month.matches or of_week.matches):
        checks += [of_month, of_week]
    return [check for check in checks if not check.matches]
