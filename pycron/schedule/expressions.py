"""Schedules: when a Job is due, by the wall clock.

A `CronSchedule` is five fields as bit masks; equal fields share one object. Its unit is the *wall
minute*: minutes since 1970-01-01T00:00 as a clock on the wall shows them, in no particular zone.
Only fire_times.py converts wall minutes to UTC.
"""

import datetime
import re
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import TypeVar

from pycron.schedule.day_rules import DayRules
from pycron.schedule.durations import parse_duration
from pycron.schedule.fields import (
    DAY_OF_MONTH,
    DAY_OF_WEEK,
    FIELDS,
    HOUR,
    MINUTE,
    MONTH,
    FieldError,
    Pick,
    is_star,
    parse_day_field,
    parse_field,
    resolve,
)
from pycron.schedule.month_days import (
    Shape,
    extended_mask,
    longest,
    month_shape,
    shapes,
    shortest,
    weekdays_mask,
)

MINUTES_A_DAY = 1440
JOB_NAME = r"[A-Za-z0-9][A-Za-z0-9._+-]{0,63}"  # in CRON_NAME
MOST_AWAITED = 20  # Jobs that one @after names
_EPOCH_ORDINAL = datetime.date(1970, 1, 1).toordinal()
_LAST_ORDINAL = datetime.date(9999, 12, 31).toordinal()


class ScheduleError(ValueError):
    """A schedule that cannot be read, or that would never be due (`code` is never-fires)."""

    def __init__(self, message: str, code: str = "bad-time-specifier") -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class Days:
    """The days that the fields day-of-month and day-of-week choose.

    Vixie's rule (entry.c, cron.c): the two fields are combined with AND (`both`) if either is a
    star field, otherwise with OR. The masks hold days 1-31 and weekdays 0-6 (Sunday is 0). The
    extended elements (`L`, `15W`, `5#2`) are spelt as parse_day_field() does it.
    """

    of_month: int
    of_week: int
    both: bool
    extended_of_month: tuple[str, ...] = ()
    extended_of_week: tuple[str, ...] = ()

    def in_month(self, year: int, month: int) -> int:
        """The mask of the chosen days of a month: bit 1 is its first day."""
        return self.in_shape(month_shape(year, month))

    def in_shape(self, shape: Shape) -> int:
        """The mask of the chosen days of a month of this shape."""
        of_month = self.of_month
        for element in self.extended_of_month:
            of_month |= extended_mask(element, shape)
        of_week = weekdays_mask(self.of_week, shape)
        for element in self.extended_of_week:
            of_week |= extended_mask(element, shape)
        days = of_month & of_week if self.both else of_month | of_week
        return days & (2 << shape[1]) - 2


