"""Fire times: cron's rule for shifted clocks, in zones of every kind.

The reference of the random tests is cron's own loop (cron.c), without pycron's Zone: it looks at
the clock every minute, and a virtual minute follows the clock.
"""

import datetime
import importlib.resources
import json
import os
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from croniter import croniter
from hypothesis import given
from hypothesis import strategies as st

from pycron.schedule.expressions import (
    CronSchedule,
    NoSchedule,
    Schedule,
    ScheduleError,
    parse_cron,
    parse_nickname,
)
from pycron.schedule.fields import FieldError
from pycron.schedule.fire_times import fire_times, follows_the_wall, has_fire_times, next_fire
from pycron.schedule.zone import END_OF_TIME, Zone

MINUTE, DAY = 60, 86_400
Window = tuple[int, int]


@cache
def rules(name: str) -> ZoneInfo:
    """From the tzdata package, not from the machine: the tests depend on its contents."""
    file = importlib.resources.files("tzdata").joinpath("zoneinfo", *name.split("/"))
    with file.open("rb") as data:
        return ZoneInfo.from_file(data, key=name)


@cache
def zone(name: str) -> Zone:
    return Zone(name, rules(name))


def schedule(text: str) -> Schedule:
    if text.startswith("@"):
        return parse_nickname(*text.split())
    minute, hour, day_of_month, month, day_of_week = text.split()
    return parse_cron((minute, hour, day_of_month, month, day_of_week))


def utc(text: str) -> int:
    return int(datetime.datetime.fromisoformat(f"{text}+00:00").timestamp())


def fired(text: str, name: str, date: str, days: int = 1) -> list[str]:
    """The fire times of some local days, as local times with their offsets."""
    start = datetime.datetime.fromisoformat(date).replace(tzinfo=rules(name))
    window = int(start.timestamp()), int((start + datetime.timedelta(days=days)).timestamp())
    return [
        f"{zone(name).local(fire):%d %H:%M %z}"
        for fire in fire_times(schedule(text), zone(name), *window)
    ]


def at(day: int, offset: str, times: str) -> list[str]:
    return [f"{day:02} {time} {offset}" for time in times.split()]


def hourly(day: int, offset: str, first: int, minute: int = 0) -> list[str]:
    return [f"{day:02} {hour:02}:{minute:02} {offset}" for hour in range(first, 24)]


# ---- the table: in pairs, each with its transition; then wildcard Jobs, then fixed ones

NEW_YORK_SPRING = [
    # 2026-03-08 02:00 -0500 -> 03:00 -0400
    ("0 * * * *", at(8, "-0500", "00:00 01:00") + hourly(8, "-0400", 3)),
    ("30 */2 * * *", ["08 00:30 -0500"] + [f"08 {h:02}:30 -0400" for h in range(4, 24, 2)]),
    ("*/30 2 * * *", []),
    ("*/20 1-3 * * *", at(8, "-0500", "01:00 01:20 01:40") + at(8, "-0400", "03:00 03:20 03:40")),
    ("30 1 * * *", ["08 01:30 -0500"]),
    ("0 2 * * *", ["08 03:00 -0400"]),
    ("30 2 * * *", ["08 03:00 -0400"]),
    ("59 2 * * *", ["08 03:00 -0400"]),
    ("5,35 2 * * *", ["08 03:00 -0400"]),  # one fire time; Vixie cron runs it twice
    ("0-59/15 2 * * *", ["08 03:00 -0400"]),
    ("0 3 * * *", ["08 03:00 -0400"]),
    ("0 2,3 * * *", ["08 03:00 -0400"]),
    ("15 1-3 * * *", ["08 01:15 -0500", "08 03:00 -0400", "08 03:15 -0400"]),
    ("30 2 9 * *", []),
    ("30 2 * * mon", []),
]  # fmt: skip

