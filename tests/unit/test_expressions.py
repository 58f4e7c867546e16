"""Schedules by the wall clock, without zones: days, minutes, and schedules that never fire."""

import datetime
from calendar import monthrange
from functools import cache

import pytest
from croniter import croniter
from hypothesis import given
from hypothesis import strategies as st

from pycron.schedule.expressions import (
    CronSchedule,
    Days,
    Interval,
    NoSchedule,
    Reboot,
    ScheduleError,
    parse_cron,
    parse_nickname,
    parse_resolved,
    resolved_text,
)
from pycron.schedule.fields import FieldError

EPOCH = datetime.datetime(1970, 1, 1)


def cron(text: str) -> CronSchedule:
    minute, hour, day_of_month, month, day_of_week = text.split()
    return parse_cron((minute, hour, day_of_month, month, day_of_week))


def wall(text: str) -> int:
    return int((datetime.datetime.fromisoformat(text) - EPOCH).total_seconds()) // 60


def following(text: str, after: str, count: int) -> list[str]:
    """The next wall minutes of a schedule; the first minute of the search may be one."""
    schedule, minute, found = cron(text), wall(after), []
    for _ in range(count):
        reached = schedule.next_wall(minute, wall("9999-12-31"))
        assert reached is not None
        found.append((EPOCH + datetime.timedelta(minutes=reached)).isoformat(" ", "minutes"))
        minute = reached + 1
    return found


# ---- the next wall minute

NEXT = [
    # Within the hour, the day, the month, the year
    ("*/15 * * * *", "2026-01-01 00:00", ["2026-01-01 00:00", "2026-01-01 00:15"]),
    ("*/15 * * * *", "2026-01-01 00:46", ["2026-01-01 01:00"]),
    ("30 8 * * *", "2026-01-01 08:31", ["2026-01-02 08:30"]),
    ("30 8-9 * * *", "2026-01-01 08:31", ["2026-01-01 09:30", "2026-01-02 08:30"]),
    ("59 23 * * *", "2026-01-31 23:59", ["2026-01-31 23:59", "2026-02-01 23:59"]),
    ("0 0 1 * *", "2026-01-01 00:01", ["2026-02-01 00:00"]),
    ("0 0 31 * *", "2026-02-01 00:00", ["2026-03-31 00:00", "2026-05-31 00:00"]),
    ("0 0 1 1 *", "2026-01-02 00:00", ["2027-01-01 00:00"]),
    ("5 5 5 5 *", "2026-05-05 05:06", ["2027-05-05 05:05"]),
    # Months without a match
    ("0 12 15 jun,dec *", "2026-06-15 12:01", ["2026-12-15 12:00", "2027-06-15 12:00"]),
    # Leap days, over years without one
    ("0 0 29 2 *", "2026-01-01 00:00", ["2028-02-29 00:00", "2032-02-29 00:00"]),
    ("0 0 29 2 *", "2096-03-01 00:00", ["2104-02-29 00:00"]),
    ("0 0 29 2 */7", "2072-03-01 00:00", ["2088-02-29 00:00", "2128-02-29 00:00"]),
    # One of the day fields is a star field: AND
    ("0 0 */13 * fri", "2026-01-01 00:00", ["2026-02-27 00:00", "2026-03-27 00:00"]),
    ("0 0 * * fri", "2026-01-01 00:00", ["2026-01-02 00:00", "2026-01-09 00:00"]),
    ("0 0 */2 * mon", "2026-01-01 00:00", ["2026-01-05 00:00", "2026-01-19 00:00"]),
    ("0 0 13 * */5", "2026-01-01 00:00", ["2026-02-13 00:00", "2026-03-13 00:00"]),
    ("0 0 *,5 * fri", "2026-01-01 00:00", ["2026-01-02 00:00", "2026-01-09 00:00"]),
    # None of them is a star field: OR
    ("0 0 13 * fri", "2026-01-03 00:00", ["2026-01-09 00:00", "2026-01-13 00:00"]),
    ("0 0 1-31/2 * mon", "2026-01-01 00:00", ["2026-01-01 00:00", "2026-01-03 00:00"]),
    ("0 0 13,* * fri", "2026-01-01 00:00", ["2026-01-01 00:00", "2026-01-02 00:00"]),
    ("0 0 1-31 * mon", "2026-01-01 00:00", ["2026-01-01 00:00", "2026-01-02 00:00"]),
    ("0 0 30 2 mon", "2026-02-01 00:00", ["2026-02-02 00:00"]),
    # Extended days
    ("0 0 L * *", "2026-01-31 00:01", ["2026-02-28 00:00", "2026-03-31 00:00"]),
    ("0 0 LW * *", "2026-01-01 00:00", ["2026-01-30 00:00", "2026-02-27 00:00"]),
    ("0 0 15W * *", "2026-02-01 00:00", ["2026-02-16 00:00", "2026-03-16 00:00"]),
    ("0 0 * * 5L", "2026-01-01 00:00", ["2026-01-30 00:00", "2026-02-27 00:00"]),
    ("0 0 * * fri#2", "2026-01-01 00:00", ["2026-01-09 00:00", "2026-02-13 00:00"]),
    ("0 0 * * mon#5", "2026-01-01 00:00", ["2026-03-30 00:00", "2026-06-29 00:00"]),
    ("0 0 10,L * *", "2026-01-10 00:00", ["2026-01-10 00:00", "2026-01-31 00:00"]),
    ("0 0 L-3 * *", "2026-01-29 00:00", ["2026-02-25 00:00", "2026-03-28 00:00"]),
    ("0 0 L-30 * *", "2026-01-02 00:00", ["2026-03-01 00:00", "2026-05-01 00:00"]),
    ("0 0 ? * fri#l", "2026-01-01 00:00", ["2026-01-30 00:00", "2026-02-27 00:00"]),
    # A ? is a star field, so the other day field alone decides
    ("0 0 ? * fri", "2026-01-01 00:00", ["2026-01-02 00:00", "2026-01-09 00:00"]),
    ("0 0 13 * ?", "2026-01-01 00:00", ["2026-01-13 00:00", "2026-02-13 00:00"]),
    ("0 0 L * fri", "2026-01-24 00:00", ["2026-01-30 00:00", "2026-01-31 00:00"]),
]


