"""The fields of an entry: one line for each rule of crontab(5) (Vixie cron, cronie) and of `~`."""

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pycron.schedule.fields import (
    DAY_OF_MONTH,
    DAY_OF_WEEK,
    FIELDS,
    HOUR,
    MINUTE,
    MONTH,
    Field,
    FieldError,
    Pick,
    is_star,
    parse_day_field,
    parse_field,
    resolve,
)


def values(mask: int) -> list[int]:
    return [value for value in range(mask.bit_length()) if mask >> value & 1]


def picks(*numbers: int) -> Pick:
    """A Pick that gives these numbers in turn."""
    turn: Iterator[int] = iter(numbers)
    return lambda _: next(turn)


GOOD = [
    # Single values, at both ends
    (MINUTE, "0", [0]),
    (MINUTE, "59", [59]),
    (HOUR, "23", [23]),
    (DAY_OF_MONTH, "1", [1]),
    (DAY_OF_MONTH, "31", [31]),
    (MONTH, "12", [12]),
    (MINUTE, "005", [5]),
    # The star, with and without a step
    (HOUR, "*", list(range(24))),
    (DAY_OF_MONTH, "*", list(range(1, 32))),
    (MINUTE, "*/15", [0, 15, 30, 45]),
    (DAY_OF_MONTH, "*/10", [1, 11, 21, 31]),  # counted from the field's first value
    (MONTH, "*/5", [1, 6, 11]),
    (MINUTE, "*/60", [0]),
    (MINUTE, "*/59", [0, 59]),
    (HOUR, "*/1", list(range(24))),
    # Ranges
    (MINUTE, "10-13", [10, 11, 12, 13]),
    (MINUTE, "7-7", [7]),
    (HOUR, "12-12", [12]),
    (MINUTE, "10-20/5", [10, 15, 20]),
    (MINUTE, "10-19/5", [10, 15]),
    (MINUTE, "1-59/59", [1]),
    (MINUTE, "0-59/60", [0]),
    (MINUTE, "7-7/5", [7]),
    # Lists
    (MINUTE, "1,2,5", [1, 2, 5]),
    (MINUTE, "5,1,5", [1, 5]),
    (MINUTE, "0-4,8-12", [0, 1, 2, 3, 4, 8, 9, 10, 11, 12]),
    (MINUTE, "*,5", list(range(60))),
    (HOUR, "0-23/12,7", [0, 7, 12]),
    # Names: any case, in lists and ranges, too
    (MONTH, "jan", [1]),
    (MONTH, "DEC", [12]),
    (MONTH, "Jan-Mar", [1, 2, 3]),
    (MONTH, "jan-dec/6", [1, 7]),
    (MONTH, "feb,aug", [2, 8]),
    (DAY_OF_WEEK, "sun", [0]),
    (DAY_OF_WEEK, "Mon-FRI", [1, 2, 3, 4, 5]),
    (DAY_OF_WEEK, "tue,thu", [2, 4]),
    (DAY_OF_WEEK, "sun-tue", [0, 1, 2]),
    (DAY_OF_WEEK, "1-wed", [1, 2, 3]),
    # Sunday is 0 and 7
    (DAY_OF_WEEK, "0", [0]),
    (DAY_OF_WEEK, "7", [0]),
    (DAY_OF_WEEK, "5-7", [0, 5, 6]),
    (DAY_OF_WEEK, "0-7", list(range(7))),
    (DAY_OF_WEEK, "*", list(range(7))),
    (DAY_OF_WEEK, "*/2", [0, 2, 4, 6]),
    (DAY_OF_WEEK, "0-0", [0]),
    (DAY_OF_WEEK, "7-7", [0]),
    (DAY_OF_WEEK, "5-5", [5]),
    # A range that ends on Sunday goes up to it, as in cronie
    (DAY_OF_WEEK, "fri-sun", [0, 5, 6]),
    (DAY_OF_WEEK, "5-0", [0, 5, 6]),
    (DAY_OF_WEEK, "1-sun", list(range(7))),
    (DAY_OF_WEEK, "mon-sun/2", [0, 1, 3, 5]),
]