NEW_YORK_AUTUMN = [
    # 2026-11-01 02:00 -0400 -> 01:00 -0500
    ("0 0-2 * * *", ["01 00:00 -0400", "01 01:00 -0400", "01 02:00 -0500"]),
    ("0 * * * *", at(1, "-0400", "00:00 01:00") + hourly(1, "-0500", 1)),
    ("*/30 1 * * *", ["01 01:00 -0400", "01 01:30 -0400", "01 01:00 -0500", "01 01:30 -0500"]),
    ("0,30 1 * * *", ["01 01:00 -0400", "01 01:30 -0400"]),
    ("30 1 * * *", ["01 01:30 -0400"]),
    ("59 1 * * *", ["01 01:59 -0400"]),
    ("0 2 * * *", ["01 02:00 -0500"]),
    ("15 1-3 * * *", ["01 01:15 -0400", "01 02:15 -0500", "01 03:15 -0500"]),
    ("@daily", ["01 00:00 -0400"]),
]  # fmt: skip

BERLIN_SPRING = [
    # 2026-03-29 02:00 +0100 -> 03:00 +0200
    ("*/30 1-3 * * *", ["29 01:00 +0100", "29 01:30 +0100", "29 03:00 +0200", "29 03:30 +0200"]),
    ("30 2 * * *", ["29 03:00 +0200"]),
    ("30 2 29 3 *", ["29 03:00 +0200"]),
    ("0 3 * * sun", ["29 03:00 +0200"]),
]
BERLIN_AUTUMN = [
    # 2026-10-25 03:00 +0200 -> 02:00 +0100
    ("*/30 2 * * *", ["25 02:00 +0200", "25 02:30 +0200", "25 02:00 +0100", "25 02:30 +0100"]),
    ("30 2 * * *", ["25 02:30 +0200"]),
    ("0 3 * * *", ["25 03:00 +0100"]),
]

LORD_HOWE_SPRING = [
    # 2026-10-04 02:00 +1030 -> 02:30 +1100: half an hour
    ("*/15 2 * * *", ["04 02:30 +1100", "04 02:45 +1100"]),
    ("0,15 2 * * *", ["04 02:30 +1100"]),
    ("15,45 2 * * *", ["04 02:30 +1100", "04 02:45 +1100"]),
]
LORD_HOWE_AUTUMN = [
    # 2026-04-05 02:00 +1100 -> 01:30 +1030
    ("*/15 1 * * *", at(5, "+1100", "01:00 01:15 01:30 01:45") + at(5, "+1030", "01:30 01:45")),
    ("15,45 1 * * *", ["05 01:15 +1100", "05 01:45 +1100"]),
]  # fmt: skip

TROLL_SPRING = [
    # 2026-03-29 01:00 +0000 -> 03:00 +0200: two hours
    ("0 */1 * * *", at(29, "+0000", "00:00") + hourly(29, "+0200", 3)),
    ("30 1 * * *", ["29 03:00 +0200"]),
    ("30 2 * * *", ["29 03:00 +0200"]),
    ("30 1,2,3 * * *", ["29 03:00 +0200", "29 03:30 +0200"]),
]
TROLL_AUTUMN = [
    # 2026-10-25 03:00 +0200 -> 01:00 +0000
    ("30 */1 * * *", at(25, "+0200", "00:30 01:30 02:30") + hourly(25, "+0000", 1, 30)),
    ("30 1,2,3 * * *", ["25 01:30 +0200", "25 02:30 +0200", "25 03:30 +0000"]),
]  # fmt: skip

CAIRO_SPRING = [
    # 2026-04-24 00:00 +0200 -> 01:00 +0300: at midnight
    ("0 0 * * *", ["24 01:00 +0300"]),
    ("@daily", ["24 01:00 +0300"]),
    ("@hourly", hourly(24, "+0300", 1)),
    ("30 0 24 * *", ["24 01:00 +0300"]),
    ("0 0 23 * *", []),
]
CAIRO_AUTUMN = [
    # 2026-10-30 00:00 +0300 -> 2026-10-29 23:00 +0200
    ("30 23 * * *", ["29 23:30 +0300"]),
    ("*/30 23 * * *", ["29 23:00 +0300", "29 23:30 +0300", "29 23:00 +0200", "29 23:30 +0200"]),
]