@pytest.mark.parametrize(("text", "after", "expected"), NEXT)
def test_the_next_wall_minutes(text: str, after: str, expected: list[str]) -> None:
    assert following(text, after, len(expected)) == expected


def test_the_end_of_the_search_is_not_part_of_it() -> None:
    schedule = cron("0 12 * * *")
    noon = wall("2026-01-01 12:00")
    assert schedule.next_wall(noon, noon + 1) == noon
    assert schedule.next_wall(noon - 60, noon) is None
    assert schedule.next_wall(noon, noon) is None
    assert schedule.next_wall(noon, noon - 1) is None
    assert cron("0 0 31 12 *").next_wall(wall("2026-02-01 00:00"), wall("2026-12-31 00:00")) is None


def test_the_search_ends_with_the_calendar() -> None:
    start = wall("9999-12-31 00:00")
    assert cron("59 23 31 12 *").next_wall(start, start + 10**9) == wall("9999-12-31 23:59")
    assert cron("0 0 1 1 *").next_wall(start, start + 10**9) is None


# ---- against brute force

DAY_FIELDS = st.sampled_from(["*", "1", "31", "*/2", "1-31/2", "29,30", "13", "15-17", "*,5"])
WEEKDAY_FIELDS = st.sampled_from(["*", "0", "7", "*/2", "1-5", "fri", "sat,sun", "0-7/3", "3,*"])


@cache
def days_by_hand(day_of_month: str, day_of_week: str, year: int, month: int) -> set[int]:
    """The days of a month, tested one by one with the rule of cron.c."""
    either = day_of_month[0] == "*" or day_of_week[0] == "*"
    found = set()
    for day in range(1, monthrange(year, month)[1] + 1):
        by_date = day in expand(day_of_month, 1, 31)
        weekday = datetime.date(year, month, day).isoweekday()
        by_week = bool({weekday % 7, weekday} & expand(day_of_week, 0, 7))
        if (by_date and by_week) if either else (by_date or by_week):
            found.add(day)
    return found


@cache
def expand(field: str, low: int, high: int) -> set[int]:
    for number, name in enumerate(("sun", "mon", "tue", "wed", "thu", "fri", "sat")):
        field = field.replace(name, str(number))
    found: set[int] = set()
    for element in field.split(","):
        span, _, step = element.partition("/")
        first, _, last = span.replace("*", f"{low}-{high}").partition("-")
        found |= set(range(int(first), int(last or first) + 1, int(step or 1)))
    return found


@given(DAY_FIELDS, WEEKDAY_FIELDS, st.integers(1970, 2200), st.integers(1, 12))
def test_the_days_of_any_month(day_of_month: str, day_of_week: str, year: int, month: int) -> None:
    mask = cron(f"0 0 {day_of_month} * {day_of_week}").days.in_month(year, month)
    found = {day for day in range(40) if mask >> day & 1}
    assert found == days_by_hand(day_of_month, day_of_week, year, month)


