"""Times on the command line."""

import argparse
import datetime
import time
import zoneinfo

import pytest

from pycron.cli.instants import local_text, parse_asked, parse_instant
from pycron.schedule.zone import UTC, Zone

NEW_YORK = Zone("America/New_York", zoneinfo.ZoneInfo("America/New_York"))
SEVEN = 1_772_953_200  # 2026-03-08T07:00:00Z, the end of New York's gap


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("2026-03-08T07:00:00Z", SEVEN),
        ("2026-03-08T07:00:00+00:00", SEVEN),
        ("2026-03-08T09:00:00+02:00", SEVEN),
        ("2026-03-08 03:00:00-04:00", SEVEN),
        ("2026-03-08T03:00", SEVEN),
        ("2026-03-08 01:59:59", SEVEN - 1),
        ("2026-03-08T02:00", SEVEN),  # in the gap: by the offset before it
        ("2026-03-08", SEVEN - 2 * 3600),
        ("20260308T070000Z", SEVEN),
        ("Mar 8 2026 3:00", SEVEN),
        ("8 March 2026 3 am", SEVEN),
        ("2026-03-08T06:59:59.25Z", SEVEN),  # the first whole second that is not before
        ("1969-12-31T23:59:59.5Z", 0),
        ("2026-11-01T01:30", 1_793_511_000),  # of the two, the first
    ],
)
def test_a_time(text: str, instant: int) -> None:
    assert parse_instant(text, NEW_YORK) == instant


@pytest.mark.parametrize(
    ("text", "second", "wall"),
    [
        ("2026-03-08T07:00:00Z", SEVEN, False),
        ("2026-03-08T03:00:00-04:00", SEVEN, False),
        ("2026-03-08 02:30", SEVEN - 4 * 3600 - 1800, True),  # as the wall would show it
        ("Mar 8 2026 3:00", SEVEN - 4 * 3600, True),
        ("2026-03-08", SEVEN - 7 * 3600, True),
    ],
)
def test_a_time_in_a_zone_that_is_not_known_yet(text: str, second: int, wall: bool) -> None:
    """A time without an offset stays a wall time; the caller applies the zone of the Job."""
    assert parse_asked(text, NEW_YORK) == (second, wall)


def test_now_and_a_bad_time_for_why() -> None:
    assert parse_asked("now", UTC)[1] is False
    with pytest.raises(argparse.ArgumentTypeError, match=r"^bad time: "):
        parse_asked("soon", UTC)


def test_now() -> None:
    assert abs(parse_instant("now", UTC) - time.time()) < 5


def test_a_time_of_today() -> None:
    today = datetime.datetime.now(NEW_YORK.tzinfo).date()
    found = datetime.datetime.fromtimestamp(parse_instant("10:30", NEW_YORK), NEW_YORK.tzinfo)
    assert (found.hour, found.minute, found.second) == (10, 30, 0)
    assert found.date() - today < datetime.timedelta(days=2)


@pytest.mark.parametrize(
    "text",
    ["", " ", "nonsense", "2026-13-01", "2026-02-30", "25:00", "99999999999999999999", "inf",
     "nan", "1e400", "2026-03-08T07:00:00+99:00", "1:2:3:4:5", "\0", "\udcff", "x" * 10_000,
     "9" * 5000],
)  # fmt: skip
def test_a_bad_time(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match=r"^bad time: "):
        parse_instant(text, NEW_YORK)


@pytest.mark.parametrize("text", ["2026-03-08 10:00 CET", "10:30 EST", "Mar 8 2026 3:00 PST"])
def test_an_unknown_zone_is_an_error(text: str) -> None:
    """Otherwise the time would be wrong by hours, without a message."""
    with pytest.raises(argparse.ArgumentTypeError, match=r"^bad time: "):
        parse_instant(text, NEW_YORK)


@pytest.mark.parametrize("text", ["0001-01-01", "9999-12-31T23:59:59", "0001-01-01T00:00+14:00"])
def test_the_ends_of_time(text: str) -> None:
    assert isinstance(parse_instant(text, NEW_YORK), int)


def test_local_text() -> None:
    assert local_text(SEVEN, NEW_YORK) == "2026-03-08T03:00:00-04:00"
    assert local_text(SEVEN - 1, NEW_YORK) == "2026-03-08T01:59:59-05:00"
    assert local_text(SEVEN, UTC) == "2026-03-08T07:00:00+00:00"
