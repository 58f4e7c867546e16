"""Zones: where the offset changes, against the zone files themselves and against zoneinfo."""

import datetime
import importlib.resources
import struct
from functools import cache
from itertools import pairwise
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from pycron.schedule.zone import LONGEST_SHIFT, UTC, Stretch, Zone
from tests.support.thoroughness import slow_after

DAY = 86_400


def utc(text: str) -> int:
    return int(datetime.datetime.fromisoformat(f"{text}+00:00").timestamp())


BEGIN, END, LAST = utc("1970-01-01T00:00"), utc("2038-01-01T00:00"), utc("2099-01-01T00:00")

# Unusual shifts: by 20 and 30 minutes, two hours, a day; at midnight, at odd seconds; for Ramadan
ODD = (
    "America/New_York", "Europe/Berlin", "Europe/Dublin", "Australia/Lord_Howe", "Antarctica/Troll",
    "Africa/Cairo", "Africa/Casablanca", "Africa/Monrovia", "Pacific/Chatham", "Pacific/Apia",
    "Asia/Pyongyang", "America/Caracas", "America/Sao_Paulo", "Asia/Kathmandu", "Asia/Gaza",
    "Antarctica/Casey", "Asia/Dhaka", "America/Scoresbysund", "Europe/Lisbon", "Asia/Tehran",
    "Pacific/Kwajalein", "America/Argentina/San_Luis", "Africa/Accra", "UTC", "Etc/GMT+12",
)  # fmt: skip


def zone_files() -> Path:
    return Path(str(importlib.resources.files("tzdata")))


ALL = sorted((zone_files() / "zones").read_text().split())


@cache
def rules(name: str) -> ZoneInfo:
    """From the tzdata package, not from the machine: the tests depend on its contents."""
    with (zone_files() / "zoneinfo" / name).open("rb") as file:
        return ZoneInfo.from_file(file, key=name)


@cache
def zone(name: str) -> Zone:
    return Zone(name, rules(name))


def stretches(zone: Zone, start: int, end: int) -> list[Stretch]:
    found = [zone.stretch_at(start)]
    while found[-1].end < end:
        found.append(zone.stretch_at(found[-1].end))
    return found


def changes(zone: Zone, start: int, end: int) -> list[tuple[int, int]]:
    """(UTC second, offset from then on) in (start, end)."""
    found = stretches(zone, start, end)
    pairs = pairwise(found)
    return [(b.start, b.offset) for a, b in pairs if a.offset != b.offset and b.start < end]


def changes_in_file(name: str) -> list[tuple[int, int]]:
    """The same from the second block of a TZif file (RFC 9636), without the rule at its end."""
    data = (zone_files() / "zoneinfo" / name).read_bytes()
    isutc, isstd, leap, times, types, chars = struct.unpack_from(">6l", data, 20)
    at = 44 + times * 5 + types * 6 + chars + leap * 8 + isstd + isutc
    _, _, _, times, types, chars = struct.unpack_from(">6l", data, at + 20)
    at += 44
    instants = struct.unpack_from(f">{times}q", data, at)
    indices = data[at + times * 8 : at + times * 9]
    at += times * 9
    offsets = [struct.unpack_from(">l", data, at + index * 6)[0] for index in range(types)]
    found = []
    last = offsets[0]
    for instant, index in zip(instants, indices, strict=True):
        if offsets[index] != last:
            last = offsets[index]
            found.append((instant, last))
    return found


@pytest.mark.parametrize("part", slow_after(2, range(8)))
def test_every_change_in_every_zone_file_is_found(part: int) -> None:
    """Also two changes within one day: zone files have each change to the second."""
    seen = set()
    for name in ALL[part::8]:
        content = (zone_files() / "zoneinfo" / name).read_bytes()
        if content in seen:
            continue  # a second name of the same zone
        seen.add(content)
        listed = [change for change in changes_in_file(name) if BEGIN < change[0] < END]
        until = listed[-1][0] + 1 if listed else BEGIN + 1
        assert changes(zone(name), BEGIN, until) == listed, name


@pytest.mark.parametrize("name", slow_after(
    1, ["Australia/Lord_Howe", "America/New_York", "Antarctica/Troll"],
))  # fmt: skip
def test_the_rule_for_the_years_to_come(name: str) -> None:
    instants = range(END, LAST, 1800)
    offsets = [datetime.datetime.fromtimestamp(at, rules(name)).utcoffset() for at in instants]
    pairs = zip(instants, pairwise(offsets), strict=False)
    expected = [(at + 1800, after) for at, (before, after) in pairs if before != after]
    found = changes(zone(name), END, LAST)
    assert [(at, datetime.timedelta(seconds=offset)) for at, offset in found] == expected


