"""The five fields of Celery's crontab() as the five fields of an entry.

Celery's values are sets, and a day has to be in both sets of days. In an entry either day field is
enough, unless one of them begins with a star; so the days need a form of their own.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_PART = re.compile(r"(?:(\*)|(\w+)(?:-(\w+))?)(?:/([0-9]{1,4}))?", re.ASCII)
_LONGEST = 1000  # characters of a field
# The days of a month by weeks: {1..7} is the first. The fifth has what is left.
_WEEKS = [frozenset(range(first, min(first + 7, 32))) for first in range(1, 32, 7)]


class CannotConvert(Exception):
    """There is no such entry; the message says why, and what could be done."""


class CeleryFields(NamedTuple):
    """The arguments of crontab(), as texts."""

    minute: str = "*"
    hour: str = "*"
    day_of_month: str = "*"
    month_of_year: str = "*"
    day_of_week: str = "*"


class _Range(NamedTuple):
    """The values of a field, and the names that some of them have."""

    least: int
    most: int
    names: dict[str, int]


_FIELDS = (
    _Range(0, 59, {}),
    _Range(0, 23, {}),
    _Range(1, 31, {}),
    _Range(1, 12, {name: number for number, name in enumerate(_MONTHS, 1)}),
    _Range(0, 6, {name: number for number, name in enumerate(_DAYS)}),
)


def five_fields(fields: CeleryFields) -> str:
    """The five fields of an entry that is due at the same times. Raises CannotConvert."""
    read = [(text, _values(name, text, of), of) for name, text, of in _named(fields)]
    minute, hour, days, months, weekdays = (_written(*each) for each in read)
    if days[0] != "*" and weekdays[0] != "*":
        days, weekdays = "*", _both(read[2][1], read[4][1])
    return f"{minute} {hour} {days} {months} {weekdays}"


def _named(fields: CeleryFields) -> Iterator[tuple[str, str, _Range]]:
    return zip(CeleryFields._fields, (each.strip() for each in fields), _FIELDS, strict=True)


def _values(name: str, text: str, of: _Range) -> frozenset[int]:
    """The set of values that Celery makes of a text. Raises CannotConvert."""
    found: set[int] = set()
    if len(text) > _LONGEST:
        raise CannotConvert(f"{name} is longer than {_LONGEST} characters")
    for part in text.split(","):
        match = _PART.fullmatch(part)
        if match is None:
            raise CannotConvert(f'bad {name}: "{text[:80]}"')
        star, first, last, step = match.groups()
        if step is not None and int(step) == 0:
            raise CannotConvert(f'bad {name}: "{text[:80]}" (a step of 0)')
        if star:
            values = list(range(of.least, of.most + 1))
        else:
            values = _range(name, first, last or first, of)
        found.update(values[:: int(step or 1)])
    return frozenset(found)


def _range(name: str, first: str, last: str, of: _Range) -> list[int]:
    """A range, which in Celery may run over the end of the field: `fri-mon`, `22-2`."""
    low, high = _number(name, first, of), _number(name, last, of)
    if low <= high:
        return list(range(low, high + 1))
    return [*range(low, of.most + 1), *range(of.least, high + 1)]


def _number(name: str, text: str, of: _Range) -> int:
    number = int(text) if text.isdecimal() else of.names.get(text[:3].lower(), -1)
    if not of.least <= number <= of.most:
        raise CannotConvert(f'bad {name}: "{text[:80]}" ({of.least}-{of.most})')
    return number


def _written(text: str, values: frozenset[int], of: _Range) -> str:
    """A field with these values; one that begins with a star stays so, because it means more."""
    if re.fullmatch(r"\*(?:/[0-9]{1,4})?", text):
        return text
    if len(values) > of.most - of.least:
        return "*"
    return ",".join(_runs(sorted(values)))


def _runs(values: list[int]) -> Iterator[str]:
    """The values as numbers and ranges."""
    at = 0
    while at < len(values):
        end = at
        while end + 1 < len(values) and values[end + 1] == values[end] + 1:
            end += 1
        first, last = values[at], values[end]
        yield f"{first}-{last}" if last - first > 1 else ",".join(map(str, values[at : end + 1]))
        at = end + 1


def _both(days: frozenset[int], weekdays: frozenset[int]) -> str:
    """The weekdays in whole weeks of the month, as `mon#1,mon#3`. Raises CannotConvert."""
    weeks = [number for number, week in enumerate(_WEEKS, 1) if week <= days]
    if days != frozenset().union(*(_WEEKS[number - 1] for number in weeks)):
        raise CannotConvert(
            "Celery wants the day of the month and the day of the week, five fields take either: "
            "write an entry for each day, or leave the test to the task"
        )
    return ",".join(f"{_DAYS[day]}#{week}" for day in sorted(weekdays) for week in weeks)