@pytest.mark.parametrize(("field", "text", "expected"), GOOD)
def test_a_field_chooses_its_values(field: Field, text: str, expected: list[int]) -> None:
    assert values(parse_field(text, field)) == expected


BAD = [
    # Out of range
    (MINUTE, "60", 0, '"60" (0-59)'),
    (HOUR, "24", 0, '"24" (0-23)'),
    (DAY_OF_MONTH, "0", 0, '"0" (1-31)'),
    (DAY_OF_MONTH, "32", 0, '"32" (1-31)'),
    (MONTH, "0", 0, '"0" (1-12)'),
    (MONTH, "13", 0, '"13" (1-12)'),
    (DAY_OF_WEEK, "8", 0, '"8" (0-7)'),
    (MINUTE, "0-60", 0, '"0-60" (0-59)'),
    (MONTH, "0-5", 0, '"0-5" (1-12)'),
    # Numbers that would wrap in C, or cost time to read
    (MINUTE, "4294967296", 0, "(0-59)"),
    (MINUTE, "9" * 5000, 0, "(0-59)"),
    (MINUTE, "0" * 5000, 0, "(0-59)"),
    (MINUTE, "*/4294967297", 0, "(a step has at most 9 digits)"),
    # The classic parsers drop what follows a number; here it is an error
    (MINUTE, "1-5-7", 0, '"1-5-7" (0-59)'),
    (MINUTE, "1-10/2/3", 0, '"1-10/2/3" (0-59)'),
    (MINUTE, "5*", 0, '"5*"'),
    (MINUTE, "*5", 0, '"*5"'),
    (MINUTE, "**", 0, '"**"'),
    (MINUTE, "*-5", 0, '"*-5"'),
    (MINUTE, "5x", 0, '"5x"'),
    (MINUTE, "0x5", 0, '"0x5"'),
    (MINUTE, "1.5", 0, '"1.5"'),
    (MINUTE, "+5", 0, '"+5"'),
    (MINUTE, "-1", 0, '"-1"'),
    (MINUTE, "1-", 0, '"1-"'),
    (MINUTE, "?", 0, '"?"'),
    (MINUTE, "$", 0, '"$"'),
    (MINUTE, "5\r", 0, "(0-59)"),
    (MINUTE, "5\n", 0, "(0-59)"),
    # Steps: of a range, and not 0
    (MINUTE, "5/15", 0, "(a step needs a range: 5-59/15)"),
    (DAY_OF_WEEK, "1/2", 0, "(a step needs a range: 1-7/2)"),
    (MINUTE, "*/0", 0, '"*/0" (a step is at least 1)'),
    (MINUTE, "1-30/-5", 0, '"1-30/-5"'),
    (MINUTE, "*/", 0, '"*/"'),
    # Reversed ranges, which cron accepts and never matches
    (MINUTE, "55-5", 0, "write 55-59,0-5"),
    (HOUR, "22-2", 0, "write 22-23,0-2"),
    (HOUR, "22-0", 0, "runs backwards"),
    (MONTH, "dec-feb", 0, "write 12,1-2"),
    (MONTH, "11-2", 0, "write 11-12,1-2"),
    (HOUR, "22-2/2", 0, "write 22-23/2,0-2/2"),
    (HOUR, "23-0", 0, "write 23,0"),
    (MINUTE, "50-10/7", 0, "write 50-59/7,0-10/7"),
    (DAY_OF_WEEK, "fri-mon", 0, "write 5-6,0-1"),
    (DAY_OF_WEEK, "7-1", 0, "runs backwards"),
    # Names: three letters, of this field
    (MONTH, "january", 0, "(names have three letters: jan)"),
    (DAY_OF_WEEK, "mond", 0, "(names have three letters: mon)"),
    (DAY_OF_WEEK, "sund-tue", 0, "(names have three letters: sun)"),
    (DAY_OF_WEEK, "jan", 0, "(0-7 or sun-sat)"),
    (MONTH, "foo", 0, "(1-12 or jan-dec)"),
    (MINUTE, "mon", 0, "(0-59)"),
    # Lists: the offset is that of the element
    (MINUTE, "", 0, "(empty: a comma too many)"),
    (MINUTE, ",1", 0, "(empty: a comma too many)"),
    (MINUTE, "1,", 2, "(empty: a comma too many)"),
    (DAY_OF_WEEK, "mon,,tue", 4, "(empty: a comma too many)"),
    (MINUTE, "0,15,61", 5, '"61" (0-59)'),
    (MINUTE, "10-20,5-1,3", 6, '"5-1"'),
    # Digits and letters outside of ASCII
    (MINUTE, "\u0663", 0, "(0-59)"),
    (MINUTE, "\uff15", 0, "(0-59)"),
    (MINUTE, "\u00b2", 0, "(0-59)"),
    (MINUTE, "*/\u0663", 0, "(0-59)"),
    (DAY_OF_WEEK, "\u017fun", 0, "(0-7 or sun-sat)"),
    # Elements that only `resolve` reads
    (MINUTE, "0~30", 0, '"0~30"'),
    (MINUTE, "H", 0, '"H"'),
]