DUBLIN_SPRING = [
    # 2026-03-29 01:00 +0000 -> 02:00 +0100: standard time, by the law; winter is the exception
    ("30 1 * * *", ["29 02:00 +0100"]),
    ("*/30 1 * * *", []),
]
DUBLIN_AUTUMN = [
    # 2026-10-25 02:00 +0100 -> 01:00 +0000
    ("30 1 * * *", ["25 01:30 +0100"]),
    ("*/30 1 * * *", ["25 01:00 +0100", "25 01:30 +0100", "25 01:00 +0000", "25 01:30 +0000"]),
]

CHATHAM_SPRING = [
    # 2026-09-27 02:45 +1245 -> 03:45 +1345
    ("*/15 2,3 * * *", ["27 02:00 +1245", "27 02:15 +1245", "27 02:30 +1245", "27 03:45 +1345"]),
    ("0 3 * * *", ["27 03:45 +1345"]),
    ("45 3 * * *", ["27 03:45 +1345"]),
]
CHATHAM_AUTUMN = [
    # 2026-04-05 03:45 +1345 -> 02:45 +1245
    ("0 3 * * *", ["05 03:00 +1345"]),
    ("0,50 3 * * *", ["05 03:00 +1345", "05 03:50 +1245"]),
    ("30 */1 5 * *", at(5, "+1345", "00:30 01:30 02:30 03:30") + hourly(5, "+1245", 3, 30)),
]  # fmt: skip

SANTIAGO_SPRING = [
    # 2026-09-06 00:00 -0400 -> 01:00 -0300: a southern zone, at midnight
    ("0 0 * * *", ["06 01:00 -0300"]),
    ("*/30 0-1 * * *", ["06 01:00 -0300", "06 01:30 -0300"]),
]
SANTIAGO_AUTUMN = [
    # 2026-04-05 00:00 -0300 -> 2026-04-04 23:00 -0400
    ("59 23 * * *", ["04 23:59 -0300"]),
    ("59 * * * sat", hourly(4, "-0300", 0, 59) + at(4, "-0400", "23:59")),
]

# Offsets changed for good
PYONGYANG_SPRING = [
    # 2018-05-04 23:30 +0830 -> 2018-05-05 00:00 +0900
    ("45 23 * * *", ["05 00:00 +0900"]),
    ("*/10 23 * * *", ["04 23:00 +0830", "04 23:10 +0830", "04 23:20 +0830"]),
]
CARACAS_SPRING = [
    # 2016-05-01 02:30 -0430 -> 03:00 -0400
    ("45 2 * * *", ["01 03:00 -0400"]),
    ("*/15 2 * * *", ["01 02:00 -0430", "01 02:15 -0430"]),
]
CARACAS_AUTUMN = [
    # 2007-12-09 03:00 -0400 -> 02:30 -0430
    ("45 2 * * *", ["09 02:45 -0400"]),
    ("*/30 2 * * *", ["09 02:00 -0400", "09 02:30 -0400", "09 02:30 -0430"]),
]
MONROVIA_SPRING = [
    # 1972-01-07 00:00 -004430 -> 00:44:30 +0000: minutes begin anew, within one of them
    ("30 0 * * *", ["07 00:44 +0000"]),
    ("*/15 0 * * *", ["07 00:45 +0000"]),
    ("0 1 * * *", ["07 01:00 +0000"]),
]
APIA_SPRING = [
    # 2011-12-29 24:00 -1000 -> 2011-12-31 00:00 +1400: a skipped day; nothing is made up for
    ("0 12 * * *", ["29 12:00 -1000", "31 12:00 +1400"]),
    ("0 12 30 * *", []),
    ("0 0 * * *", ["29 00:00 -1000", "31 00:00 +1400"]),
    ("0 */12 * * *", ["29 00:00 -1000", "29 12:00 -1000", "31 00:00 +1400", "31 12:00 +1400"]),
]
KWAJALEIN_AUTUMN = [
    # 1969-10-01 00:00 +1100 -> 1969-09-30 01:00 -1200: a repeated day; nothing is held back
    ("0 18 * * *", ["29 18:00 +1100", "30 18:00 +1100", "30 18:00 -1200"]),
]

