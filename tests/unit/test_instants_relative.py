"""Times on the command line that depend on now: one text means one thing in every option."""

import argparse
import datetime
import zoneinfo

import pytest

from pycron.cli import instants
from pycron.cli.instants import Looks, parse_asked, parse_instant
from pycron.schedule.zone import Zone

BERLIN = Zone("Europe/Berlin", zoneinfo.ZoneInfo("Europe/Berlin"))
NOW = datetime.datetime(2026, 11, 29, 15, 20, 30, tzinfo=BERLIN.tzinfo)


@pytest.fixture(autouse=True)
def at_now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(instants, "_now", NOW.astimezone)


def local(text: str, looks: Looks = Looks.AT) -> str:
    instant = parse_instant(text, BERLIN, looks)
    return BERLIN.local(instant).strftime("%Y-%m-%d %H:%M:%S")


@pytest.mark.parametrize(
    ("text", "back", "ahead"),
    [
        ("10m", "2026-11-29 15:10:30", "2026-11-29 15:30:30"),
        ("2h", "2026-11-29 13:20:30", "2026-11-29 17:20:30"),
        ("1h30m", "2026-11-29 13:50:30", "2026-11-29 16:50:30"),
        ("2 hours", "2026-11-29 13:20:30", "2026-11-29 17:20:30"),
        ("2 h 5 min", "2026-11-29 13:15:30", "2026-11-29 17:25:30"),
        ("1d", "2026-11-28 15:20:30", "2026-11-30 15:20:30"),
        ("1 Week", "2026-11-22 15:20:30", "2026-12-06 15:20:30"),
    ],
)
def test_a_duration_is_ago_where_a_verb_looks_back(text: str, back: str, ahead: str) -> None:
    assert local(text, Looks.BACK) == back
    assert local(text, Looks.AHEAD) == ahead


@pytest.mark.parametrize("looks", Looks)
@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("now", "2026-11-29 15:20:30"),
        ("2 hours ago", "2026-11-29 13:20:30"),
        ("90s ago", "2026-11-29 15:19:00"),
        ("in 2 hours", "2026-11-29 17:20:30"),
        ("+2h", "2026-11-29 17:20:30"),
        ("today", "2026-11-29 00:00:00"),
        ("Yesterday", "2026-11-28 00:00:00"),
        ("tomorrow", "2026-11-30 00:00:00"),
        ("last night", "2026-11-28 18:00:00"),
        ("02:30", "2026-11-29 02:30:00"),
        ("23:45:10", "2026-11-29 23:45:10"),
        ("5pm", "2026-11-29 17:00:00"),
        ("2:30 am", "2026-11-29 02:30:00"),
        ("yesterday 02:30", "2026-11-28 02:30:00"),
        ("tomorrow at 5 pm", "2026-11-30 17:00:00"),
        ("2026-03-08", "2026-03-08 00:00:00"),
        ("Nov 28 14:45", "2026-11-28 14:45:00"),  # as times are shown
        ("3 Feb", "2027-02-03 00:00:00"),  # in the year in which it is nearest
        ("8 March 2026 2:30 pm", "2026-03-08 14:30:00"),
    ],
)
def test_every_other_time_means_the_same_everywhere(text: str, meant: str, looks: Looks) -> None:
    assert local(text, looks) == meant


@pytest.mark.parametrize("looks", Looks)
@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("5", "a number needs a unit: 5m for minutes, 5h for hours, 05:00 for a clock time"),
        ("90", "a number needs a unit: 90m for minutes, 90h for hours"),
        ("2026", "a year alone is no time: 2026-01-01"),
        ("20260308", "write 2026-03-08"),
        ("Monday", "say the whole date"),
        ("March", "say the whole date"),
        ("2026-03", "say the whole date"),
        ("8th", "say the whole date"),
        ("10.5", "a time such as|say the whole date"),
        ("in 2 hours ago", "a time such as"),
        ("2 fortnights ago", "a time such as"),
        ("yesterday soon", "a time such as"),
        ("10:30Z", "say the whole date"),
        ("400 weeks 400 weeks", "a time such as"),  # longer than ten years
    ],
)
def test_what_could_mean_several_things_is_refused(text: str, hint: str, looks: Looks) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match=rf'^bad time: "{text}" \(.*({hint})'):
        parse_instant(text, BERLIN, looks)


def test_where_a_verb_looks_at_one_time_a_duration_says_its_direction() -> None:
    with pytest.raises(argparse.ArgumentTypeError, match=r'\("10m ago" or "in 10m"\)$'):
        parse_instant("10m", BERLIN)


@pytest.mark.parametrize(
    ("text", "wall", "local"),
    [
        ("yesterday 02:30", True, "2026-11-28 02:30"),
        ("14:00", True, "2026-11-29 14:00"),
        ("2 hours ago", False, "2026-11-29 12:20"),  # in UTC
        ("10m", False, "2026-11-29 14:10"),
    ],
)
def test_why_applies_the_zone_of_the_job_to_a_clock_time(text: str, wall: bool, local: str) -> None:
    second, is_wall = parse_asked(text, BERLIN)
    shown = datetime.datetime.fromtimestamp(second, datetime.UTC).strftime("%Y-%m-%d %H:%M")
    assert (shown, is_wall) == (local, wall)


@pytest.mark.parametrize("count", [1, 2])
def test_a_long_text_is_refused_at_once(count: int) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match=r"^bad time: "):
        parse_instant("1h " * 50_000 * count, BERLIN)
