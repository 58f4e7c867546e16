"""Starts by the minute: counts, the plan of tables, and the map that is drawn of them."""

import datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pycron.analysis.minute_counts import MINUTE, MinuteCounts
from pycron.analysis.planned_starts import PlannedStarts
from pycron.cli.heat_map import HeatMap
from pycron.cli.sparkline import sparkline
from pycron.crontab.reader import ReaderContext, parse
from pycron.engine.start_times import start_delay
from pycron.model.job import Source
from pycron.schedule.local_days import day_of, day_start, days, hour_start
from pycron.schedule.zone import UTC, Zone

BERLIN = Zone("Europe/Berlin", ZoneInfo("Europe/Berlin"))
CAIRO = Zone("Africa/Cairo", ZoneInfo("Africa/Cairo"))
HOUR, DAY = 3600, 86_400


def utc(text: str) -> int:
    return int(datetime.datetime.fromisoformat(f"{text}+00:00").timestamp())


# ---- days


@pytest.mark.parametrize(
    ("instant", "zone", "hours"),
    [
        ("2026-06-10T12:00", UTC, 24),
        ("2026-03-29T12:00", BERLIN, 23),
        ("2026-10-25T12:00", BERLIN, 25),
        ("2026-04-24T12:00", CAIRO, 23),  # midnight is skipped
    ],
)
def test_a_day_has_its_own_length(instant: str, zone: Zone, hours: int) -> None:
    start, end = day_of(utc(instant), zone)
    assert end - start == hours * HOUR
    assert start <= utc(instant) < end
    assert zone.local(start - 1).date() < zone.local(start).date() == zone.local(end - 1).date()


def test_days_follow_each_other() -> None:
    found = list(days(utc("2026-03-28T12:00"), utc("2026-03-30T12:00"), BERLIN))
    assert [BERLIN.local(start).day for start, _ in found] == [28, 29, 30]
    assert [end for _, end in found[:-1]] == [start for start, _ in found[1:]]
    assert day_start(datetime.date(2026, 3, 29), BERLIN) == utc("2026-03-28T23:00")


def test_an_hour_begins_on_the_local_clock() -> None:
    calcutta = Zone("Asia/Kolkata", ZoneInfo("Asia/Kolkata"))
    assert hour_start(utc("2026-06-10T12:34:56"), UTC) == utc("2026-06-10T12:00")
    assert hour_start(utc("2026-06-10T12:34:56"), calcutta) == utc("2026-06-10T12:30")


# ---- counts


def test_counts_are_those_of_the_minutes() -> None:
    counts = MinuteCounts(600, 600 + 3 * MINUTE)
    for instant in (599.9, 600, 659.999, 660, 719, 780):
        counts.add(instant)
    counts.add(660, 5)
    assert list(counts.counts) == [2, 7, 0]
    assert counts.busiest(1) == [(660, 7)]
    assert counts.busiest(9) == [(660, 7), (600, 2)]
    counts.add_all([1, 1, 1])
    assert counts.total == 12


# ---- the plan


def planned(*lines: str, user: str | None = None, zone: Zone = UTC) -> PlannedStarts:
    table = parse("".join(f"{line}\n" for line in lines), Source("joe", "joe"), ReaderContext("h"))
    assert not table.errors
    return PlannedStarts([table.jobs], lambda _: zone, "h", user)


def test_the_plan_counts_each_entry_at_its_fire_times() -> None:
    day = utc("2026-06-10T00:00")
    plan = planned("30 2 * * * a", "30 2 * * * b", "*/30 2 * * * c", "@every 12h d", "@reboot e")
    counts = plan.count(day, day + DAY)
    assert counts.busiest(9) == [
        (day + 2 * HOUR + 1800, 3), (day, 1), (day + 2 * HOUR, 1), (day + 12 * HOUR, 1),
    ]  # fmt: skip


def test_the_plan_knows_which_jobs_start_in_a_minute() -> None:
    day = utc("2026-06-10T00:00")
    names = [f"CRON_NAME={name} {when} * * * x" for name, when in
             [("a", "30 2"), ("b", "30 2"), ("c", "31 2"), ("d", "30 3")]]  # fmt: skip
    plan = planned(*names)
    assert plan.jobs_in(day + 2 * HOUR + 1800, 9) == ["a", "b"]
    assert plan.jobs_in(day + 2 * HOUR + 1800, 1) == ["a"]
    assert plan.jobs_in(day, 9) == []


def test_the_plan_counts_the_delay_of_cron_jitter() -> None:
    day = utc("2026-06-10T00:00")
    line = "CRON_NAME=a CRON_JITTER=2h 0 2 * * * x"
    (job,) = parse(f"{line}\n", Source("joe", "joe"), ReaderContext("h")).jobs
    at = day + 2 * HOUR + start_delay(job, "h")
    minute = at - at % MINUTE
    assert planned(line).count(day, day + DAY).busiest(9) == [(minute, 1)]
    assert planned(line).jobs_in(minute, 9) == ["a"]