@dataclass(frozen=True, slots=True)
class WallTimes:
    """The wall minutes that five fields choose.

    `wildcard`: the minute or the hour is a star field, so the Job follows the wall clock through
    every jump. Every other Job is fixed (see fire_times.py). `rules`: the days are chosen among
    those that these rules allow.
    """

    minutes: int
    hours: int
    days: Days
    months: int
    wildcard: bool
    rules: DayRules | None = field(default=None, kw_only=True)

    def next_wall(self, minute: int, before: int) -> int | None:
        """The first matching wall minute in [minute, before); None if there is none."""
        day, rest = divmod(minute, MINUTES_A_DAY)
        last = min((before - 1) // MINUTES_A_DAY, _LAST_ORDINAL - _EPOCH_ORDINAL)
        if day > last:
            return None
        today = self._next_day(day, last)
        if today == day:
            time = self._next_time(rest)
            if time is None:
                today = self._next_day(day + 1, last)
                time = self._next_time(0)
        else:
            time = self._next_time(0)
        if today is None or time is None:
            return None
        found = today * MINUTES_A_DAY + time
        return found if found < before else None

    def _next_time(self, rest: int) -> int | None:
        """The first matching minute of the day, from minute `rest` of it."""
        hour, minute = divmod(rest, 60)
        if self.hours >> hour & 1:
            minutes = self.minutes >> minute
            if minutes:
                return rest + _lowest_bit(minutes)
        hours = self.hours >> hour + 1
        if not hours:
            return None
        return (hour + 1 + _lowest_bit(hours)) * 60 + _lowest_bit(self.minutes)

    def _days_in_month(self, year: int, month: int) -> int:
        days = self.days.in_month(year, month)
        return days & self.rules.in_month(year, month) if self.rules and days else days

    def _next_day(self, day: int, last: int) -> int | None:
        """The first matching day (days since 1970-01-01) in [day, last]."""
        if day > last:
            return None
        date = datetime.date.fromordinal(day + _EPOCH_ORDINAL)
        year, month, first = date.year, date.month, date.day
        start_of_month = day - first
        while start_of_month < last:
            if self.months >> month & 1:
                days = self._days_in_month(year, month) >> first
                if days:
                    found = start_of_month + first + _lowest_bit(days)
                    return found if found <= last else None
            start_of_month += month_shape(year, month)[1]
            first = 1
            month += 1
            if month == 13:
                year, month = year + 1, 1
        return None


@dataclass(frozen=True, slots=True)
class CronSchedule(WallTimes):
    """Five fields, or a nickname for five fields.

    `text`: as in the table. `fields`: the five fields without `~`, `H` and nicknames.
    """

    text: str
    fields: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Interval:
    """`@every DURATION`: due when the seconds since 1970-01-01T00:00Z are a multiple of it.

    So the fire times are the same after a restart, and on every host.
    """

    text: str
    seconds: int
    rules: DayRules | None = None


@dataclass(frozen=True, slots=True)
class Reboot:
    """`@reboot`: due once, when the daemon first starts after a boot of the machine."""

    text: str = "@reboot"
    rules: DayRules | None = None


@dataclass(frozen=True, slots=True)
class NoSchedule:
    """Never due: only another event starts such a Job, such as the failure of another Job.

    No entry has it. Its text is empty.
    """

    text: str = ""


@dataclass(frozen=True, slots=True)
class After:
    """`@after JOB[,JOB…]`: due at each fire time at which all the named Jobs have succeeded.

    `jobs`: their names. `job_ids`: their ids, in the same order. `when`: their schedule; NoSchedule
    while nobody has looked for the Jobs.
    """

    text: str
    jobs: tuple[str, ...]
    job_ids: tuple[str, ...] = ()
    when: "CronSchedule | Interval | Reboot | NoSchedule" = NoSchedule()


OwnSchedule = CronSchedule | Interval | Reboot | NoSchedule
Schedule = OwnSchedule | After
"""When a Job is due. The clock alone makes a CronSchedule or an Interval due."""

Limited = TypeVar("Limited", bound=WallTimes | Interval | Reboot | NoSchedule | After)


def limited(schedule: Limited, rules: DayRules | None) -> Limited:
    """The schedule on the days that rules allow; `rules` None allows all days."""
    if rules is None or isinstance(schedule, NoSchedule | After):
        return schedule
    return replace(schedule, rules=rules)


def own_schedule(schedule: Schedule) -> OwnSchedule:
    """The schedule itself; for `@after`, that of the named Jobs: their fire times are its own."""
    return schedule.when if isinstance(schedule, After) else schedule


def rules_of(schedule: WallTimes | Interval | Reboot | NoSchedule) -> DayRules | None:
    """The day rules of a schedule."""
    return None if isinstance(schedule, NoSchedule) else schedule.rules


NICKNAMES = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}


def parse_nickname(text: str, argument: str = "") -> Schedule:
    """The schedule of a nickname such as `@daily`. Raises ScheduleError.

    `argument`: the duration behind `@every`, or the names behind `@after`.
    """
    if text == "@every":
        return _interval(argument)
    if text == "@after":
        return _after(argument)
    if text == "@reboot":
        return Reboot()
    if text in NICKNAMES:
        return parse_cron(tuple(NICKNAMES[text].split()), text=text)
    known = ", ".join([*NICKNAMES, "@reboot", "@every DURATION", "@after JOB"])
    hint = "; nicknames are lower-case" if text.lower() in NICKNAMES else ""
    raise ScheduleError(f'bad time specifier: "{text}" ({known}{hint})')


def resolved_text(schedule: Schedule) -> str:
    """The schedule as a text that means the same on every host, without `~`, `H` and `@after`."""
    own = own_schedule(schedule)
    return " ".join(own.fields) if isinstance(own, CronSchedule) else own.text


def parse_resolved(text: str) -> Schedule:
    """The schedule that `resolved_text` wrote."""
    words = tuple(text.split())
    if not words:
        return NoSchedule()
    return parse_nickname(*words) if text.startswith("@") else parse_cron(words)


def _interval(argument: str) -> Interval:
    try:
        seconds = parse_duration(argument)
    except ValueError:
        seconds = 0
    if not seconds:
        reason = "a duration such as 90s, 15m or 1h30m"
        raise ScheduleError(f'bad time specifier: "@every {argument}" ({reason})')
    return Interval(f"@every {argument}", seconds)


