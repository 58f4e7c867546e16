"""Day rules: on which days an entry may be due, in addition to its fields.

CRON_EVERY chooses every n-th day, week, month or year; CRON_ONLY and CRON_EXCEPT name calendars. A
day is a day on the clock of the entry's zone. A *mask* has the days of a month: bit 1 is its first.
"""

import datetime
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import StrEnum

EVERY_DAY = (1 << 32) - 2
_DAYS_OF_WEEK = 0x7F
_MOST_YEARS = 200  # whose days a calendar keeps


class Unit(StrEnum):
    """The periods that CRON_EVERY counts. A week begins on Monday."""

    DAY = "d"
    WEEK = "w"
    MONTH = "mo"
    YEAR = "y"


_NAMES = {Unit.DAY: "day", Unit.WEEK: "week", Unit.MONTH: "month", Unit.YEAR: "year"}
_EVERY = re.compile(r"([1-9][0-9]{0,3})(d|w|mo|y)@([0-9]{4}-[0-9]{2}-[0-9]{2})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Every:
    """CRON_EVERY: every `count`-th period, counted in both directions from that of a date."""

    count: int
    unit: Unit
    date: datetime.date

    def __str__(self) -> str:
        return f"{self.count}{self.unit}@{self.date}"

    def in_month(self, year: int, month: int) -> int:
        """The mask of the days that belong to a chosen period."""
        first = datetime.date(year, month, 1)
        match self.unit:
            case Unit.DAY:
                offset = (self.date.toordinal() - first.toordinal()) % self.count
                return sum(1 << day for day in range(1 + offset, 32, self.count))
            case Unit.WEEK:
                return self._weeks(first)
            case _:
                return EVERY_DAY if self._chooses(first) else 0

    def _weeks(self, first: datetime.date) -> int:
        week, mask = _week(first), 0
        for number in range(6):
            if (week + number - _week(self.date)) % self.count == 0:
                mask |= _DAYS_OF_WEEK << 7 * number
        return (mask << 1 >> first.weekday()) & EVERY_DAY

    def _chooses(self, day: datetime.date) -> bool:
        return (_period(self.unit, day) - _period(self.unit, self.date)) % self.count == 0

    def refusal(self, day: datetime.date) -> str | None:
        """Why a day is not chosen: the period that it is in, and the next chosen one."""
        if self._chooses(day):
            return None
        left = (_period(self.unit, self.date) - _period(self.unit, day)) % self.count
        comes = _start(self.unit, _period(self.unit, day) + left)
        comes_text = f"; the next one is {_named(self.unit, comes)}" if comes else ""
        ours = _named(self.unit, day)
        return f"CRON_EVERY is {self}, and {ours} is not among these{comes_text}"

    def in_words(self) -> str:
        name = _NAMES[self.unit]
        often = f"every {name}" if self.count == 1 else f"only every {self.count} {name}s"
        return f"{often}, counted from {_named(self.unit, self.date)}"


def parse_every(text: str) -> Every:
    """`2w@2026-01-05`: every second week. Raises ValueError."""
    match = _EVERY.fullmatch(text)
    if not match:
        raise ValueError
    return Every(int(match[1]), Unit(match[2]), datetime.date.fromisoformat(match[3]))


def _week(day: datetime.date) -> int:
    return (day.toordinal() - 1) // 7  # 0001-01-01 was a Monday


def _period(unit: Unit, day: datetime.date) -> int:
    """The number of the period that a day belongs to."""
    match unit:
        case Unit.DAY:
            return day.toordinal()
        case Unit.WEEK:
            return _week(day)
        case Unit.MONTH:
            return day.year * 12 + day.month - 1
        case Unit.YEAR:
            return day.year


def _start(unit: Unit, number: int) -> datetime.date | None:
    """The first day of a period; None after the year 9999."""
    try:
        match unit:
            case Unit.DAY:
                return datetime.date.fromordinal(number)
            case Unit.WEEK:
                return datetime.date.fromordinal(number * 7 + 1)
            case Unit.MONTH:
                return datetime.date(number // 12, number % 12 + 1, 1)
            case Unit.YEAR:
                return datetime.date(number, 1, 1)
    except ValueError:
        return None


def _named(unit: Unit, day: datetime.date) -> str:
    """The period of a day in words: `the week of 2026-01-05`, which is its Monday."""
    match unit:
        case Unit.DAY:
            return str(day)
        case Unit.WEEK:
            return f"the week of {day - datetime.timedelta(day.weekday())}"
        case Unit.MONTH:
            return f"{day:%Y-%m}"
        case Unit.YEAR:
            return str(day.year)


@dataclass(frozen=True, slots=True)
class Calendar:
    """Days with a name, from the configuration.

    `says`: where the days come from; calendars are equal if their names and this are. `days_of`:
    the days of a year, in any order; it always gives the same ones.
    """

    name: str
    says: str
    days_of: Callable[[int], Iterable[datetime.date]] = field(compare=False, repr=False)
    _years: dict[int, list[int]] = field(default_factory=dict, compare=False, repr=False)

    def days_in(self, year: int) -> list[datetime.date]:
        """Its days in a year, in order."""
        return [
            datetime.date(year, month, day)
            for month in range(1, 13)
            for day in range(1, 32)
            if self.in_month(year, month) >> day & 1
        ]

    def in_month(self, year: int, month: int) -> int:
        """The mask of its days in a month."""
        masks = self._years.get(year)
        if masks is None:
            if len(self._years) >= _MOST_YEARS:
                self._years.clear()
            masks = self._years[year] = self._masks(year)
        return masks[month]

    def _masks(self, year: int) -> list[int]:
        masks = [0] * 13
        for day in self.days_of(year):
            if day.year == year:
                masks[day.month] |= 1 << day.day
        return masks

    def __contains__(self, day: datetime.date) -> bool:
        return bool(self.in_month(day.year, day.month) >> day.day & 1)


@dataclass(frozen=True, slots=True)
class DayRules:
    """The day rules of an entry. Without `only`, it may be due on days of any calendar."""

    every: Every | None = None
    only: tuple[Calendar, ...] = ()
    excepted: tuple[Calendar, ...] = ()

    @property
    def has_calendars(self) -> bool:
        return bool(self.only or self.excepted)

    def in_month(self, year: int, month: int) -> int:
        """The mask of the days on which the entry may be due."""
        mask = self.every.in_month(year, month) if self.every else EVERY_DAY
        if self.only and mask:
            chosen = 0
            for calendar in self.only:
                chosen |= calendar.in_month(year, month)
            mask &= chosen
        for calendar in self.excepted if mask else ():
            mask &= ~calendar.in_month(year, month)
        return mask

    def allow(self, day: datetime.date) -> bool:
        return bool(self.in_month(day.year, day.month) >> day.day & 1)

    def refusal(self, day: datetime.date) -> str | None:
        """Why the entry is not due on a day: its calendar, or its week; None if it may be due."""
        for calendar in self.excepted:
            if day in calendar:
                return f"{day} is in the calendar {calendar.name} (CRON_EXCEPT)"
        if self.only and not any(day in calendar for calendar in self.only):
            return f"{day} is in no calendar of CRON_ONLY: {_names_of(self.only)}"
        return self.every.refusal(day) if self.every else None

    def in_words(self) -> str:
        parts = [self.every.in_words()] if self.every else []
        if self.only:
            parts.append(f"only on the days of {_names_of(self.only)}")
        if self.excepted:
            parts.append(f"not on the days of {_names_of(self.excepted)}")
        return ", ".join(parts)


def _names_of(calendars: tuple[Calendar, ...]) -> str:
    return ", ".join(calendar.name for calendar in calendars)
