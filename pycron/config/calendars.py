"""The section [calendars] of pycron.toml: dates, an .ics file, or the holidays of a country.

A file and holidays need the packages of the extra `calendars`. They are imported only if the
section names such a calendar: holidays alone takes 20 MB and a quarter of a second.
"""

import datetime
import re
from collections.abc import Callable, Iterable, Iterator
from types import ModuleType
from typing import TYPE_CHECKING, Any

from pycron.model.job import digest
from pycron.schedule.day_rules import Calendar
from pycron.system.files import FileRules, Unreadable, read_checked

if TYPE_CHECKING:
    import icalendar

DaysOf = Callable[[int], Iterable[datetime.date]]

_FORM = "a list of dates and ranges, the path of an .ics file, or holidays:COUNTRY"
_MOST_BYTES = 2**20  # of an .ics file
_HOLIDAYS = re.compile(r"holidays:([A-Z]{2})(?:-([A-Z0-9]{1,10}))?", re.ASCII)
_FREQUENCIES = ("DAILY", "WEEKLY", "MONTHLY", "YEARLY")
_DAY = datetime.timedelta(days=1)


class CalendarError(Exception):
    """A calendar that cannot be used. `unreadable`: perhaps only this user cannot read it."""

    def __init__(self, reason: str, *, unreadable: bool = False) -> None:
        super().__init__(reason)
        self.unreadable = unreadable


def calendar(name: str, value: Any, rules: FileRules, this_year: int) -> Calendar:
    """The calendar that a value of the section describes. Raises CalendarError.

    `rules`: whose an .ics file must be. `this_year`: the days of this year are found at once, to
    see whether they can be found.
    """
    if isinstance(value, list):
        return _of_dates(name, value)
    if not isinstance(value, str):
        raise CalendarError(_bad(value))
    if value.startswith("holidays:"):
        return _of_holidays(name, value, this_year)
    if value.startswith("/") and value.endswith(".ics"):
        return _of_file(name, value, rules, this_year)
    raise CalendarError(_bad(value))


def _bad(value: object) -> str:
    return f"{value!r} ({_FORM})"


# ---- a list of dates and ranges


def _of_dates(name: str, values: list[Any]) -> Calendar:
    ranges = [_range(value) for value in values]

    def days_of(year: int) -> Iterator[datetime.date]:
        for first, last in ranges:
            day = max(first, datetime.date(year, 1, 1))
            end = min(last, datetime.date(year, 12, 31))
            while day <= end:
                yield day
                if day == datetime.date.max:
                    break
                day += _DAY

    says = ",".join(f"{first}..{last}" for first, last in ranges)
    return Calendar(name, says, days_of)


def _range(value: Any) -> tuple[datetime.date, datetime.date]:
    """The first and the last day of `2026-12-24` (also as a date of TOML) or of `FIRST..LAST`."""
    first, dots, last = str(value).partition("..")
    try:
        days = _date(first), _date(last if dots else first)
    except ValueError:
        days = None
    if days is None or days[0] > days[1]:
        example = '"2026-12-24" or "2026-12-24..2027-01-01"'
        raise CalendarError(f"{str(value)!r} ({example})")
    return days


def _date(text: str) -> datetime.date:
    if not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text, re.ASCII):
        raise ValueError
    return datetime.date.fromisoformat(text)


# ---- the holidays of a country


def _of_holidays(name: str, value: str, this_year: int) -> Calendar:
    match = _HOLIDAYS.fullmatch(value)
    if not match:
        raise CalendarError(f"{value!r} (a country and perhaps a part of it: holidays:DE-BY)")
    country, part = match.groups()
    holidays = _package("holidays", value)

    def days_of(year: int) -> list[datetime.date]:
        return list(holidays.country_holidays(country, subdiv=part, years=year))

    try:
        days_of(this_year)
    except NotImplementedError as error:
        raise CalendarError(f"{value!r} ({error})") from None
    return Calendar(name, value, days_of)


# ---- an .ics file


def _of_file(name: str, path: str, rules: FileRules, this_year: int) -> Calendar:
    """The days of the all-day events of a file (RFC 5545), with their recurrences."""
    try:
        data = read_checked(path, rules, _MOST_BYTES).data
    except FileNotFoundError:
        raise CalendarError(f"{path!r}: no such file") from None
    except Unreadable as error:
        unreadable = error.code == "unreadable"
        raise CalendarError(f"{path!r}: {error}", unreadable=unreadable) from None
    try:
        days_of = _days_of_events(data, path)
        list(days_of(this_year))
    except (ValueError, KeyError, TypeError, AttributeError) as error:  # of these two packages
        raise CalendarError(f"{path!r}: no calendar (RFC 5545): {error}") from None
    return Calendar(name, f"{path} {digest(data.decode('utf-8', 'surrogateescape'))}", days_of)


def _days_of_events(data: bytes, path: str) -> DaysOf:
    reader = _package("icalendar", path)
    recurring = _package("recurring_ical_events", path)
    found: icalendar.Calendar = reader.Calendar.from_ical(data)
    found.subcomponents = [each for each in found.subcomponents if _is_all_day(each)]
    query = recurring.of(found)

    def days_of(year: int) -> Iterator[datetime.date]:
        for event in query.between(datetime.date(year, 1, 1), datetime.date(year + 1, 1, 1)):
            day: datetime.date = event.start
            while day < event.end:
                yield day
                day += _DAY

    return days_of


def _is_all_day(component: "icalendar.Component") -> bool:
    """Whether this is an event of whole days that was not cancelled."""
    if component.name != "VEVENT" or component.get("STATUS") == "CANCELLED":
        return False
    start = component.decoded("DTSTART", None)
    if not isinstance(start, datetime.date) or isinstance(start, datetime.datetime):
        return False
    _check_rules(component)
    return True


def _check_rules(component: "icalendar.Component") -> None:
    """Raise ValueError for a recurrence in which the packages would look for days for ever."""
    found = component.get("RRULE", [])
    for rule in found if isinstance(found, list) else [found]:
        if rule.get("FREQ", [""])[0] not in _FREQUENCIES:
            raise ValueError("a recurrence of whole days is daily, weekly, monthly or yearly")
        if any(interval < 1 for interval in rule.get("INTERVAL", ())):
            raise ValueError("the INTERVAL of a recurrence is at least 1")


def _package(module: str, value: str) -> ModuleType:
    import importlib

    try:
        return importlib.import_module(module)
    except ImportError:
        hint = "it needs the extra calendars: pip install 'pycrond[calendars]'"
        raise CalendarError(f"{value!r} ({hint})") from None
