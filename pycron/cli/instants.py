"""Times on the command line: one text means one thing in every option of every verb.

A time is an instant (`2026-03-08T02:30:00Z`, `8 March 2026 2:30 pm`, `now`), a clock time of a day
(`02:30`, `yesterday 02:30`, `tomorrow`), or relative (`10m`, `2 hours ago`, `in 2 hours`). A number
without a unit, a day of the week and a day without its month are refused: each could mean several
things.
"""

import argparse
import datetime
import re
import time
import warnings
from contextlib import suppress
from enum import Enum

from pycron.schedule.durations import spoken_duration
from pycron.schedule.zone import Zone


class Looks(Enum):
    """Where a verb looks: this decides what a duration such as `10m` means.

    `BACK`: that long ago. `AHEAD`: from now. `AT`: the verb looks at one time, so a duration has to
    say `ago` or `in`.
    """

    BACK = "back"
    AT = "at"
    AHEAD = "ahead"


_HINT = "a time such as 2026-03-08T02:30:00Z, 2026-03-08, 02:30, yesterday 02:30, 10m or now"
_LONGEST = 60  # characters; no form is longer
_DAYS = {"yesterday": -1, "today": 0, "tomorrow": 1}
_LAST_NIGHT = datetime.timedelta(hours=-6)  # it began yesterday at 18:00
_RELATIVE = re.compile(r"(?:(?P<ahead>in|\+) ?)?(?P<length>[0-9][0-9a-z ]*?)(?P<ago> ago)?")
_CLOCK_TIME = re.compile(r"[0-9]{1,2}(?::[0-9]{2}){1,2}(?:\.[0-9]+)?(?: ?[ap]m)?|[0-9]{1,2} ?[ap]m")
# A text that dateutil completes differently from these two days does not say which day it means.
_ONE_DAY = datetime.datetime(2000, 1, 1)
_OTHER_DAY = datetime.datetime(2004, 2, 2)


def parse_instant(text: str, zone: Zone, looks: Looks = Looks.AT) -> int:
    """The UTC second that a text means; a time without an offset is in `zone`.

    Raises argparse.ArgumentTypeError.
    """
    moment = _moment(text, zone, looks)
    return _second(text, moment if moment.tzinfo else moment.replace(tzinfo=zone.tzinfo))


def parse_asked(text: str, zone: Zone) -> tuple[int, bool]:
    """The second that a text means, and whether it is a wall second: one without an offset.

    The caller applies the zone of the Job to a wall second. `zone` says which day is today. A
    duration is that long ago. Raises argparse.ArgumentTypeError.
    """
    moment = _moment(text, zone, Looks.BACK)
    wall = moment.tzinfo is None
    return _second(text, moment.replace(tzinfo=datetime.UTC) if wall else moment), wall


def _moment(text: str, zone: Zone, looks: Looks) -> datetime.datetime:
    """The datetime in a text; it is aware if the text has an offset or is relative."""
    if len(text) > _LONGEST or not text.strip():
        raise _bad(text)
    words = " ".join(text.lower().split())
    if words.isdecimal():
        raise _bad(text, _number_hint(words))
    if words == "now":
        return _from_now(0)
    return _relative(text, words, looks) or _of_day(words, zone) or _absolute(text, zone)


def _relative(text: str, words: str, looks: Looks) -> datetime.datetime | None:
    relative = _RELATIVE.fullmatch(words)
    if relative is None:
        return None
    try:
        seconds = spoken_duration(relative["length"])
    except ValueError:
        return None
    return _from_now(seconds * _direction(text, relative, looks))


def _direction(text: str, relative: re.Match[str], looks: Looks) -> int:
    """1 for a time ahead, -1 for one ago."""
    if relative["ahead"] and relative["ago"]:
        raise _bad(text)
    if relative["ahead"] or relative["ago"]:
        return 1 if relative["ahead"] else -1
    if looks is Looks.AT:
        length = relative["length"]
        raise _bad(text, f'"{length} ago" or "in {length}"')
    return 1 if looks is Looks.AHEAD else -1


def _from_now(seconds: int) -> datetime.datetime:
    return _now(datetime.UTC) + datetime.timedelta(seconds=seconds)


def _now(tzinfo: datetime.tzinfo) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(int(time.time()), tzinfo)


def _of_day(words: str, zone: Zone) -> datetime.datetime | None:
    """The time of a text that names its day by a word, or no day: then it is today."""
    today = _now(zone.tzinfo).replace(hour=0, minute=0, second=0, tzinfo=None)
    if words == "last night":
        return today + _LAST_NIGHT
    day, _, clock = words.partition(" ")
    if day not in _DAYS:
        day, clock = "today", words
    start = today + datetime.timedelta(days=_DAYS[day])
    clock = clock.removeprefix("at ")
    if not clock:
        return start
    if not _CLOCK_TIME.fullmatch(clock):
        return None
    return _freely(clock, clock, start)


def _absolute(text: str, zone: Zone) -> datetime.datetime:
    try:
        return datetime.datetime.fromisoformat(text)
    except ValueError:
        pass
    moment, other = _freely(text, text, _ONE_DAY), _freely(text, text, _OTHER_DAY)
    if (moment.month, moment.day) != (other.month, other.day):
        raise _bad(text, "say the whole date: 2026-03-08, 8 March")
    return moment if moment.year == other.year else _nearest_year(moment, zone)


def _nearest_year(moment: datetime.datetime, zone: Zone) -> datetime.datetime:
    """The moment in the year in which it is nearest to today, as dates are shown without a year."""
    today = _now(zone.tzinfo).date()
    found = []
    for year in (today.year - 1, today.year, today.year + 1):
        with suppress(ValueError):  # 29 February
            found.append(moment.replace(year=year))
    return min(found or [moment], key=lambda each: abs(each.date() - today))


def _freely(text: str, part: str, default: datetime.datetime) -> datetime.datetime:
    """What dateutil makes of a part of the text: `10:30`, `Mar 8 2026`, `8 March 2026 2:30 pm`."""
    from dateutil import parser  # 20 ms

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # dateutil only warns of a zone that it does not know
            return parser.parse(part, default=default)
    except (ValueError, OverflowError, Warning):
        raise _bad(text) from None


def _second(text: str, moment: datetime.datetime) -> int:
    """The first whole UTC second that is not before an aware moment."""
    try:
        return -int(-moment.timestamp() // 1)
    except (ValueError, OverflowError):
        raise _bad(text) from None


def _number_hint(number: str) -> str:
    """What a number without a unit may have meant."""
    if len(number) == 4 and number.startswith("20"):
        return f"a year alone is no time: {number}-01-01"
    if len(number) == 8:
        return f"write {number[:4]}-{number[4:6]}-{number[6:]}"
    clock = f", {int(number):02d}:00 for a clock time" if int(number[:9]) < 24 else ""
    return f"a number needs a unit: {number}m for minutes, {number}h for hours{clock}"


def _bad(text: str, hint: str = _HINT) -> argparse.ArgumentTypeError:
    shown = text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
    return argparse.ArgumentTypeError(f'bad time: "{shown}" ({hint})')


def local_text(instant: int, zone: Zone) -> str:
    """RFC 3339 in a zone, with its offset."""
    return zone.local(instant).isoformat()
