"""The days of a month: their weekdays, and those that `L`, `L-3`, `LW`, `15W`, `5L` and `5#2` mean.

A month is its shape: the weekday of its first day (Sunday is 0) and the number of its days. So
there are 28 different months.
"""

import datetime
from collections.abc import Iterable, Iterator
from functools import lru_cache

Shape = tuple[int, int]

_LENGTHS = {1: (31,), 2: (28, 29), 3: (31,), 4: (30,), 5: (31,), 6: (30,), 7: (31,), 8: (31,),
            9: (30,), 10: (31,), 11: (30,), 12: (31,)}  # fmt: skip
_SUNDAY, _SATURDAY = 0, 6
_WEEKS = 1 | 1 << 7 | 1 << 14 | 1 << 21 | 1 << 28 | 1 << 35


@lru_cache(maxsize=4096)
def month_shape(year: int, month: int) -> Shape:
    """The shape of a month."""
    first = datetime.date(year, month, 1)
    last = (year, month) == (9999, 12)
    following = None if last else datetime.date(year + month // 12, month % 12 + 1, 1)
    length = (following - first).days if following else 31
    return first.isoweekday() % 7, length


def shapes(months: Iterable[int]) -> Iterator[Shape]:
    """All shapes that these months ever have: within 28 years each of them has every shape."""
    lengths = {length for month in months for length in _LENGTHS[month]}
    return ((first, length) for length in sorted(lengths) for first in range(7))


def shortest(month: int) -> int:
    """The fewest days that a month has."""
    return _LENGTHS[month][0]


def longest(month: int) -> int:
    """The most days that a month has."""
    return _LENGTHS[month][-1]


def weekdays_mask(weekdays: int, shape: Shape) -> int:
    """The mask of the days (bit 1 is the first) that fall on the weekdays of a mask."""
    first, length = shape
    # Weekday d falls on the days n with (first + n - 1) % 7 == d.
    return ((weekdays * _WEEKS >> first) << 1) & (2 << length) - 2


def extended_mask(element: str, shape: Shape) -> int:
    """The mask of the days that an extended element means, as parse_day_field() spells it."""
    first, length = shape
    if element == "L":
        return 1 << length
    if element == "LW":
        return _nearest_weekday(length, shape)
    if element.endswith("W"):
        return _nearest_weekday(int(element[:-1]), shape)
    if element.startswith("L-"):
        day = length - int(element[2:])
        return 1 << day if day > 0 else 0
    if element.startswith("L"):
        last = (first + length - 1) % 7
        return 1 << length - (last - int(element[1:])) % 7
    weekday, _, number = element.partition("#")
    day = 1 + (int(weekday) - first) % 7 + 7 * (int(number) - 1)
    return 1 << day if day <= length else 0


def _nearest_weekday(day: int, shape: Shape) -> int:
    """The mask of the day from Monday to Friday that is nearest to a day, in the same month.

    It is empty if the month does not have that day, as in Quartz. croniter takes the last day then.
    """
    first, length = shape
    if day > length:
        return 0
    weekday = (first + day - 1) % 7
    if weekday == _SATURDAY:
        day += -1 if day > 1 else 2
    elif weekday == _SUNDAY:
        day += 1 if day < length else -2
    return 1 << day