MINUTE_FIELDS = st.sampled_from(["*", "0", "59", "*/7", "5-10", "0,30", "*/60"])
HOUR_FIELDS = st.sampled_from(["*", "0", "23", "*/5", "8-18/2", "3,15"])
MONTH_FIELDS = st.sampled_from(["*", "2", "*/5", "jun-aug", "1,12"])


@given(
    st.tuples(MINUTE_FIELDS, HOUR_FIELDS, DAY_FIELDS, MONTH_FIELDS, WEEKDAY_FIELDS),
    st.datetimes(datetime.datetime(1970, 1, 1), datetime.datetime(2150, 1, 1)),
)
def test_the_next_wall_minute_is_the_first_that_matches(
    fields: tuple[str, str, str, str, str], start: datetime.datetime
) -> None:
    try:
        schedule = parse_cron(fields)
    except ScheduleError:
        return
    minute = int((start - EPOCH).total_seconds()) // 60
    before = minute + 3 * 1440
    expected = next((m for m in range(minute, before) if matches(fields, m)), None)
    assert schedule.next_wall(minute, before) == expected


def matches(fields: tuple[str, str, str, str, str], wall_minute: int) -> bool:
    moment = EPOCH + datetime.timedelta(minutes=wall_minute)
    minute, hour, day_of_month, month, day_of_week = fields
    for number, name in ((6, "jun"), (8, "aug")):
        month = month.replace(name, str(number))
    return (
        moment.minute in expand(minute, 0, 59)
        and moment.hour in expand(hour, 0, 23)
        and moment.month in expand(month, 1, 12)
        and moment.day in days_by_hand(day_of_month, day_of_week, moment.year, moment.month)
    )


# ---- against croniter, for expressions with the same meaning in cron


@pytest.mark.parametrize(
    "text",
    [
        # The ordinary ones
        "* * * * *", "*/7 * * * *", "0 */5 * * *", "5,10 3 * * 1-5", "0 0 1 * *", "0 0 29 2 *",
        "30 4 1,15 * 5", "0 0 13 * fri", "59 23 31 12 *", "0 9-17/2 * jan,jul mon",
        # The extended ones
        "0 0 L * *", "0 0 1,L 2 *", "0 0 15W * *", "0 0 1W * *",
        "0 0 * * 5#2", "0 0 * * 0#1", "0 0 * * 1#5", "0 0 * * L5", "0 0 * 2 L0", "0 0 * * 1#1,3#3",
    ],
)  # fmt: skip
def test_croniter_agrees(text: str) -> None:
    for year in (2023, 2024, 2099):
        reference = croniter(text, datetime.datetime(year, 1, 1), ret_type=datetime.datetime)
        expected = [reference.get_next().isoformat(" ", "minutes") for _ in range(40)]
        assert following(text, f"{year}-01-01 00:01", 40) == expected


@pytest.mark.parametrize("year", range(2000, 2028))
def test_the_last_weekday_of_every_month(year: int) -> None:
    for month in range(1, 13):
        days = [datetime.date(year, month, d) for d in range(1, monthrange(year, month)[1] + 1)]
        last = max(day.day for day in days if day.isoweekday() <= 5)
        assert cron("0 0 LW * *").days.in_month(year, month) == 1 << last


# ---- schedules that never fire


@pytest.mark.parametrize(
    "text",
    [
        "0 0 30 2 *",
        "0 0 31 4 *",
        "0 0 31 2,4,6,9,11 *",
        "0 0 30,31 feb *",
        "0 0 30-31 2 */2",
        "0 0 30W 2 *",
        # Days of the month that are never those days of the week
        "0 0 LW * */6",
        "0 0 L-29 2 *",
        "0 0 15W * */6",
        "0 0 */15 * 5#4",
        "0 0 */10 2 5L",
    ],
)
def test_a_date_that_never_exists_is_refused(text: str) -> None:
    with pytest.raises(ScheduleError) as caught:
        cron(text)
    assert "never" in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "0 0 29 2 *",
        "0 0 31 1,2 *",
        "0 0 30 2 mon",
        "0 0 L 2 *",
        "0 0 29W 2 *",
        "0 0 */7 * 5#5",
        "0 0 */31 * 5#1",
        "0 0 29 2 */7",
    ],
)
def test_a_date_that_exists_sometimes_is_accepted(text: str) -> None:
    first = cron(text).next_wall(wall("2026-01-01 00:00"), wall("2067-01-01 00:00"))
    assert first is not None


# ---- kinds


@pytest.mark.parametrize(
    ("text", "wildcard"),
    [
        ("* * * * *", True),
        ("*/5 3 * * *", True),
        ("5 * * * *", True),
        ("5 */2 * * *", True),
        ("*,5 3 * * *", True),
        ("0-59 0-23 * * *", False),
        ("5,* 3 * * *", False),
        ("30 2 * * *", False),
        ("0 0 * * *", False),
    ],
)
def test_a_star_in_minute_or_hour_makes_a_wildcard(text: str, wildcard: bool) -> None:
    assert cron(text).wildcard is wildcard