CASES = [
    ("America/New_York", "2026-03-08", 1, NEW_YORK_SPRING),
    ("America/New_York", "2026-11-01", 1, NEW_YORK_AUTUMN),
    ("Europe/Berlin", "2026-03-29", 1, BERLIN_SPRING),
    ("Europe/Berlin", "2026-10-25", 1, BERLIN_AUTUMN),
    ("Australia/Lord_Howe", "2026-10-04", 1, LORD_HOWE_SPRING),
    ("Australia/Lord_Howe", "2026-04-05", 1, LORD_HOWE_AUTUMN),
    ("Antarctica/Troll", "2026-03-29", 1, TROLL_SPRING),
    ("Antarctica/Troll", "2026-10-25", 1, TROLL_AUTUMN),
    ("Africa/Cairo", "2026-04-24", 1, CAIRO_SPRING),
    ("Africa/Cairo", "2026-10-29", 1, CAIRO_AUTUMN),
    ("Europe/Dublin", "2026-03-29", 1, DUBLIN_SPRING),
    ("Europe/Dublin", "2026-10-25", 1, DUBLIN_AUTUMN),
    ("Pacific/Chatham", "2026-09-27", 1, CHATHAM_SPRING),
    ("Pacific/Chatham", "2026-04-05", 1, CHATHAM_AUTUMN),
    ("America/Santiago", "2026-09-06", 1, SANTIAGO_SPRING),
    ("America/Santiago", "2026-04-04", 1, SANTIAGO_AUTUMN),
    ("Asia/Pyongyang", "2018-05-04T12:00", 1, PYONGYANG_SPRING),
    ("America/Caracas", "2016-05-01", 1, CARACAS_SPRING),
    ("America/Caracas", "2007-12-09", 1, CARACAS_AUTUMN),
    ("Africa/Monrovia", "1972-01-07", 1, MONROVIA_SPRING),
    ("Pacific/Apia", "2011-12-29", 3, APIA_SPRING),
    ("Pacific/Kwajalein", "1969-09-29", 2, KWAJALEIN_AUTUMN),
]


@pytest.mark.parametrize(
    ("name", "date", "days", "text", "expected"),
    [(name, date, days, *row) for name, date, days, rows in CASES for row in rows],
)
def test_a_shifted_clock(name: str, date: str, days: int, text: str, expected: list[str]) -> None:
    assert fired(text, name, date, days) == expected


# ---- single rules


def test_the_next_fire_time_is_later() -> None:
    berlin = zone("Europe/Berlin")
    gap = utc("2026-03-29T01:00")
    assert next_fire(schedule("30 2 * * *"), berlin, gap - 1) == gap
    assert next_fire(schedule("30 2 * * *"), berlin, gap) == utc("2026-03-30T00:30")
    assert next_fire(schedule("* * * * *"), berlin, gap) == gap + MINUTE


def test_a_window_has_its_start_and_not_its_end() -> None:
    noon = utc("2026-01-01T12:00")
    found = fire_times(schedule("* * * * *"), zone("UTC"), noon, noon + 2 * MINUTE)
    assert list(found) == [noon, noon + MINUTE]


def test_an_interval_counts_from_the_epoch() -> None:
    every = schedule("@every 7h")
    assert next_fire(every, zone("America/New_York"), 0) == 7 * 3600
    assert next_fire(every, zone("UTC"), 7 * 3600) == 14 * 3600
    assert list(fire_times(schedule("@every 90s"), zone("UTC"), 0, 200)) == [0, 90, 180]