@pytest.mark.parametrize(("field", "text", "offset", "reason"), BAD)
def test_texts_that_cron_cuts_off_or_never_matches_are_refused(
    field: Field, text: str, offset: int, reason: str
) -> None:
    with pytest.raises(FieldError) as caught:
        parse_field(text, field)
    assert str(caught.value).startswith(f"bad {field.name}: ")
    assert reason in str(caught.value)
    assert (caught.value.field, caught.value.offset) == (field, offset)


@pytest.mark.parametrize(
    ("text", "star"),
    [("*", True), ("*/2", True), ("*,5", True), ("5,*", False), ("0-59", False), ("", False)],
)
def test_a_star_field_begins_with_a_star(text: str, star: bool) -> None:
    assert is_star(text) is star


# ---- ~ and H

RESOLVED = [
    # A random value of the range; a missing bound is that of the field
    (MINUTE, "10~12", 0, "10"),
    (MINUTE, "10~12", 5, "12"),
    (MINUTE, "~", 59, "59"),
    (MINUTE, "~", 60, "0"),
    (MINUTE, "50~", 9, "59"),
    (MINUTE, "~5", 6, "0"),
    (DAY_OF_MONTH, "~", 0, "1"),
    (MONTH, "mar~may", 1, "4"),
    (DAY_OF_WEEK, "~", 6, "6"),  # Sunday only once
    (MINUTE, "7~7", 12345, "7"),
    # With a step: a random phase
    (MINUTE, "~/20", 0, "0,20,40"),
    (MINUTE, "~/20", 19, "19,39,59"),
    (MINUTE, "~/20", 21, "1,21,41"),
    (MINUTE, "10~30/10", 3, "13,23"),
    (MINUTE, "10~12/10", 4, "11"),  # the phase stays within the range
    # H, as in Jenkins
    (MINUTE, "H", 61, "1"),
    (HOUR, "H(9-16)", 9, "10"),
    (MINUTE, "H/15", 16, "1,16,31,46"),
    (MINUTE, "H(0-29)/10", 2, "2,12,22"),
    # Other elements stay unchanged
    (MINUTE, "*/5", 0, "*/5"),
    (MINUTE, "1,H,3", 2, "1,2,3"),
    (DAY_OF_WEEK, "thu", 0, "thu"),
]


@pytest.mark.parametrize(("field", "text", "number", "expected"), RESOLVED)
def test_random_values_become_plain_ones(
    field: Field, text: str, number: int, expected: str
) -> None:
    assert resolve(text, field, picks(number)) == expected


def test_each_random_value_is_picked_separately() -> None:
    assert resolve("0~9,H,~/30", MINUTE, picks(3, 4, 5)) == "3,4,5,35"


