"""Schedules in English words."""

from itertools import pairwise

from pycron.schedule.expressions import (
    After,
    CronSchedule,
    Days,
    Interval,
    NoSchedule,
    OwnSchedule,
    Reboot,
    Schedule,
    own_schedule,
    rules_of,
)
from pycron.schedule.fields import DAY_OF_WEEK, HOUR, MINUTE, MONTH, Field
from pycron.schedule.fire_times import follows_the_wall

_MONTHS = ("January", "February", "March", "April", "May", "June", "July", "August", "September",
           "October", "November", "December")  # fmt: skip
_WEEKDAYS = ("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")
_ORDINALS = ("first", "second", "third", "fourth", "fifth")
_MOST_TIMES = 8

FIXED = (
    "Due in an hour that daylight saving skips, it runs as soon as the clock has jumped; "
    "due in one that comes twice, it runs the first time only."
)
WILDCARD = (
    "It follows the wall clock: not in an hour that is skipped, twice in one that comes twice."
)


def explain(schedule: Schedule) -> str:
    """When a Job with this schedule is due, as a person would say it."""
    if isinstance(schedule, After):
        each = f"after each success of {_list(list(schedule.jobs))}"
        when = explain(schedule.when)
        return each if isinstance(schedule.when, NoSchedule) else f"{each}, which is due {when}"
    rules = rules_of(schedule)
    return ", ".join(part for part in (_clock(schedule), rules and rules.in_words()) if part)


def _clock(schedule: OwnSchedule) -> str:
    if isinstance(schedule, Interval):
        often = "second" if schedule.seconds == 1 else f"{schedule.seconds} seconds"
        return f"every {often}, counted from 1970-01-01T00:00Z"
    if isinstance(schedule, Reboot):
        return "once, when the daemon first starts after the machine did"
    if isinstance(schedule, NoSchedule):
        return "at no time of its own: another event starts it"
    parts = [_times(schedule), _days(schedule.days), _months(schedule.months)]
    return ", ".join(part for part in parts if part)


def daylight_saving(schedule: Schedule) -> str | None:
    """The effect of a shifted clock on the Job; None for a schedule without wall times."""
    schedule = own_schedule(schedule)
    if not isinstance(schedule, CronSchedule):
        return None
    return WILDCARD if follows_the_wall(schedule) else FIXED


def _times(schedule: CronSchedule) -> str:
    minutes = _values(schedule.minutes, MINUTE)
    hours = _values(schedule.hours, HOUR)
    if len(minutes) * len(hours) <= _MOST_TIMES and len(hours) < 24:
        return "at " + _list([f"{hour:02}:{minute:02}" for hour in hours for minute in minutes])
    when = _pattern(minutes, MINUTE, "minute")
    if len(hours) == 24:
        return when if when.startswith("every") else f"{when} of every hour"
    return f"{when}, at {'hours' if len(hours) > 1 else 'hour'} {_ranges(_texts(hours), hours)}"


def _pattern(values: list[int], field: Field, name: str) -> str:
    """`every minute`, `every 5 minutes`, `at minutes 1, 3-5`."""
    steps = {later - earlier for earlier, later in pairwise(values)}
    if len(values) == field.high - field.low + 1:
        return f"every {name}"
    count = field.high - field.low + 1
    even = len(steps) == 1 and count % max(steps) == 0
    if even and values[0] == field.low and len(values) * max(steps) == count:
        return f"every {max(steps)} {name}s"
    return f"at {name}{'s' if len(values) > 1 else ''} {_ranges(_texts(values), values)}"


def _days(days: Days) -> str:
    of_month = _days_of_month(days)
    of_week = _days_of_week(days)
    if not days.both and not (of_month and of_week):
        return ""  # one of the two fields allows any day
    if of_month and of_week:
        either = f"{of_month}, and also on {of_week}"
        return f"{of_month} if it is {of_week}" if days.both else either
    if of_week:
        return f"on {of_week}"
    return of_month


def _days_of_month(days: Days) -> str:
    """Empty if every day is chosen."""
    values = [day for day in range(1, 32) if days.of_month >> day & 1]
    if len(values) == 31:
        return ""
    names = [_ranges([str(value) for value in values], values)] if values else []
    names += [_extended_day(element) for element in days.extended_of_month]
    day = "" if not values else "days " if len(values) > 1 else "day "
    return f"on {day}{_list(names)} of the month"


def _extended_day(element: str) -> str:
    if element == "L":
        return "the last day"
    if element == "LW":
        return "the last weekday"
    if element.startswith("L-"):
        before = int(element[2:])
        return (
            "the day before the last" if before == 1 else f"the day {before} days before the last"
        )
    return f"the weekday nearest to day {element.rstrip('W')}"


def _days_of_week(days: Days) -> str:
    """Empty if every day is chosen."""
    values = [day for day in range(7) if days.of_week >> day & 1]
    if len(values) == DAY_OF_WEEK.high:
        return ""
    names = [_ranges([_WEEKDAYS[value] for value in values], values)] if values else []
    for element in days.extended_of_week:
        weekday, _, number = element.lstrip("L").partition("#")
        which = _ORDINALS[int(number) - 1] if number else "last"
        names.append(f"the {which} {_WEEKDAYS[int(weekday)]} of the month")
    return _list(names)


def _months(mask: int) -> str:
    values = _values(mask, MONTH)
    if len(values) == len(_MONTHS):
        return ""
    return "in " + _ranges([_MONTHS[value - 1] for value in values], values)


def _texts(values: list[int]) -> list[str]:
    return [str(value) for value in values]


def _values(mask: int, field: Field) -> list[int]:
    return [value for value in range(field.low, field.high + 1) if mask >> value & 1]


def _ranges(names: list[str], values: list[int]) -> str:
    """`1, 3 to 5 and 9`: three or more consecutive values become a range."""
    parts: list[str] = []
    start = 0
    for i in range(len(values)):
        if i + 1 < len(values) and values[i + 1] == values[i] + 1:
            continue
        if i - start >= 2:
            parts.append(f"{names[start]} to {names[i]}")
        else:
            parts += names[start : i + 1]
        start = i + 1
    return _list(parts)


def _list(parts: list[str]) -> str:
    if len(parts) < 2:
        return "".join(parts)
    return ", ".join(parts[:-1]) + " and " + parts[-1]