def test_reboot_has_no_fire_time() -> None:
    assert next_fire(schedule("@reboot"), zone("UTC"), 0) is None
    assert next_fire(NoSchedule(), zone("UTC"), 0) is None
    assert not has_fire_times(schedule("@reboot"))
    assert not has_fire_times(NoSchedule())
    assert has_fire_times(schedule("@every 90s"))


def test_there_are_no_fire_times_after_the_end_of_time() -> None:
    tokyo = Zone("Asia/Tokyo", rules("Asia/Tokyo"))
    assert next_fire(schedule("* * * * *"), tokyo, END_OF_TIME) is None
    leap_days = fire_times(schedule("0 0 29 2 *"), tokyo, utc("9995-01-01T00:00"), END_OF_TIME)
    assert list(leap_days) == [utc("9996-02-28T15:00")]


def test_a_leap_day_is_found_over_a_century_that_has_none() -> None:
    fire = next_fire(schedule("0 12 29 2 *"), zone("Europe/Berlin"), utc("2096-03-01T00:00"))
    assert fire == utc("2104-02-29T11:00")
    sunday = next_fire(schedule("0 12 29 2 */7"), zone("UTC"), utc("2088-03-01T00:00"))
    assert sunday == utc("2128-02-29T12:00")


@pytest.mark.parametrize(
    ("text", "follows"),
    [
        ("* * * * *", True),
        ("5 4 * * *", False),
        ("@hourly", True),
        ("@daily", False),
        ("@every 5m", True),
    ],
)
def test_wildcards_and_intervals_follow_the_wall(text: str, follows: bool) -> None:
    assert follows_the_wall(schedule(text)) is follows


@pytest.mark.parametrize(
    "text",
    ["*/7 3 * * *", "0 */5 * * *", "0 0 1,15 * *", "30 4 1,15 * 5", "0 0 * * 1-5", "5 0 * 8 *"],
)
def test_croniter_agrees_where_no_clock_is_shifted(text: str) -> None:
    reference = croniter(text, utc("2024-01-01T00:00"))
    found = fire_times(schedule(text), zone("UTC"), utc("2024-01-01T00:01"), END_OF_TIME)
    assert [fire for fire, _ in zip(found, range(200), strict=False)] == [
        int(reference.get_next()) for _ in range(200)
    ]


# ---- the reference: the loop of cron.c


class Line:
    """An entry for the reference: sets of values, and cron's flags."""

    def __init__(self, *fields: tuple[str, set[int]]) -> None:
        self.text = " ".join(text for text, _ in fields)
        self.minute, self.hour, self.day_of_month, self.month, self.day_of_week = (
            values for _, values in fields
        )
        stars = [text.startswith("*") for text, _ in fields]
        self.wildcard = stars[0] or stars[1]
        self.both = stars[2] or stars[4]

    def __repr__(self) -> str:
        return self.text

    def matches(self, wall_minute: int) -> bool:
        moment = datetime.datetime(1970, 1, 1) + datetime.timedelta(minutes=wall_minute)
        if moment.minute not in self.minute or moment.hour not in self.hour:
            return False
        by_date = moment.day in self.day_of_month
        by_week = moment.isoweekday() % 7 in self.day_of_week
        day = (by_date and by_week) if self.both else (by_date or by_week)
        return day and moment.month in self.month