@pytest.mark.parametrize("number", range(40))
@pytest.mark.parametrize(
    ("text", "days", "low", "high"),
    [
        ("H", 31, 1, 28),
        ("~", 30, 1, 28),
        ("H/31", 31, 1, 28),
        ("1~31", 31, 1, 31),
        ("1~31", 30, 1, 30),
        ("H(1-31)", 28, 1, 28),
        ("20~", 30, 20, 28),
        ("30~31", 28, 30, 30),  # no chosen month has it: refused for another reason
    ],
)
def test_a_day_is_picked_that_every_chosen_month_has(
    text: str, days: int, low: int, high: int, number: int
) -> None:
    """Otherwise an entry would be accepted or refused, and would run or not, by chance."""
    assert low <= int(resolve(text, DAY_OF_MONTH, picks(number), days)) <= high


@pytest.mark.parametrize(
    ("field", "text", "values"),
    [
        (MINUTE, "*/60", {0}),
        (MINUTE, "*/90", {0}),
        (MINUTE, "5-20/999999999", {5}),
        (HOUR, "*/25", {0}),
        (DAY_OF_MONTH, "*/32", {1}),
        (MONTH, "*/13", {1}),
        (DAY_OF_WEEK, "*/9", {0}),
    ],
)
def test_a_step_beyond_the_range_chooses_the_first_value(
    field: Field, text: str, values: set[int]
) -> None:
    """As cron does; `pycron check` warns of it."""
    mask = parse_field(text, field)
    assert {value for value in range(60) if mask >> value & 1} == values


def test_a_random_step_beyond_the_range_picks_one_value() -> None:
    [value] = resolve("H/61", MINUTE, picks(71)).split(",")
    assert value == "11"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("30~10", "runs backwards"),
        ("0~60", "(0-59)"),
        ("H(20-10)", "runs backwards"),
        ("H(0-60)", "(0-59)"),
        ("~/0", "(a step is at least 1)"),
        ("0~mon", "(0-59)"),
    ],
)
def test_a_bad_random_value_is_refused(text: str, reason: str) -> None:
    with pytest.raises(FieldError) as caught:
        resolve(text, MINUTE, picks(0))
    assert reason in str(caught.value)


def test_the_offset_of_a_bad_random_value() -> None:
    with pytest.raises(FieldError) as caught:
        resolve("1,2,0~60", MINUTE, picks(0))
    assert caught.value.offset == 4


@pytest.mark.parametrize("text", ["~~", "1~2~3", "H(5)", "H()", "h", "HH", "H-5", "5-H", "~,"])
def test_malformed_random_values_are_errors(text: str) -> None:
    with pytest.raises(FieldError):
        parse_field(resolve(text, MINUTE, picks(0, 0)), MINUTE)


# ---- the day elements that cron does not have

EXTENDED = [
    (DAY_OF_MONTH, "L", [], ("L",)),
    (DAY_OF_MONTH, "LW", [], ("LW",)),
    (DAY_OF_MONTH, "15W", [], ("15W",)),
    (DAY_OF_MONTH, "W15", [], ("15W",)),
    (DAY_OF_MONTH, "l", [], ("L",)),
    (DAY_OF_MONTH, "lw", [], ("LW",)),
    (DAY_OF_MONTH, "15w", [], ("15W",)),
    (DAY_OF_MONTH, "L-3", [], ("L-3",)),
    (DAY_OF_MONTH, "l-03,5", [5], ("L-3",)),
    (DAY_OF_MONTH, "L-0", [], ("L",)),
    (DAY_OF_MONTH, "L-30", [], ("L-30",)),
    (DAY_OF_MONTH, "?", [*range(1, 32)], ()),
    (DAY_OF_WEEK, "?", [*range(7)], ()),
    (DAY_OF_WEEK, "fril", [], ("L5",)),
    (DAY_OF_WEEK, "lfri", [], ("L5",)),
    (DAY_OF_WEEK, "FRI#L", [], ("L5",)),
    (DAY_OF_WEEK, "5#l", [], ("L5",)),
    (DAY_OF_MONTH, "1,15,L", [1, 15], ("L",)),
    (DAY_OF_MONTH, "1W,L,10-12", [10, 11, 12], ("1W", "L")),
    (DAY_OF_WEEK, "5L", [], ("L5",)),
    (DAY_OF_WEEK, "L5", [], ("L5",)),
    (DAY_OF_WEEK, "friL", [], ("L5",)),
    (DAY_OF_WEEK, "7L", [], ("L0",)),
    (DAY_OF_WEEK, "5#2", [], ("5#2",)),
    (DAY_OF_WEEK, "fri#2", [], ("5#2",)),
    (DAY_OF_WEEK, "SUN#1", [], ("0#1",)),
    (DAY_OF_WEEK, "7#5", [], ("0#5",)),
    (DAY_OF_WEEK, "mon,5#2,3L", [1], ("5#2", "L3")),
    # A W or an L in a name is no extended element
    (DAY_OF_WEEK, "WED", [3], ()),
    (DAY_OF_WEEK, "WED,5L", [3], ("L5",)),
    (DAY_OF_MONTH, "1-5", [1, 2, 3, 4, 5], ()),
]


