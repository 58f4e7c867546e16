"""CRON_EVERY, CRON_ONLY and CRON_EXCEPT: which days they choose, and what follows from that."""

import datetime
from collections.abc import Callable, Iterable
from functools import cache, partial
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pycron.crontab.day_rules import day_rules, day_settings, parse_day_settings
from pycron.crontab.reader import ReaderContext, parse
from pycron.engine.diagnosis import Evidence, Verdict, diagnose
from pycron.engine.local_time import AskedTime, local_time
from pycron.model.job import Job, Source
from pycron.schedule.day_rules import EVERY_DAY, Calendar, DayRules, Every, Unit, parse_every
from pycron.schedule.fire_times import fire_times, last_fire_times, next_fire
from pycron.schedule.words import explain
from pycron.schedule.zone import UTC, Zone
from tests.support.thoroughness import number_of

DATES = st.dates(datetime.date(1971, 1, 1), datetime.date(2200, 12, 31))
BERLIN = Zone("Europe/Berlin", ZoneInfo("Europe/Berlin"))
CHRISTMAS = Calendar("christmas", "", lambda year: [datetime.date(year, 12, d) for d in (24, 25)])
CLOSED = Calendar("closed", "", lambda year: [datetime.date(year, 12, d) for d in range(25, 32)])
CALENDARS = {"christmas": CHRISTMAS, "closed": CLOSED}
CONTEXT = ReaderContext(calendars=CALENDARS)


def jobs(text: str) -> list[Job]:
    table = parse(text + "\n", Source("joe", "joe"), CONTEXT)
    assert not table.errors, table.errors
    return list(table.jobs)


def only_job(text: str) -> Job:
    (job,) = jobs(text)
    return job


def problems(text: str, context: ReaderContext = CONTEXT) -> list[str]:
    return [str(each) for each in parse(text + "\n", Source("joe", "joe"), context).problems]


def utc(text: str) -> int:
    return int(datetime.datetime.fromisoformat(f"{text}+00:00").timestamp())


def due(text: str, start: str, end: str, zone: Zone = UTC) -> list[str]:
    found = fire_times(only_job(text).schedule, zone, utc(start), utc(end))
    return [f"{zone.local(fire):%Y-%m-%d %H:%M}" for fire in found]


# ---- the periods, day by day, with the arithmetic of datetime


def chosen_by_hand(every: Every, day: datetime.date) -> bool:
    match every.unit:
        case Unit.DAY:
            periods = (day - every.date).days
        case Unit.WEEK:
            mondays = [each - datetime.timedelta(each.weekday()) for each in (day, every.date)]
            periods = (mondays[0] - mondays[1]).days // 7
        case Unit.MONTH:
            periods = 12 * (day.year - every.date.year) + day.month - every.date.month
        case Unit.YEAR:
            periods = day.year - every.date.year
    return periods % every.count == 0


EVERIES = st.builds(Every, st.integers(1, 100), st.sampled_from(Unit), DATES)


@given(EVERIES, DATES)
def test_a_day_is_chosen_if_a_multiple_of_periods_lies_between(
    every: Every, day: datetime.date
) -> None:
    chosen = bool(every.in_month(day.year, day.month) >> day.day & 1)
    assert chosen is chosen_by_hand(every, day)
    assert (every.refusal(day) is None) is chosen


@given(EVERIES, DATES)
def test_a_mask_has_no_bit_that_stands_for_no_day(every: Every, day: datetime.date) -> None:
    assert every.in_month(day.year, day.month) & ~EVERY_DAY == 0


@given(EVERIES)
def test_the_text_of_a_period_is_read_again(every: Every) -> None:
    assert parse_every(str(every)) == every