@pytest.mark.parametrize("name", ODD)
def test_stretches_join_and_hold_their_offset(name: str) -> None:
    found = stretches(zone(name), BEGIN, LAST)
    for before, after in pairwise(found):
        assert before.start < before.end == after.start
    for stretch in found:
        for instant in (stretch.start, (stretch.start + stretch.end) // 2, stretch.end - 1):
            moment = datetime.datetime.fromtimestamp(instant, rules(name))
            assert moment.utcoffset() == datetime.timedelta(seconds=stretch.offset)


@pytest.mark.parametrize("name", ODD)
def test_gaps_and_folds_are_those_of_zoneinfo(name: str) -> None:
    found = stretches(zone(name), BEGIN, LAST)
    for before, after in pairwise(found):
        last_wall, first_wall = before.end + before.offset, after.start + after.offset
        shift = first_wall - last_wall
        assert after.skipped == (shift if 0 < shift <= LONGEST_SHIFT else 0)
        repeated = after.repeated_until - first_wall
        assert repeated == (-shift if -LONGEST_SHIFT <= shift < 0 else 0)


# Each shift with the offsets before and after it, and its wall times
SHIFTS = [
    # 2026-03-08 02:00 -> 03:00
    ("America/New_York", "2026-03-08T07:00", -5 * 3600, -4 * 3600, 3600, 0),
    # 2026-11-01 02:00 -> 01:00
    ("America/New_York", "2026-11-01T06:00", -4 * 3600, -5 * 3600, 0, 3600),
    # 2026-10-04 02:00 -> 02:30
    ("Australia/Lord_Howe", "2026-10-03T15:30", 37800, 39600, 1800, 0),
    # 2026-03-29 01:00 -> 03:00
    ("Antarctica/Troll", "2026-03-29T01:00", 0, 7200, 7200, 0),
    # 2018-05-04 23:30 -> 2018-05-05 00:00
    ("Asia/Pyongyang", "2018-05-04T15:00", 30600, 32400, 1800, 0),
    # 1972-01-07 00:00 -> 00:44:30
    ("Africa/Monrovia", "1972-01-07T00:44:30", -2670, 0, 2670, 0),
    # 2011-12-29 24:00 -> 2011-12-31 00:00: longer than LONGEST_SHIFT
    ("Pacific/Apia", "2011-12-30T10:00", -36000, 50400, 0, 0),
]


@pytest.mark.parametrize(("name", "instant", "before", "after", "skipped", "repeated"), SHIFTS)
def test_a_shift(
    name: str, instant: str, before: int, after: int, skipped: int, repeated: int
) -> None:
    at = utc(instant)
    assert zone(name).stretch_at(at - 1).offset == before
    stretch = zone(name).stretch_at(at)
    assert (stretch.start, stretch.offset, stretch.skipped) == (at, after, skipped)
    assert stretch.repeated_until == at + after + repeated


@pytest.mark.parametrize("first_asked", [-3, 0, 1, 1.99, 2, 2.01, 2.02, 3, 400, 501])
def test_earlier_calls_change_no_result(first_asked: float) -> None:
    """The second pass of an hour is found, no matter which instant was the first argument."""
    fold = utc("2026-11-01T06:00")
    fresh = Zone("America/New_York", rules("America/New_York"))
    fresh.stretch_at(fold + 600 + int(first_asked * DAY))
    stretch = fresh.stretch_at(fold + 1200)
    assert stretch.offset == -5 * 3600
    assert stretch.repeated_until == fold - 4 * 3600


def test_an_older_instant_after_a_newer_one() -> None:
    fresh = Zone("Europe/Berlin", rules("Europe/Berlin"))
    assert fresh.stretch_at(utc("2026-07-01T00:00")).offset == 7200
    assert fresh.stretch_at(utc("1990-01-01T00:00")).offset == 3600
    assert fresh.stretch_at(utc("2026-07-01T00:00")).offset == 7200


def test_utc_never_changes() -> None:
    assert not changes(UTC, BEGIN, LAST)
    assert UTC.stretch_at(BEGIN).offset == 0


def test_local_time_is_aware() -> None:
    local = zone("America/New_York").local(utc("2026-11-01T06:30"))
    assert local.isoformat() == "2026-11-01T01:30:00-05:00"
