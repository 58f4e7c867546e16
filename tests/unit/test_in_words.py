"""Durations, instants and ends of Runs in words."""

import datetime
import signal
import zoneinfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pycron.model import in_words
from pycron.model.in_words import (
    ago_in_words,
    ahead_in_words,
    duration_in_words,
    end_in_words,
    instant_in_words,
    signal_name,
    size_in_words,
)
from pycron.model.instants import parse_rfc3339
from pycron.model.run import Outcome
from pycron.schedule.zone import UTC, Zone

MINUTE, HOUR, DAY = 60, 3600, 86_400


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 s"), (0.0004, "0 s"), (0.007, "7 ms"), (0.25, "250 ms"), (0.9996, "1 s"),
        (1, "1 s"), (1.23, "1.2 s"), (9.96, "10 s"), (45.4, "45 s"), (59.6, "1 min"),
        (60, "1 min"), (200, "3 min 20 s"), (3599.6, "1 h"), (HOUR, "1 h"),
        (2 * HOUR + 5 * MINUTE, "2 h 5 min"), (2 * HOUR + 5 * MINUTE + 29, "2 h 5 min"),
        (DAY - 1, "1 d"), (3 * DAY + 4 * HOUR, "3 d 4 h"), (400 * DAY, "400 d"),
        (-90, "-1 min 30 s"),
    ],
)  # fmt: skip
def test_a_duration(seconds: float, words: str) -> None:
    assert duration_in_words(seconds) == words


@given(st.floats(0, 10**8))
def test_a_duration_is_rounded_by_less_than_a_tenth(seconds: float) -> None:
    factors = {"ms": 0.001, "s": 1, "min": MINUTE, "h": HOUR, "d": DAY}
    parts = duration_in_words(seconds).split()
    said = sum(float(n) * factors[unit] for n, unit in zip(parts[::2], parts[1::2], strict=True))
    assert abs(said - seconds) <= max(0.0005, seconds / 10)
    assert len(parts) <= 4


def test_how_far_away() -> None:
    assert ahead_in_words(2 * HOUR + 300) == "in 2 h 5 min"
    assert ahead_in_words(0.2) == ahead_in_words(-5) == "now"
    assert ago_in_words(200) == "3 min 20 s ago"
    assert ago_in_words(0) == "now"


@pytest.mark.parametrize(
    ("instant", "words"),
    [
        ("2026-11-29T13:45:00Z", "14:45"),
        ("2026-11-29T13:45:07.9Z", "14:45:07"),
        ("2026-11-28T23:30:00Z", "00:30"),  # today, by this zone's clock
        ("2026-11-28T13:45:00Z", "Nov 28 14:45"),
        ("2026-12-01T13:45:00Z", "Dec  1 14:45"),
        ("2025-11-28T13:45:00Z", "2025-11-28 14:45"),
        ("2026-10-25T00:30:00Z", "Oct 25 02:30 CEST"),
        ("2026-10-25T01:30:00Z", "Oct 25 02:30 CET"),
    ],
)
def test_an_instant(instant: str, words: str) -> None:
    berlin = Zone("Europe/Berlin", zoneinfo.ZoneInfo("Europe/Berlin"))
    now = parse_rfc3339("2026-11-29T20:00:00Z")
    assert instant_in_words(parse_rfc3339(instant), berlin, now) == words


@given(st.datetimes(datetime.datetime(1980, 1, 1), datetime.datetime(2100, 1, 1)))
def test_an_instant_in_utc_is_never_ambiguous(moment: datetime.datetime) -> None:
    second = int(moment.replace(tzinfo=datetime.UTC).timestamp())
    assert len(instant_in_words(second, UTC, 0).split()) == 2 or moment.year == 1970


@pytest.mark.parametrize(
    ("end", "words"),
    [
        ((Outcome.SUCCEEDED, 0, None), "succeeded"),
        ((Outcome.FAILED, 7, None), "failed, exit status 7"),
        ((Outcome.FAILED, None, None), "failed"),
        ((Outcome.TIMED_OUT, None, 15), "timed out, SIGTERM"),
        ((Outcome.KILLED, None, 9), "killed, SIGKILL"),
        ((Outcome.KILLED, None, 40), "killed, signal 40"),
        ((Outcome.MISSED, None, None), "missed"),
        ((Outcome.OUT_OF_MEMORY, None, 9), "ran out of memory, SIGKILL"),
    ],
)
def test_an_end(end: tuple[Outcome, int | None, int | None], words: str) -> None:
    assert end_in_words(*end) == words


def test_signals_have_the_names_of_this_machine() -> None:
    assert {n: signal_name(n) for n in in_words._SIGNALS} == {
        n: signal.Signals(n).name for n in in_words._SIGNALS
    }


def test_a_size() -> None:
    sizes = (0, 512, 1024, 1.4 * 2**20, 30 * 2**30, 5000 * 2**30)
    words = ["0 B", "512 B", "1.0 KiB", "1.4 MiB", "30 GiB", "5000 GiB"]
    assert [size_in_words(size) for size in sizes] == words
