"""Checks of the five fields: what they choose beside what was meant."""

import re
from collections.abc import Iterator

from pycron.lint.code import note, warning
from pycron.lint.found import Entry, Found
from pycron.schedule.expressions import ScheduleError, WallTimes, parse_cron
from pycron.schedule.fields import DAY_OF_MONTH, FIELDS, HOUR, MINUTE, Field, FieldError, is_star

DAY_OR = warning(
    "day-or",
    "Day-of-month and day-of-week are both given, so the entry is due on each day that one of them"
    " chooses: cron combines the two with OR unless one of them begins with a star. `1-7` and"
    " `sun` is not the first Sunday, but seven days and every Sunday.",
    "0 4 1-7 * sun /usr/local/bin/report",
    "0 4 * * sun#1 /usr/local/bin/report",
)
MINUTE_STAR = warning(
    "minute-star",
    "The minute is `*`, so the command runs sixty times in each chosen hour.",
    "* 4 * * 5 /usr/local/bin/backup",
    "0 4 * * 5 /usr/local/bin/backup",
)
UNEVEN_STEP = note(
    "uneven-step",
    "A step counts anew in each hour, day or month. If the field is no multiple of it, one distance"
    " is shorter: `*/7` in minutes is due at 56 and again at 0. `@every 7m` has even distances.",
    "*/7 * * * * /usr/local/bin/poll",
    "@every 7m /usr/local/bin/poll",
)
LARGE_STEP = warning(
    "large-step",
    "A step that is larger than its range chooses the first value only: `*/90` in minutes is minute"
    " 0 of each hour, not each 90 minutes.",
    "*/90 * * * * /usr/local/bin/poll",
    "@every 90m /usr/local/bin/poll",
)
SECONDS_FIELD = warning(
    "seconds-field",
    "Six fields, as in Quartz, Spring and some libraries. cron has no field for seconds: its fields"
    " begin with the minute, and the sixth word belongs to the command (in a system table, it is"
    " the user).",
    "0 0 2 * * MON-FRI /usr/local/bin/sync",
    "0 2 * * MON-FRI /usr/local/bin/sync",
)
RARELY = note(
    "rarely",
    "There can be more than a year between two fire times.",
    "0 0 29 2 * /usr/local/bin/leap-day",
    "0 0 28 2 * /usr/local/bin/end-of-february",
)

_WEEKS = {f"{first}-{first + 6}": number
          for number, first in enumerate((1, 8, 15, 22), 1)}  # fmt: skip
_ONE_WEEKDAY = re.compile("[0-7]|[A-Za-z]{3}", re.ASCII)
_STEP = re.compile(r"(?:(\*)|([0-9]{1,4})-([0-9]{1,4}))/([0-9]{1,9})", re.ASCII)
_VALUES = re.compile(r"[0-9]{1,2}(?:,[0-9]{1,2})*", re.ASCII)
_WEEKDAY_WORD = re.compile(r"\?|\*(?:/[0-9]+)?|[1-7]-[1-7]|(?:mon|tue|wed|thu|fri|sat|sun)"
                           r"(?:[-,](?:mon|tue|wed|thu|fri|sat|sun))*", re.IGNORECASE)  # fmt: skip
_YEAR = 366 * 1440  # minutes
_ALL_MONTHS = 0x1FFE


def checks(entry: Entry, now: int) -> Iterator[Found]:
    """What is wrong with the schedule of an entry. `now`: a UTC second."""
    words = entry.read.words
    if len(words) != len(FIELDS):
        return
    if not (is_star(words[2]) or is_star(words[4]) or "?" in (words[2], words[4])):
        yield from _day_or(entry)
    if words[0] in ("*", "*/1"):
        yield from _minute_star(entry)
    if "/" in "".join(words):
        for index, text in enumerate(words):
            if "/" in text:
                yield from _steps(entry, index, text)
    yield from _seconds_field(entry)
    yield from _rarely(entry, now)


def _at(entry: Entry, index: int, length: int | None = None) -> tuple[int, int]:
    """The columns of so many characters of the field of this index."""
    words = list(re.finditer(r"[^ \t]+", entry.text[entry.start + entry.read.column :]))
    first = entry.start + entry.read.column
    start, end = words[index].span()
    return first + start, first + (end if length is None else start + length)


def _with_words(entry: Entry, changed: dict[int, str]) -> str:
    """The whole line with other fields."""
    text = entry.text
    for index in sorted(changed, reverse=True):
        start, end = _at(entry, index)
        text = text[:start] + changed[index] + text[end:]
    return text