@pytest.mark.parametrize(("field", "text", "plain", "extended"), EXTENDED)
def test_extended_days(
    field: Field, text: str, plain: list[int], extended: tuple[str, ...]
) -> None:
    mask, found = parse_day_field(text, field)
    assert (values(mask), found) == (plain, extended)


@pytest.mark.parametrize(
    ("field", "text"),
    [
        (DAY_OF_MONTH, "0W"),
        (DAY_OF_MONTH, "32W"),
        (DAY_OF_MONTH, "W"),
        (DAY_OF_MONTH, "L-31"),
        (DAY_OF_MONTH, "L-"),
        (DAY_OF_MONTH, "L-3W"),
        (DAY_OF_MONTH, "L/3"),
        (DAY_OF_MONTH, "1,?"),
        (DAY_OF_MONTH, "?/2"),
        (DAY_OF_MONTH, "??"),
        (DAY_OF_MONTH, "WL"),
        (DAY_OF_MONTH, "15W/2"),
        (DAY_OF_MONTH, "5#2"),
        (DAY_OF_MONTH, "1,,L"),
        (DAY_OF_WEEK, "L"),
        (DAY_OF_WEEK, "L-3"),
        (DAY_OF_WEEK, "L#5"),
        (DAY_OF_WEEK, "8L"),
        (DAY_OF_WEEK, "5#6"),
        (DAY_OF_WEEK, "5#0"),
        (DAY_OF_WEEK, "#2"),
        (DAY_OF_WEEK, "5#2#3"),
        (DAY_OF_WEEK, "friday#2"),
        (DAY_OF_WEEK, "foo#2"),
        (DAY_OF_WEEK, "15W"),
        (HOUR, "L"),
        (HOUR, "?"),
        (MINUTE, "?"),
        (MONTH, "?"),
        (MONTH, "5#2"),
    ],
)
def test_bad_extended_days_are_refused(field: Field, text: str) -> None:
    with pytest.raises(FieldError):
        parse_day_field(text, field)


@pytest.mark.parametrize(("text", "offset"), [("L,32", 2), ("1,15W,0", 6), ("1,LW,3,32W", 7)])
def test_the_offset_of_an_error_beside_an_extended_day(text: str, offset: int) -> None:
    with pytest.raises(FieldError) as caught:
        parse_day_field(text, DAY_OF_MONTH)
    assert caught.value.offset == offset


# ---- any text

FRAGMENTS = st.sampled_from(
    [*"0123456789*,-/~#LWH()", "sun", "FRI", "jan", "7", "59", "\u0663", " "]
)


@given(st.lists(FRAGMENTS, max_size=8).map("".join), st.sampled_from(FIELDS))
def test_any_field_is_read_or_refused_with_an_offset_in_it(text: str, field: Field) -> None:
    try:
        mask, _ = parse_day_field(resolve(text, field, lambda _: 7), field)
        offset = 0
    except FieldError as error:
        mask, offset = 0, error.offset
    assert not mask & ~sum(1 << value for value in range(field.low, field.high + 1))
    assert 0 <= offset <= len(text)
