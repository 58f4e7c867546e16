"""The five fields of an entry: text to bit masks, strictly.

The grammar is crontab(5) of Vixie cron and cronie, with OpenBSD's `~`:

    field   = element *("," element)
    element = ("*" | value "-" value) ["/" step] | value | [value] "~" [value] ["/" step] | hashed
    hashed  = "H" ["(" value "-" value ")"] ["/" step]

Bit n of a mask stands for the value n. Some texts are errors here that the classic parsers cut off,
wrap around or never match: junk after a number, a reversed range. A step that is larger than its
field chooses the first value only, as in cron; the linter warns of it.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from typing import TypeVar

T = TypeVar("T")

ANY_DAY = "?"  # in the place of a day field

# Gives the number from which `~` or `H` in a field of one entry is derived: always the same one.
Pick = Callable[[str], int]


@dataclass(frozen=True, slots=True, eq=False)
class Field:
    """One of the five columns: its name in error messages, its bounds, the names of its values."""

    name: str
    low: int
    high: int
    names: tuple[str, ...] = ()

    def __str__(self) -> str:
        return self.name


MINUTE = Field("minute", 0, 59)
HOUR = Field("hour", 0, 23)
DAY_OF_MONTH = Field("day-of-month", 1, 31)
MONTH = Field(
    "month", 1, 12,
    ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"),
)  # fmt: skip
DAY_OF_WEEK = Field("day-of-week", 0, 7, ("sun", "mon", "tue", "wed", "thu", "fri", "sat"))
FIELDS = (MINUTE, HOUR, DAY_OF_MONTH, MONTH, DAY_OF_WEEK)


class FieldError(ValueError):
    """A field that cannot be read: the bad element `text` is at `offset` in the field."""

    def __init__(self, field: Field, text: str, reason: str, offset: int = 0) -> None:
        super().__init__(f'bad {field.name}: "{text}" ({reason})')
        self.field = field
        self.text = text
        self.offset = offset


_NUMBERS = tuple(map(str, range(60)))
_VALUE = r"[0-9]+|[A-Za-z]+"
_ELEMENT = re.compile(
    rf"""(?: (?P<star>\*)
        | (?P<hash>H) (?: \( (?P<hash_low>{_VALUE}) - (?P<hash_high>{_VALUE}) \) )?
        | (?P<low>{_VALUE})? (?P<random>~) (?P<high>{_VALUE})?
        | (?P<first>{_VALUE}) (?: - (?P<last>{_VALUE}) )?
    ) (?: / (?P<step>[0-9]+) )?""",
    re.VERBOSE | re.ASCII,
)


def is_star(text: str) -> bool:
    """Whether this is a star field: one whose first character is `*` (Vixie's entry.c), or `?`."""
    return text.startswith("*") or text == ANY_DAY


@lru_cache(maxsize=4096)  # a table of many schedules has few texts in its single fields
def parse_field(text: str, field: Field) -> int:
    """The mask of a field's values. Raises FieldError."""
    mask = 0
    for chosen in _each(text, lambda element: _element_mask(element, field)):
        mask |= chosen
    return _sunday_once(mask, field)


# A bare `~` or `H` in day-of-month: every month has these days, so no month is left out.
_DAYS_OF_EVERY_MONTH = 28


def resolve(text: str, field: Field, pick: Pick, days: int = 31) -> str:
    """The field with a list of values in place of each `~` and `H`. Raises FieldError.

    `pick` is called once for each of them. No value comes twice, so the result is not much longer
    than the text. `days`: how many days each of the chosen months has; a day of the month is picked
    among these.
    """
    values = _each(text, lambda element: _resolve_element(element, field, pick, days))
    return ",".join(dict.fromkeys(chain.from_iterable(values)))


def _each(text: str, read: Callable[[str], T]) -> Iterator[T]:
    """The result of `read` for each element of a field; a FieldError gets the element's offset."""
    offset = 0
    for element in text.split(","):
        try:
            yield read(element)
        except FieldError as error:
            error.offset = offset
            raise
        offset += len(element) + 1


def _sunday_once(mask: int, field: Field) -> int:
    """The mask with weekday 7, which is Sunday, as weekday 0."""
    return mask & 0x7F | 1 if field is DAY_OF_WEEK and mask >> 7 else mask


def _element_mask(text: str, field: Field) -> int:
    match = _ELEMENT.fullmatch(text)
    if not match or match["random"] or match["hash"]:
        raise FieldError(field, text, _guess(text, field))
    step = _step(match["step"], text, field)
    if match["star"]:
        return _range_mask(field.low, field.high, step)
    first = _value(match["first"], text, field)
    if match["last"] is None:
        if match["step"] is not None:
            hint = f"a step needs a range: {match['first']}-{field.high}/{match['step']}"
            raise FieldError(field, text, hint)
        return 1 << first
    last = _value(match["last"], text, field)
    if field is DAY_OF_WEEK and last == 0 and first > 0:
        last = 7  # fri-sun, as cronie reads it
    if first > last:
        raise FieldError(field, text, _reversed(first, last, step, field))
    return _range_mask(first, last, step)


def _resolve_element(text: str, field: Field, pick: Pick, days: int) -> Sequence[str]:
    """The element itself, or the values that stand for `~` or `H`."""
    match = _ELEMENT.fullmatch(text)
    if not match or not (match["random"] or match["hash"]):
        if _extended(text, field) is None:
            _element_mask(text, field)  # raises FieldError with the text of the table
        return (text,)
    kind = "hash_" if match["hash"] else ""
    low = _value(match[f"{kind}low"], text, field, default=field.low)
    high = _value(match[f"{kind}high"], text, field, default=_highest(field))
    step = _step(match["step"], text, field)
    if low > high:
        raise FieldError(field, text, _reversed(low, high, step, field))
    if field is DAY_OF_MONTH:
        most = days if match[f"{kind}high"] else min(days, _DAYS_OF_EVERY_MONTH)
        high = max(low, min(high, most))
    span = high - low + 1
    if step == 1:
        return (_NUMBERS[low + pick(field.name) % span],)
    first = low + pick(field.name) % min(step, span)
    return _NUMBERS[first : high + 1 : step]


def _range_mask(first: int, last: int, step: int) -> int:
    if step == 1:
        return (1 << last + 1) - (1 << first)
    return sum(1 << value for value in range(first, last + 1, step))


def _highest(field: Field) -> int:
    return 6 if field is DAY_OF_WEEK else field.high


def _value(text: str | None, element: str, field: Field, default: int = 0) -> int:
    if text is None:
        return default
    if text.isdigit():
        if len(text) > 4 or not field.low <= int(text) <= field.high:
            raise FieldError(field, element, f"{field.low}-{field.high}")
        return int(text)
    if text.lower() not in field.names:
        raise FieldError(field, element, _guess(text, field))
    return field.names.index(text.lower()) + field.low


_LONGEST_STEP = 9  # digits; cron's own numbers end there


def _step(text: str | None, element: str, field: Field) -> int:
    if text is None:
        return 1
    if len(text) > _LONGEST_STEP:
        raise FieldError(field, element, f"a step has at most {_LONGEST_STEP} digits")
    if int(text) < 1:
        raise FieldError(field, element, "a step is at least 1")
    return int(text)


def _reversed(first: int, last: int, step: int, field: Field) -> str:
    parts = [(first, _highest(field)), (field.low, last)]
    hint = ",".join(_written(low, high, step) for low, high in parts if low <= high)
    return f"the range runs backwards; cron would never run it: write {hint}"


def _written(low: int, high: int, step: int) -> str:
    if low == high:
        return str(low)
    return f"{low}-{high}" if step == 1 else f"{low}-{high}/{step}"


def _guess(text: str, field: Field) -> str:
    """The reason given for an element that is no value, range or step of this field."""
    if not text:
        return "empty: a comma too many"
    word = text.lower()
    short = [name for name in field.names if word.startswith(name)]
    if short and word.isalpha():
        return f"names have three letters: {short[0]}"
    bounds = f"{field.low}-{field.high}"
    return f"{bounds} or {field.names[0]}-{field.names[-1]}" if field.names else bounds


# Elements of the day fields that Vixie cron and cronie refuse, in upper case.
_EXTENDED = {
    DAY_OF_MONTH: re.compile(r"L|LW|L-(?P<before>[0-9]{1,2})|W(?P<day>[0-9]{1,2})"
                             r"|(?P<day_>[0-9]{1,2})W", re.ASCII),
    DAY_OF_WEEK: re.compile(r"L(?P<day>[0-7]|[A-Z]{3})"
                            r"|(?P<day_>[0-7]|[A-Z]{3})(?:\#?L|\#(?P<number>[1-5]))", re.ASCII),
}  # fmt: skip
_MARK_OF_EXTENDED = re.compile(r"[LW#?]", re.IGNORECASE | re.ASCII)
_MOST_BEFORE_LAST = 30  # days: the first day of a month of 31 days


def parse_day_field(text: str, field: Field) -> tuple[int, tuple[str, ...]]:
    """The mask of a day field and its extended elements, in one spelling.

    Of the month: `L` (its last day), `L-3` (the third day before that), `LW` (its last weekday),
    `15W` (the weekday nearest to the 15th). Of the week: `L5` (the last Friday of the month), `5#2`
    (its second Friday). A day field that is `?` means `*`, as in Quartz.
    """
    if field not in _EXTENDED or not _MARK_OF_EXTENDED.search(text):
        return parse_field(text, field), ()
    if text == ANY_DAY:
        return parse_field("*", field), ()
    mask = 0
    extended = []
    for chosen in _each(text, lambda element: _day_element(element, field)):
        if isinstance(chosen, str):
            extended.append(chosen)
        else:
            mask |= chosen
    return _sunday_once(mask, field), tuple(dict.fromkeys(extended))


def _day_element(element: str, field: Field) -> str | int:
    return _extended(element, field) or _element_mask(element, field)


def _extended(element: str, field: Field) -> str | None:
    """An extended element in one spelling; None if it is an ordinary one."""
    match = _EXTENDED[field].fullmatch(element.upper()) if field in _EXTENDED else None
    if not match:
        return None
    if field is DAY_OF_MONTH:
        return _extended_of_month(match, element)
    value = _value(match["day"] or match["day_"], element, field) % 7
    return f"{value}#{match['number']}" if match["number"] else f"L{value}"


def _extended_of_month(match: re.Match[str], element: str) -> str:
    day, before = match["day"] or match["day_"], match["before"]
    if before is not None:
        if int(before) > _MOST_BEFORE_LAST:
            raise FieldError(DAY_OF_MONTH, element, f"L-0 to L-{_MOST_BEFORE_LAST}")
        return f"L-{int(before)}" if int(before) else "L"
    return match[0] if day is None else f"{_value(day, element, DAY_OF_MONTH)}W"