def _after(argument: str) -> After:
    names = tuple(argument.split(","))
    reason = None
    if not all(re.fullmatch(JOB_NAME, name, re.ASCII) for name in names):
        reason = "names of CRON_NAME with commas, without blanks"
    elif len(names) > MOST_AWAITED:
        reason = f"more than {MOST_AWAITED} names"
    elif len(set(names)) < len(names):
        reason = "a name comes twice"
    if reason:
        raise ScheduleError(f'bad time specifier: "@after {argument}" ({reason})')
    return After(f"@after {argument}", names)


def parse_cron(
    fields: tuple[str, ...], pick: Pick | None = None, text: str | None = None
) -> CronSchedule:
    """The schedule of five field texts. Raises FieldError or ScheduleError.

    `pick`: decides `~` and `H` (see fields.py), which are errors without it. `text`: the text of
    the table, if it is not these five fields.
    """
    text = text or " ".join(fields)
    if pick is not None and is_random(text):
        days = _days_of_chosen_months(fields[3])
        fields = tuple(
            resolve(part, field, pick, days) for part, field in zip(fields, FIELDS, strict=True)
        )
    return _parse_cron(fields, text)


def _days_of_chosen_months(text: str) -> int:
    """How many days each of the chosen months has; 28 if the months are picked, too, or bad."""
    try:
        months = parse_field(text, MONTH)
    except FieldError:
        return shortest(2)
    return min(shortest(month) for month in range(1, 13) if months >> month & 1)


def is_random(text: str) -> bool:
    """Whether the text of fields may contain `~` or `H` elements. `THU` contains an H, too."""
    return "~" in text or "H" in text


@lru_cache(maxsize=1024)
def _parse_cron(fields: tuple[str, ...], text: str) -> CronSchedule:
    minute, hour, day_of_month, month, day_of_week = fields
    minutes = parse_field(minute, MINUTE)
    hours = parse_field(hour, HOUR)
    days, months = parse_days(day_of_month, month, day_of_week)
    wildcard = is_star(minute) or is_star(hour)
    return CronSchedule(minutes, hours, days, months, wildcard, text, fields)


def parse_days(day_of_month: str, month: str, day_of_week: str) -> tuple[Days, int]:
    """The days and the mask of the months."""
    of_month, extended_of_month = parse_day_field(day_of_month, DAY_OF_MONTH)
    months = parse_field(month, MONTH)
    of_week, extended_of_week = parse_day_field(day_of_week, DAY_OF_WEEK)
    both = is_star(day_of_month) or is_star(day_of_week)
    days = Days(of_month, of_week, both, extended_of_month, extended_of_week)
    _refuse_impossible(days, months, (day_of_month, month, day_of_week))
    return days, months


def _refuse_impossible(days: Days, chosen_months: int, texts: tuple[str, str, str]) -> None:
    """Raise ScheduleError if no chosen month ever has a chosen day.

    With OR, every month has the weekday. With AND, every date falls on every weekday within 400
    years, so only a month that is too short can be the reason. The days of extended elements depend
    on the shape of the month alone.
    """
    day_of_month, month_text, day_of_week = texts
    months = [month for month in range(1, 13) if chosen_months >> month & 1]
    most = max(map(longest, months))
    first = _first_day(days)
    reason = None
    if days.both and first > most:
        reason = f"there is no day {first} in month {month_text}"
    elif (days.extended_of_month or days.extended_of_week) and not any(
        map(days.in_shape, shapes(months))
    ):
        reason = f"no such day is ever one of {day_of_week}"
    if reason:
        message = f'bad day-of-month: "{day_of_month}" (it would never run: {reason})'
        raise ScheduleError(message, "never-fires")


def _first_day(days: Days) -> int:
    """The lowest chosen day of the month; 1 for `L`, because every month has a last day."""
    if any(element.startswith("L") for element in days.extended_of_month):
        return 1
    chosen = [int(element.rstrip("W")) for element in days.extended_of_month]
    if days.of_month:
        chosen.append(_lowest_bit(days.of_month))
    return min(chosen)


def _lowest_bit(mask: int) -> int:
    return (mask & -mask).bit_length() - 1


def same_times(one: Schedule | None, other: Schedule | None) -> bool:
    """Whether two schedules that are not packed (None: packed ones) have the same fire times."""
    if isinstance(one, CronSchedule) and isinstance(other, CronSchedule):
        return one.fields == other.fields
    if isinstance(one, Interval) and isinstance(other, Interval):
        return one.seconds == other.seconds
    return one == other