@pytest.mark.parametrize(
    "text",
    ["", "2", "2w", "w@2026-01-05", "0w@2026-01-05", "2m@2026-01-05", "2W@2026-01-05",
     "-2w@2026-01-05", "10000d@2026-01-05", "2w@2026-02-30", "2w@05.01.2026", "2w@2026-1-5",
     "2w@2026-01-05T00:00", "2w @2026-01-05", "\u0662w@2026-01-05", "2w@0000-01-01"],
)  # fmt: skip
def test_a_bad_period_names_its_form(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - it has no text
        parse_every(text)
    if text:
        assert problems(f'CRON_EVERY="{text}" @daily x') == [
            f'joe:1: bad CRON_EVERY: "{text}"'
            " (a number, the unit d, w, mo or y, an @ and a date: 2w@2026-01-05)"
        ]


@pytest.mark.parametrize(
    ("every", "day", "reason"),
    [
        ("2w@2026-01-05", "2026-01-14", "the week of 2026-01-12 is not among these; the next one "
         "is the week of 2026-01-19"),
        ("3d@2026-01-05", "2026-01-06",
         "2026-01-06 is not among these; the next one is 2026-01-08"),
        ("2mo@2026-01-31", "2025-12-01", "2025-12 is not among these; the next one is 2026-01"),
        ("4y@2024-05-05", "2023-12-31", "2023 is not among these; the next one is 2024"),
        ("9999y@2024-01-01", "2025-01-01", "2025 is not among these"),
    ],
)  # fmt: skip
def test_the_refusal_names_the_period_and_the_next_one(every: str, day: str, reason: str) -> None:
    found = parse_every(every).refusal(datetime.date.fromisoformat(day))
    assert found == f"CRON_EVERY is {every}, and {reason}"


# ---- calendars


def test_a_calendar_finds_the_days_of_a_year_once() -> None:
    asked: list[int] = []

    def days_of(year: int) -> Iterable[datetime.date]:
        asked.append(year)
        return [datetime.date(year, 5, 1), datetime.date(year + 1, 1, 1)]

    calendar = Calendar("x", "", days_of)
    assert calendar.days_in(2026) == [datetime.date(2026, 5, 1)]
    assert datetime.date(2026, 5, 1) in calendar
    assert datetime.date(2027, 1, 1) not in calendar  # that year says so itself
    assert asked == [2026, 2027]


def test_days_of_several_calendars() -> None:
    only = DayRules(only=(CHRISTMAS, CLOSED))
    excepted = DayRules(excepted=(CHRISTMAS, CLOSED))
    for day in range(1, 32):
        date = datetime.date(2026, 12, day)
        assert only.allow(date) is (day >= 24)
        assert excepted.allow(date) is (day < 24)
    both = DayRules(only=(CLOSED,), excepted=(CHRISTMAS,))
    assert [d for d in range(1, 32) if both.allow(datetime.date(2026, 12, d))] == [*range(26, 32)]


# ---- a year, against a judge that looks at each half hour


YEAR = 2026


@cache
def half_hours(name: str) -> list[tuple[int, datetime.datetime]]:
    """Each half hour of a year in UTC seconds, and what the clock shows then."""
    start = utc(f"{YEAR}-01-01T12:00")
    seconds = range(start, start + 364 * 86_400, 1800)
    zone = ZoneInfo(name)
    return [(s, datetime.datetime.fromtimestamp(s, zone).replace(tzinfo=None)) for s in seconds]


def judge(name: str, wild: bool, matches: Callable[[datetime.datetime], bool]) -> list[int]:
    """Cron's own loop: wildcard Jobs follow the clock, fixed ones make up for what it skips."""
    fires, step = [], datetime.timedelta(minutes=30)
    seen = half_hours(name)[0][1] - step
    for second, shown in half_hours(name):
        if wild:
            due = matches(shown)
        else:
            skipped = (shown - seen) // step if shown > seen else 0
            due = any(matches(shown - number * step) for number in range(min(skipped, 8)))
        if due:
            fires.append(second)
        seen = max(seen, shown)
    return fires


def names(values: Iterable[str]) -> st.SearchStrategy[str]:
    return st.sets(st.sampled_from(list(values))).map(lambda each: ",".join(sorted(each)))


@settings(max_examples=number_of(quick=20, thorough=400), deadline=None)
@given(
    zone=st.sampled_from(["Europe/Berlin", "America/New_York", "Africa/Cairo", "America/Santiago"]),
    hour=st.sampled_from([None, 0, 1, 2, 3, 12, 23]),
    weekday=st.one_of(st.none(), st.integers(1, 6)),
    every=st.one_of(st.none(), st.builds(Every, st.integers(1, 5), st.sampled_from(Unit), DATES)),
    only=names(["months", "odd"]),
    excepted=names(["holidays", "shifts"]),
)
def test_a_year_is_that_of_a_brute_force_judge(
    zone: str, hour: int | None, weekday: int | None, every: Every | None, only: str, excepted: str
) -> None:
    days = [datetime.date(YEAR, 1, 1) + datetime.timedelta(n) for n in range(365)]
    sets = {
        "months": {day for day in days if day.month in (3, 4, 9, 10)},
        "odd": {day for day in days if day.day % 2},
        "holidays": {day for day in days if day.weekday() > 4 or day.day == 1},
        "shifts": {day for day in days if (day.month, day.day) in ((3, 8), (3, 29), (10, 25))},
    }
    calendars = {name: Calendar(name, "", partial(_of_year, found)) for name, found in sets.items()}
    assignments = {"CRON_EVERY": every, "CRON_ONLY": only, "CRON_EXCEPT": excepted}
    before = "".join(f"{key}={value} " for key, value in assignments.items() if value)
    fields = f"30 {'*' if hour is None else hour} * * {'*' if weekday is None else weekday}"
    table = parse(f"{before}{fields} x\n", Source("a", "a"), ReaderContext(calendars=calendars))
    if table.errors:
        assert "would never run" in str(table.errors[0])
        return
    (job,) = table.jobs

    def matches(shown: datetime.datetime) -> bool:
        day = shown.date()
        return (
            shown.minute == 30
            and hour in (None, shown.hour)
            and weekday in (None, day.isoweekday())
            and (every is None or chosen_by_hand(every, day))
            and (not only or any(day in sets[name] for name in only.split(",")))
            and not any(day in sets[name] for name in excepted.split(",") if name)
        )

    window = half_hours(zone)[0][0], half_hours(zone)[-1][0] + 1
    found = list(fire_times(job.schedule, Zone(zone, ZoneInfo(zone)), *window))
    assert found == judge(zone, hour is None, matches)


def _of_year(days: set[datetime.date], year: int) -> list[datetime.date]:
    return [day for day in days if day.year == year]


@settings(max_examples=60, deadline=None)
@given(
    seconds=st.sampled_from([1800, 5400, 86_400, 100_800]),
    every=st.builds(Every, st.integers(1, 9), st.sampled_from([Unit.DAY, Unit.WEEK]), DATES),
    zone=st.sampled_from(["Europe/Berlin", "America/Goose_Bay", "Africa/Cairo", "Asia/Kathmandu"]),
    start=st.sampled_from(["2026-01-01T00:00", "2026-03-20T00:00", "2010-10-25T00:00"]),
)
def test_an_interval_is_due_on_the_days_of_its_rules(
    seconds: int, every: Every, zone: str, start: str
) -> None:
    where = Zone(zone, ZoneInfo(zone))
    job = only_job(f"CRON_EVERY={every} @every {seconds}s x")
    first, last = utc(start), utc(start) + 30 * 86_400
    expected = [
        fire
        for fire in range(-(-first // seconds) * seconds, last, seconds)
        if chosen_by_hand(every, where.local(fire).date())
    ]
    assert list(fire_times(job.schedule, where, first, last)) == expected


def test_a_day_that_begins_in_a_gap_is_the_day_that_the_entry_names() -> None:
    """In Cairo 2026-04-24 begins at 01:00: what is due at 00:00 then belongs to that day."""
    cairo = Zone("Africa/Cairo", ZoneInfo("Africa/Cairo"))
    assert due("CRON_EVERY=2d@2026-04-24 0 0 * * * x", "2026-04-21T12:00", "2026-04-27T12:00",
               cairo) == ["2026-04-22 00:00", "2026-04-24 01:00", "2026-04-26 00:00"]  # fmt: skip


def test_a_calendar_whose_days_are_over_ends_the_search() -> None:
    asked: list[int] = []
    over = Calendar("over", "", lambda year: asked.append(year) or [])  # type: ignore[func-returns-value]
    table = parse("CRON_ONLY=over * * * * * x\n", Source("a", "a"),
                  ReaderContext(calendars={"over": over}))  # fmt: skip
    assert next_fire(table.jobs[0].schedule, UTC, utc("2026-01-01T00:00")) is None
    assert next_fire(table.jobs.times(0), UTC, utc("2026-01-01T00:00")) is None
    assert len(asked) <= 12


def test_the_last_fire_times_before_a_time() -> None:
    job = only_job("CRON_EVERY=1mo@2026-01-01 CRON_ONLY=christmas 0 0 * * * x")
    found = last_fire_times(job.schedule, UTC, 0, utc("2026-07-01T00:00"), 1)
    assert found == [utc("2025-12-25T00:00")]


# ---- as settings of a table


def test_settings_above_hold_for_the_entries_below() -> None:
    first, second, third = jobs(
        "CRON_EXCEPT=closed\n@daily a\nCRON_EXCEPT='' @daily b\n@every 1h c"
    )
    assert first.schedule != second.schedule
    assert explain(first.schedule) == "at 00:00, not on the days of closed"
    assert explain(second.schedule) == "at 00:00"
    assert explain(third.schedule).endswith("1970-01-01T00:00Z, not on the days of closed")


def test_a_schedule_in_words() -> None:
    job = only_job("CRON_EVERY=2w@2026-01-07 CRON_ONLY=closed,christmas 0 9 * * mon x")
    assert explain(job.schedule) == (
        "at 09:00, on Monday, only every 2 weeks, counted from the week of 2026-01-05, "
        "only on the days of closed, christmas"
    )


def test_an_unknown_calendar_is_an_error() -> None:
    message = (
        'bad CRON_EXCEPT: "xmas" (no such calendar in [calendars] of the configuration; it has'
    )
    assert problems("CRON_EXCEPT=closed,xmas @daily x") == [f"joe:1: {message} christmas, closed)"]
    nothing = ReaderContext(calendars={})
    assert problems("CRON_EXCEPT=xmas @daily x", nothing) == [f"joe:1: {message} none)"]


def test_where_the_configuration_cannot_be_read_calendars_are_not_known() -> None:
    assert problems("CRON_ONLY=xmas @daily x", ReaderContext()) == [
        'joe:1: warning: CRON_ONLY: "xmas": the configuration cannot be read here, '
        "so this calendar is not known"
    ]


@pytest.mark.parametrize(
    "text",
    ["CRON_EVERY=7d@2026-01-05 0 0 * * tue", "CRON_EVERY=2mo@2026-01-01 0 0 1 feb *",
     "CRON_EVERY=2y@2025-01-01 0 0 29 2 *"],
)  # fmt: skip
def test_fields_that_choose_other_days_are_refused(text: str) -> None:
    (problem,) = parse(f"{text} x\n", Source("joe", "joe"), CONTEXT).problems
    assert problem.code == "never-fires"


def test_packed_schedules_have_the_rules_of_their_entries() -> None:
    """Two entries with equal fields: the queue of a table must not share their next fire time."""
    table = parse(
        "CRON_EXCEPT=closed 0 0 * * * a\n0 0 * * * b\n", Source("joe", "joe"), CONTEXT
    ).jobs
    for index, job in enumerate(table):
        after = utc("2026-12-24T12:00")
        assert next_fire(table.times(index), UTC, after) == next_fire(job.schedule, UTC, after)
    assert table.packed(0) == table.packed(1)
    assert table.times(0) != table.times(1)


def test_the_settings_as_a_text() -> None:
    text = "CRON_EVERY=2w@2026-01-05 CRON_ONLY=christmas CRON_EXCEPT=closed,christmas"
    settings_of = only_job(f"{text} @daily x").settings
    assert day_settings(settings_of) == text
    rules = day_rules(parse_day_settings(text), CALENDARS)
    assert rules == only_job(f"{text} @daily x").schedule.rules  # type: ignore[union-attr]
    assert day_settings(only_job("@daily x").settings) is None
    assert day_rules(parse_day_settings(""), CALENDARS) is None


# ---- why


@pytest.mark.parametrize(
    ("text", "time", "verdict", "reason"),
    [
        ("CRON_EXCEPT=closed @daily x", "2026-12-26T00:00", Verdict.NOT_DUE,
         "2026-12-26 is in the calendar closed (CRON_EXCEPT)"),
        ("CRON_EXCEPT=closed @daily x", "2026-12-26T01:00", Verdict.NOT_DUE,
         "hour says 0 and was 1"),
        ("CRON_ONLY=closed,christmas @daily x", "2026-12-23T00:00", Verdict.NOT_DUE,
         "2026-12-23 is in no calendar of CRON_ONLY: closed, christmas"),
        ("CRON_EVERY=2w@2026-01-05 0 9 * * mon x", "2026-01-12T09:00", Verdict.NOT_DUE,
         "CRON_EVERY is 2w@2026-01-05, and the week of 2026-01-12 is not among these; the next one "
         "is the week of 2026-01-19"),
        ("CRON_EVERY=2w@2026-01-05 @every 1h x", "2026-01-12T09:00", Verdict.NOT_DUE,
         "CRON_EVERY is 2w@2026-01-05, and the week of 2026-01-12 is not among these; the next one "
         "is the week of 2026-01-19"),
        ("CRON_EVERY=2w@2026-01-05 0 9 * * mon x", "2026-01-19T09:00", Verdict.WILL_BE_DUE,
         "at 09:00, on Monday, only every 2 weeks, counted from the week of 2026-01-05"),
    ],
)  # fmt: skip
def test_why(text: str, time: str, verdict: Verdict, reason: str) -> None:
    schedule = only_job(text).schedule
    asked = AskedTime(utc(time), wall=True)
    local = local_time(asked, schedule, BERLIN)
    answer = diagnose(schedule, BERLIN, local, Evidence(utc("2026-01-01T00:00")))
    assert (answer.verdict, answer.reason) == (verdict, reason)