@cache
def wall_minutes(name: str, transition: str) -> list[tuple[int, int, bool]]:
    """(UTC second, wall minute, whether it begins) of some days, with jumps into a minute."""
    middle = utc(transition)
    found = []
    last = None
    for second in range(middle - 2 * DAY, middle + 3 * DAY, 30):
        offset = datetime.datetime.fromtimestamp(second, rules(name)).utcoffset()
        assert offset is not None
        wall = second + round(offset.total_seconds())
        if wall % 60 == 0 or (last is not None and wall - last != 30):
            found.append((second, wall // 60, wall % 60 == 0))
        last = wall
    return found


def cron_loop(line: Line, name: str, transition: str, window: Window) -> list[int]:
    """When cron would run a line: at most once each time that it looks at the clock."""
    fires = []
    virtual = None
    for second, wall, begins in wall_minutes(name, transition):
        if virtual is None or abs(wall - virtual) > 180:
            virtual = wall - 1
        if line.wildcard or wall <= virtual:  # set back: fixed lines wait until it has caught up
            due = line.wildcard and begins and line.matches(wall)
        else:
            due = any(line.matches(minute) for minute in range(virtual + 1, wall + 1))
        if due and window[0] <= second < window[1]:
            fires.append(second)
        virtual = max(virtual, wall)
    return fires


# The fields come with their values, so the reference parses nothing.


def fields(low: int, high: int) -> st.SearchStrategy[tuple[str, set[int]]]:
    """A field: star, star with a step, values, a range with a step, a list that holds all."""
    everything = set(range(low, high + 1))
    value = st.integers(low, high)
    step = st.integers(1, min(high - low, 31))
    return st.one_of(
        st.just(("*", everything)),
        step.map(lambda n: (f"*/{n}", set(range(low, high + 1, n)))),
        st.sets(value, min_size=1, max_size=4).map(
            lambda chosen: (",".join(map(str, sorted(chosen))), chosen)
        ),
        st.tuples(value, value, step).map(
            lambda t: (
                f"{min(t[:2])}-{max(t[:2])}/{t[2]}",
                set(range(min(t[:2]), max(t[:2]) + 1, t[2])),
            )
        ),
        st.just((f"{low}-{high}", everything)),
    )


LINES = st.builds(
    Line,
    fields(0, 59),
    # Mostly the hours in which clocks are shifted
    st.one_of(fields(0, 23), st.sampled_from([("1-3", {1, 2, 3}), ("2", {2}), ("0,23", {0, 23})])),
    st.one_of(st.just(("*", set(range(1, 32)))), fields(1, 31)),
    st.just(("*", set(range(1, 13)))),
    st.one_of(st.just(("*", set(range(7)))), fields(0, 6)),
)

TRANSITIONS = [
    ("America/New_York", "2026-03-08T07:00"),
    ("America/New_York", "2026-11-01T06:00"),
    ("Europe/Berlin", "2026-03-29T01:00"),
    ("Europe/Berlin", "2026-10-25T01:00"),
    ("Europe/Dublin", "2026-10-25T01:00"),
    ("Australia/Lord_Howe", "2026-10-03T15:30"),
    ("Australia/Lord_Howe", "2026-04-04T15:00"),
    ("Antarctica/Troll", "2026-03-29T01:00"),
    ("Antarctica/Troll", "2026-10-25T01:00"),
    ("Africa/Cairo", "2026-04-23T22:00"),
    ("Africa/Cairo", "2026-10-29T21:00"),
    ("Pacific/Chatham", "2026-09-26T14:00"),
    ("Pacific/Chatham", "2026-04-04T14:00"),
    ("America/Santiago", "2026-09-06T04:00"),
    ("America/Santiago", "2026-04-05T03:00"),
    ("America/Caracas", "2016-05-01T07:00"),
    ("America/Caracas", "2007-12-09T07:00"),
    ("Asia/Pyongyang", "2018-05-04T15:00"),
    ("Asia/Pyongyang", "2015-08-14T15:00"),
    ("Pacific/Apia", "2011-12-30T10:00"),
    ("Africa/Monrovia", "1972-01-07T00:44"),
    ("Asia/Kathmandu", "1985-12-31T18:30"),
    ("Africa/Casablanca", "2026-02-15T02:00"),
    ("Europe/Lisbon", "1992-09-27T01:00"),
    ("America/Scoresbysund", "2024-03-31T01:00"),
    ("UTC", "2026-01-01T00:00"),
]


@given(LINES, st.sampled_from(TRANSITIONS), st.integers(-30, 30), st.integers(1, 36))
def test_any_schedule_has_the_fire_times_of_crons_algorithm(
    line: Line, where: tuple[str, str], offset: int, length: int
) -> None:
    name, transition = where
    start = utc(transition) + offset * 1800
    window = start, start + length * 3600
    try:
        found = list(fire_times(schedule(line.text), zone(name), *window))
    except ScheduleError:
        found = []  # no month has such a day: the reference finds none either
    assert found == cron_loop(line, name, transition, window)


@given(LINES, st.sampled_from(TRANSITIONS), st.integers(-DAY, DAY))
def test_fire_times_do_not_depend_on_the_start_of_the_search(
    line: Line, where: tuple[str, str], shift: int
) -> None:
    """Also with a new Zone: the stretches that a Zone has found must not change a result."""
    name, transition = where
    after = utc(transition) + shift
    try:
        plan = schedule(line.text)
    except ScheduleError:
        return
    fresh = Zone(name, rules(name))
    fire = next_fire(plan, fresh, after)
    assert fire is not None
    assert fire > after
    assert list(fire_times(plan, zone(name), after + 1, fire + 1)) == [fire]
    assert next_fire(plan, fresh, fire - 1) == fire


# ---- recordings of real daemons

RECORDED = Path(os.environ.get("PYCRON_RECORDED", "/nowhere"))
needs_recordings = pytest.mark.skipif(
    not RECORDED.is_dir(), reason="PYCRON_RECORDED does not name the folder of recorded firings"
)


def recordings(pattern: str) -> Iterator[Any]:
    for path in sorted(RECORDED.glob(pattern)):
        yield json.loads(path.read_text())


def seconds(instants: Iterable[str]) -> set[int]:
    return {utc(instant.removesuffix("Z")) for instant in instants}


def refused_for_a_reason(text: str) -> bool:
    """Some texts that cron accepts are errors here: it never runs them, or reads them otherwise."""
    with pytest.raises((FieldError, ScheduleError)) as caught:
        schedule(text)
    message = str(caught.value)
    return "runs backwards" in message or "never run" in message


def readable(text: str) -> bool:
    try:
        schedule(text)
    except (FieldError, ScheduleError):
        assert refused_for_a_reason(text), text
        return False
    return True


@needs_recordings
def test_fire_times_are_those_recorded_of_debians_cron() -> None:
    checked = 0
    for recording in recordings("debian__*.json"):
        window = [utc(instant.removesuffix("Z")) for instant in recording["window_utc"]]
        for row in recording["lines"]:
            if not readable(row["line"]):
                continue
            plan = schedule(row["line"])
            if isinstance(plan, CronSchedule):
                assert plan.wildcard is row["wild"], row["line"]
            found = set(fire_times(plan, zone(recording["zone"]), window[0], window[1]))
            seen = seconds(row["fired"])
            if row.get("spill_past_first_minute"):
                # Cron pauses between 60 runs that it makes up for: they take it some minutes.
                gap = utc(recording["transition_utc"].removesuffix("Z"))
                seen -= set(range(gap + MINUTE, gap + 3600, MINUTE)) - found
            assert found == seen, row["line"]
            checked += 1
    assert checked > 100


@needs_recordings
def test_fire_times_of_ordinary_days() -> None:
    (recording,) = recordings("utc_3day.json")
    window = [utc(instant.removesuffix("Z")) for instant in recording["window_utc"]]
    for row in recording["lines"]:
        if readable(row["line"]):
            found = set(fire_times(schedule(row["line"]), zone("UTC"), window[0], window[1]))
            assert (found, len(found)) == (seconds(row["fired"]), row["count"]), row["line"]
        else:
            assert not row["count"] or "/" in row["line"], row["line"]