def test_the_plan_of_a_user_has_no_other_jobs() -> None:
    table = parse("0 2 * * * joe x\n0 2 * * * ann y\n", Source("t", None), ReaderContext("h"))
    day = utc("2026-06-10T00:00")
    plan = PlannedStarts([table.jobs], lambda _: UTC, "h", "ann")
    assert plan.count(day, day + DAY).total == 1


def test_a_wildcard_job_runs_in_both_passes_of_a_repeated_hour() -> None:
    start, end = day_of(utc("2026-10-25T12:00"), BERLIN)
    assert planned("0 * * * * x", zone=BERLIN).count(start, end).total == 25


# ---- the map


def drawn(counts: MinuteCounts, zone: Zone = UTC, width: int | None = None) -> list[str]:
    heat_map = HeatMap(counts, zone, width)
    lines = ["".join(cell.text for cell in line) for line in heat_map.lines()]
    return [*lines, heat_map.legend()]


def test_a_day_has_a_row_for_each_hour() -> None:
    start, end = day_of(utc("2026-06-10T12:00"), UTC)
    counts = MinuteCounts(start, end)
    counts.add(start + 2 * HOUR + 30 * MINUTE)
    counts.add(start + 3 * HOUR, 3)
    scale, *rows, legend = drawn(counts)
    assert scale.split() == [":00", ":10", ":20", ":30", ":40", ":50"]
    assert [row[:5] for row in rows] == [f"{hour:02}:00" for hour in range(24)]
    assert rows[2] == f"02:00 {'·' * 30}▁{'·' * 29}  1"
    assert rows[3] == f"03:00 ▃{'·' * 59}  3"
    assert legend == "starts in a minute: ·=0 ▁=1 ▂=2 ▃=3"


@pytest.mark.parametrize(("day", "rows"), [("2026-03-29", 23), ("2026-10-25", 25)])
def test_an_unusual_night_has_its_own_rows(day: str, rows: int) -> None:
    """The skipped hour has no row, the repeated hour has two."""
    _, *found, _ = drawn(MinuteCounts(*day_of(utc(f"{day}T12:00"), BERLIN)), BERLIN)
    labels = [row[:5] for row in found]
    assert len(labels) == rows
    assert labels.count("02:00") == rows - 23


def test_many_starts_share_eight_levels() -> None:
    counts = MinuteCounts(0, HOUR)
    for minute in range(60):
        counts.add(60 * minute, 2**minute % 1000 + 1)
    legend = drawn(counts)[-1]
    assert legend.endswith(f"-{max(counts.counts)}")
    assert legend.count("=") == 9
    assert set("▁█") <= set("".join(drawn(counts)))


def test_more_than_two_days_have_a_row_each() -> None:
    counts = MinuteCounts(utc("2026-03-28T23:00"), utc("2026-04-02T22:00"))
    counts.add(utc("2026-03-30T00:29"), 2)
    scale, *rows, legend = drawn(counts, BERLIN)
    assert [row[:10] for row in rows][:2] == ["Sun Mar 29", "Mon Mar 30"]
    assert len(rows) == 5
    assert rows[1] == f"Mon Mar 30 {'·' * 4}▂{'·' * 43}  2"
    assert scale.split() == ["00", "04", "08", "12", "16", "20"]
    assert legend.startswith("starts in 30 minutes:")


@given(st.integers(20, 200), st.integers(1, 70), st.lists(st.integers(0, 5000), max_size=60))
def test_no_row_is_wider_than_the_terminal(width: int, hours: int, numbers: list[int]) -> None:
    counts = MinuteCounts(0, hours * HOUR)
    counts.add_all(numbers[: len(counts.counts)])
    lines = drawn(counts, BERLIN, width)
    assert all(len(line) <= width for line in lines[:-1])
    total = sum(int(line.rpartition("  ")[2].replace(",", "")) for line in lines[1:-1]
                if "  " in line.rstrip() and line[-1].isdigit() and width >= 80)  # fmt: skip
    assert total == (counts.total if width >= 80 else 0)


def test_an_encoding_without_bars_gets_others() -> None:
    counts = MinuteCounts(0, HOUR)
    counts.add(0)
    heat_map = HeatMap(counts, UTC, None, plain=True)
    assert heat_map.legend().isascii()
    assert all(cell.text.isascii() for line in heat_map.lines() for cell in line)


# ---- sparklines


@pytest.mark.parametrize(
    ("values", "width", "bars"),
    [
        ([], 5, ""),
        ([0.0, 0.0], 5, "▁▁"),
        ([1.0, 2.0, 4.0], 5, "▃▅█"),
        ([1.0, 2.0, 4.0, 4.0], 2, "▅█"),
        ([4.0] + [1.0] * 9, 5, "█▃▃▃▃"),
    ],
)
def test_a_sparkline_has_a_bar_for_each_value(values: list[float], width: int, bars: str) -> None:
    assert sparkline(values, width) == bars
    plain = sparkline(values, width, plain=True)
    assert (len(plain), plain.isascii()) == (len(bars), True)