@pytest.mark.parametrize(
    ("nickname", "wildcard"), [("@hourly", True), ("@daily", False), ("@weekly", False)]
)
def test_nicknames_are_of_either_kind(nickname: str, wildcard: bool) -> None:
    schedule = parse_nickname(nickname)
    assert isinstance(schedule, CronSchedule)
    assert schedule.wildcard is wildcard


@pytest.mark.parametrize(
    ("argument", "seconds"),
    [("1s", 1), ("90", 90), ("15m", 900), ("1h30m", 5400), ("2d", 172_800), ("1w", 604_800)],
)
def test_an_interval(argument: str, seconds: int) -> None:
    assert parse_nickname("@every", argument) == Interval(f"@every {argument}", seconds)


@pytest.mark.parametrize(
    "argument", ["", "0", "0s", "-5s", "1.5h", "m", "5 m", "99999999w", "never"]
)
def test_a_bad_interval(argument: str) -> None:
    with pytest.raises(ScheduleError):
        parse_nickname("@every", argument)


@pytest.mark.parametrize(
    "text", ["5 4 * * *", "@daily", "@hourly", "@every 90s", "@reboot", "0 0 15W,L * fri#2"]
)
def test_the_resolved_text_means_the_same(text: str) -> None:
    words = text.split()
    schedule = parse_nickname(*words) if text.startswith("@") else cron(text)
    again = parse_resolved(resolved_text(schedule))
    if isinstance(schedule, CronSchedule):
        assert isinstance(again, CronSchedule)
        assert again.fields == schedule.fields
        assert again.days == schedule.days
    else:
        assert again == schedule


def test_the_resolved_text_of_no_schedule() -> None:
    assert resolved_text(NoSchedule()) == ""
    assert parse_resolved("") == NoSchedule()


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("@weakly", "@every DURATION, @after JOB)"),
        ("@Daily", "nicknames are lower-case)"),
        ("@", "@every DURATION, @after JOB)"),
    ],
)
def test_an_unknown_nickname(text: str, hint: str) -> None:
    with pytest.raises(ScheduleError) as caught:
        parse_nickname(text)
    assert str(caught.value).startswith(f'bad time specifier: "{text}" (@yearly, ')
    assert str(caught.value).endswith(hint)


@pytest.mark.parametrize("text", ["L * *", "15W * *", "* * 5#2", "* * 5L"])
@pytest.mark.parametrize(("year", "month"), [(1, 1), (9999, 11), (9999, 12)])
def test_extended_days_at_the_ends_of_time(text: str, year: int, month: int) -> None:
    """The calendar of 400 years later or earlier is the same."""
    of_month, _, of_week = text.split()
    days = cron(f"0 0 {of_month} * {of_week}").days
    same_year = 2000 + year % 400
    assert days.in_month(year, month) == days.in_month(same_year, month)
    assert days.in_month(year, month)


def test_a_random_field_without_pick_is_an_error() -> None:
    with pytest.raises(FieldError):
        cron("0~59 * * * *")
    fields = ("0~59", "H", "*", "*", "*")
    assert parse_cron(fields, lambda _: 7).fields == ("7", "7", "*", "*", "*")


def test_equal_fields_share_one_object() -> None:
    assert cron("5 4 3 2 1") is cron("5 4 3 2 1")
    assert Reboot() == parse_nickname("@reboot")
    assert isinstance(cron("* * * * *").days, Days)


@pytest.mark.parametrize(
    ("fields", "days"),
    [
        ("0 0 31W 6,7 *", ["2026-07-31"]),  # June has no 31st; 2026-07-31 is a Friday
        ("0 0 30W 2,4 *", ["2026-04-30"]),
        ("0 0 29W 2 *", []),  # February 2026 has 28 days
    ],
)
def test_the_weekday_nearest_to_a_day_only_in_months_that_have_the_day(
    fields: str, days: list[str]
) -> None:
    """As in Quartz. croniter takes the last day of a shorter month."""
    schedule = parse_cron(tuple(fields.split()))
    found, minute = [], wall("2026-01-01")
    while (due := schedule.next_wall(minute, wall("2027-01-01"))) is not None:
        found.append((EPOCH + datetime.timedelta(minutes=due)).date().isoformat())
        minute = due + 1
    assert found == days


def test_a_day_that_no_chosen_month_has() -> None:
    with pytest.raises(ScheduleError, match="it would never run"):
        parse_cron(("0", "0", "31W", "6", "*"))