def _day_or(entry: Entry) -> Iterator[Found]:
    days, weekday = entry.read.words[2], entry.read.words[4]
    if not isinstance(entry.times, WallTimes) or not days or not weekday:
        return
    start, end = _at(entry, 2)[0], _at(entry, 4)[1]
    chosen = entry.times.days
    if chosen.of_month == 0xFFFFFFFE or chosen.of_week == 0x7F:
        message = f'"{days}" and "{weekday}" are combined with OR, so it is due every day'
        yield Found(DAY_OR, start, end, message, "write * in the field that chooses every day")
        return
    message = f'due on each of the days "{days}", and also on every "{weekday}" (OR, not AND)'
    number = _WEEKS.get(days) if _ONE_WEEKDAY.fullmatch(weekday) else None
    if number is None:
        remedy = "write two entries, or a test in front of the command"
        yield Found(DAY_OR, start, end, message, remedy)
        return
    fix = _with_words(entry, {2: "*", 4: f"{weekday}#{number}"})
    yield Found(DAY_OR, start, end, message, f"write * and {weekday}#{number}", fix)


def _minute_star(entry: Entry) -> Iterator[Found]:
    _, hour, day, _, _ = entry.read.words
    start, end = _at(entry, 0)
    if _VALUES.fullmatch(hour) or (hour.startswith("*/") and hour != "*/1"):
        message = f'runs every minute, sixty times in each hour of "{hour}"'
        yield Found(MINUTE_STAR, start, end, message, "write 0 for the full hour")
    elif hour == "*" and day.isdecimal():
        message = f"runs every minute of day {day}, 1440 times"
        yield Found(MINUTE_STAR, start, end, message, f"write 0 0 {day} for once")


def _steps(entry: Entry, index: int, text: str) -> Iterator[Found]:
    field = FIELDS[index]
    for match in _STEP.finditer(text):
        low = field.low if match[1] else int(match[2])
        high = field.high if match[1] else int(match[3])
        step = int(match[4])
        place = _at(entry, index)[0]
        start, end = place + match.start(), place + match.end()
        if step > high - low and high > low:
            message = f'"{match[0]}" chooses {field} {low} only: the step is larger than the range'
            yield Found(LARGE_STEP, start, end, message, _instead(step, low, field))
        elif match[1] and field in (MINUTE, HOUR) and (high + 1) % step:
            unit = "hour" if field is MINUTE else "day"
            last = (high + 1) - high // step * step
            message = f'"{match[0]}" begins anew each {unit}: the last distance is {last}'
            yield Found(UNEVEN_STEP, start, end, message, _every(step, field))
        elif match[1] and field is DAY_OF_MONTH and step > 1:
            message = f'"{match[0]}" begins anew on the first of each month'
            yield Found(UNEVEN_STEP, start, end, message, _every(step, field))


def _every(step: int, field: Field) -> str:
    if field is DAY_OF_MONTH:
        return f"* with CRON_EVERY={step}d@DATE has even distances"
    unit = "m" if field is MINUTE else "h"
    return f"@every {step}{unit} has even distances"


def _instead(step: int, low: int, field: Field) -> str:
    if field in (MINUTE, HOUR, DAY_OF_MONTH) and step > field.high + 1 - field.low:
        return f"write {low}; {_every(step, field)}"
    return f"write {low}"


def _seconds_field(entry: Entry) -> Iterator[Found]:
    first, _, rest = entry.command.partition(" ")
    if not rest or not _WEEKDAY_WORD.fullmatch(first):
        return
    words = entry.read.words
    five = [re.sub("^0/", "*/", word.replace("?", "*")) for word in (*words[1:], first)]
    try:
        parse_cron(tuple(five))
    except (FieldError, ScheduleError):
        return
    start, end = _at(entry, 0)[0], entry.command_start + len(first)
    line = entry.text
    fix = line[:start] + " ".join(five) + line[end:] if words[0] == "0" else None
    message = f'the command begins with "{first}", which looks like a sixth field'
    remedy = f"cron has no field for seconds: write {' '.join(five)}"
    yield Found(SECONDS_FIELD, start, end, message, remedy, fix)


def _rarely(entry: Entry, now: int) -> Iterator[Found]:
    times = entry.times
    if not isinstance(times, WallTimes) or times.months == _ALL_MONTHS:
        return
    first = times.next_wall(now // 60, now // 60 + 50 * _YEAR)
    second = None if first is None else times.next_wall(first + 1, first + 50 * _YEAR)
    if first is None or second is None or second - first <= _YEAR:
        return
    years = round((second - first) / 1440 / 365.25)
    start, end = _at(entry, 2)[0], _at(entry, 4)[1]
    yield Found(RARELY, start, end, f"there can be {years} years between two fire times")
