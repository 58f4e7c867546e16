"""Starts that are put off, come too late, or are caught up."""

import datetime
from dataclasses import replace
from functools import cache
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pycron.actions import (
    Action,
    Booted,
    Now,
    RecordAttempt,
    RecordNotStarted,
    RecordRun,
    Resumed,
    Start,
    StopStarting,
    TableLoaded,
    Tick,
)
from pycron.crontab import Judge, parse
from pycron.engine import Engine
from pycron.firetime import fire_times, last_fire_times
from pycron.model import AttemptKey, Job, Outcome, RunKey, Source
from pycron.policy import start_delay, too_late
from pycron.schedule import parse_cron
from pycron.timetable import (
    LATE,
    MOST_CAUGHT_UP,
    Cursor,
    handed_out_after,
    starting_cursor,
    starting_gaps,
)
from pycron.zone import UTC, Stretch, Zone

NOON = 1_772_971_200  # 2026-03-08T12:00:00Z, a Sunday
DAY = 86_400


def jobs_of(table: str) -> tuple[Job, ...]:
    parsed = parse(table, Source("alice", "alice"), Judge())
    assert not parsed.errors
    return tuple(parsed.jobs)


def engine_of(table: str, cursor: Cursor, now: int) -> Engine:
    """An engine that has just started, where the last one stopped at `cursor`."""
    engine = Engine(
        lambda _: UTC, starting_cursor(cursor, now), starting_gaps(cursor, now), host="host"
    )
    parsed = parse(table, Source("alice", "alice"), Judge())
    engine.handle(TableLoaded(parsed), Now(now, now))
    return engine


def tick(engine: Engine, now: float) -> list[Action]:
    return engine.handle(Tick(), Now(now, now))


def started(actions: list[Action]) -> list[int]:
    return [a.attempt.run.fire_time for a in actions if isinstance(a, Start)]


def missed(actions: list[Action]) -> list[RecordNotStarted]:
    return [action for action in actions if isinstance(action, RecordNotStarted)]


# ---- jitter


def test_a_delay_is_the_same_each_time_and_spread_over_jobs_and_hosts() -> None:
    jobs = jobs_of("".join(f"CRON_JITTER=100s 0 12 * * * x{i}\n" for i in range(500)))
    delays = [start_delay(job, "host") for job in jobs]
    assert delays == [start_delay(job, "host") for job in jobs]
    assert delays != [start_delay(job, "other") for job in jobs]
    assert min(delays) < 5
    assert 95 < max(delays) <= 100
    assert [start_delay(job, "host") for job in jobs_of("@daily x\n")] == [0]


def test_random_delay_is_jitter_in_minutes() -> None:
    (job,) = jobs_of("RANDOM_DELAY=3\n@daily x\n")
    assert job.settings.jitter == 180


def test_a_delayed_run_is_recorded_at_once_and_started_later() -> None:
    table = "CRON_JITTER=1h 0 12 * * * x\n"
    engine = engine_of(table, Cursor(NOON - 60, NOON - 60), NOON - 60)
    (job,) = engine.jobs()
    delay = start_delay(job, "host")
    assert delay > 60
    actions = tick(engine, NOON)
    assert [a.run.fire_time for a in actions if isinstance(a, RecordRun)] == [NOON]
    assert started(actions) == []
    assert len(engine.waiting) == 1
    assert engine.next_wakeup() == NOON + delay
    assert started(tick(engine, NOON + delay - 1)) == []
    actions = tick(engine, NOON + delay)
    kinds = [type(a) for a in actions if isinstance(a, RecordAttempt | Start)]
    assert kinds == [RecordAttempt, Start]


def test_a_restart_keeps_a_delayed_start() -> None:
    table = "CRON_JITTER=1h 0 12 * * * x\n"
    (job,) = jobs_of(table)
    delay = start_delay(job, "host")
    engine = engine_of(table, Cursor(NOON, NOON), NOON + 10)
    waiting = Resumed(AttemptKey(RunKey(job.id, NOON), 0), job, None, None)
    engine.handle(waiting, Now(NOON + 10, 0))
    assert engine.next_wakeup() == NOON + delay
    assert started(tick(engine, NOON + delay)) == [NOON]


def test_a_stopping_daemon_leaves_it_to_the_next_one() -> None:
    engine = engine_of("CRON_JITTER=1h 0 12 * * * x\n", Cursor(NOON - 60, NOON - 60), NOON - 60)
    tick(engine, NOON)
    engine.handle(StopStarting(), Now(NOON, NOON))
    assert engine.idle
    assert engine.next_wakeup() is None


def test_several_wait_and_each_begins_at_its_own_time() -> None:
    table = "".join(f"CRON_JITTER=1h 0 12 * * * x{i}\n" for i in range(20))
    engine = engine_of(table, Cursor(NOON - 60, NOON - 60), NOON - 60)
    planned = {job.command: NOON + start_delay(job, "host") for job in engine.jobs()}
    tick(engine, NOON)
    seen: dict[str, float] = {}
    while (wakeup := engine.next_wakeup()) is not None and wakeup <= NOON + 3600:
        actions = tick(engine, wakeup)
        seen |= {a.job.command: wakeup for a in actions if isinstance(a, Start)}
    assert seen == planned
    assert list(seen.values()) == sorted(seen.values())
    assert not engine.waiting


def test_the_next_daemon_begins_at_once_what_should_have_begun_meanwhile() -> None:
    table = "CRON_JITTER=1h 0 12 * * * x\n"
    (job,) = jobs_of(table)
    late = NOON + start_delay(job, "host") + 60
    engine = engine_of(table, Cursor(late - 100, late - 100), late)
    engine.handle(Resumed(AttemptKey(RunKey(job.id, NOON), 0), job, None, None), Now(late, 0))
    assert started(tick(engine, late)) == [NOON]
    assert started(tick(engine, late + 60)) == []


def test_a_delayed_start_that_comes_back_too_late_is_missed() -> None:
    table = "CRON_JITTER=1h CRON_START_DEADLINE=60s 0 12 * * * x\n"
    (job,) = jobs_of(table)
    late = NOON + start_delay(job, "host") + 61
    engine = engine_of(table, Cursor(late - 100, late - 100), late)
    engine.handle(Resumed(AttemptKey(RunKey(job.id, NOON), 0), job, None, None), Now(late, 0))
    (miss,) = missed(tick(engine, late))
    assert (miss.run.fire_time, miss.outcome) == (NOON, Outcome.MISSED)


def test_jobs_of_the_boot_are_not_delayed() -> None:
    engine = engine_of("RANDOM_DELAY=60\n@reboot x\n", Cursor(NOON, NOON), NOON)
    assert started(engine.handle(Booted("boot-1"), Now(NOON, 0))) == [NOON]


@given(st.integers(0, 10_000), st.text("abc", min_size=1))
def test_a_delay_is_within_its_bounds(jitter: int, host: str) -> None:
    (job,) = jobs_of("@daily x\n")
    delayed = replace(job, settings=replace(job.settings, jitter=jitter))
    assert 0 <= start_delay(delayed, host) <= jitter


# ---- the start deadline


@pytest.mark.parametrize(("late", "ok"), [(0, True), (60, True), (61, False)])
def test_the_deadline(late: int, ok: bool) -> None:
    (job,) = jobs_of("CRON_START_DEADLINE=60s 0 12 * * * x\n")
    assert (too_late(job, NOON, NOON + late) is None) is ok


def test_a_wake_up_after_the_deadline_is_a_miss_with_its_reason() -> None:
    table = "CRON_START_DEADLINE=60s 0 12 * * * x\n0 12 * * * y\n"
    engine = engine_of(table, Cursor(NOON - 60, NOON - 60), NOON - 60)
    actions = tick(engine, NOON + 200)
    assert started(actions) == [NOON]  # the one without a deadline
    (miss,) = missed(actions)
    assert miss.outcome is Outcome.MISSED
    assert miss.reason == "200 seconds late; CRON_START_DEADLINE is 60"


def test_a_delay_is_no_lateness() -> None:
    table = "CRON_JITTER=1h CRON_START_DEADLINE=60s 0 12 * * * x\n"
    engine = engine_of(table, Cursor(NOON - 60, NOON - 60), NOON - 60)
    tick(engine, NOON)
    (job,) = engine.jobs()
    assert started(tick(engine, NOON + start_delay(job, "host") + 1)) == [NOON]


# ---- catch-up

DOWN = 3 * DAY  # the daemon was down for three days, until just before noon


def after_three_days(table: str) -> list[int]:
    now = NOON - 30
    engine = engine_of(table, Cursor(now - DOWN, now - DOWN), now)
    return [(fire - NOON) // 3600 for fire in started(tick(engine, now))]


@pytest.mark.parametrize(
    ("setting", "entry", "hours"),
    [
        ("none", "0 3 * * *", []),
        ("latest", "0 3 * * *", [-9]),
        ("all", "0 3 * * *", [-57, -33, -9]),
        # A wildcard Job has missed them as well
        ("latest", "0 */6 * * *", [-6]),
        ("none", "0 */6 * * *", []),
        # What was not due is not missed
        ("all", "0 3 1 * *", []),
        ("latest", "@every 1d", [-12]),
        ("all", "@reboot", []),
    ],
)
def test_what_a_restart_brings_back(setting: str, entry: str, hours: list[int]) -> None:
    assert after_three_days(f"CRON_CATCHUP={setting} {entry} x\n") == hours


def test_all_has_a_limit() -> None:
    assert len(after_three_days("CRON_CATCHUP=all * * * * * x\n")) == MOST_CAUGHT_UP


def test_a_deadline_holds_for_what_is_caught_up() -> None:
    now = NOON - 30
    table = "CRON_CATCHUP=all CRON_START_DEADLINE=24h 0 3 * * * x\n"
    engine = engine_of(table, Cursor(now - DOWN, now - DOWN), now)
    actions = tick(engine, now)
    assert [(fire - NOON) // 3600 for fire in started(actions)] == [-9]
    assert len(missed(actions)) == 2


def test_a_short_stop_is_no_gap() -> None:
    """Within five minutes every fire time is made up for anyway, and once."""
    now = NOON + 100
    table = "CRON_CATCHUP=all * * * * * x\n"
    engine = engine_of(table, Cursor(NOON - 61, NOON - 61), now)
    assert started(tick(engine, now)) == [NOON - 60, NOON, NOON + 60]


@pytest.mark.parametrize("setting", ["latest", "all"])
def test_what_ended_ahead_of_its_fire_time_is_not_brought_back(setting: str) -> None:
    """It was skipped or had ended when the daemon died, a moment before that time."""
    record, now = Cursor(NOON - 1, NOON - 1), NOON + LATE + 20
    cursor, gaps = starting_cursor(record, now), starting_gaps(record, now)
    table = parse(f"CRON_CATCHUP={setting} 0 12 * * * x\n", Source("alice", "alice"), Judge())
    done = [RunKey(job.id, NOON) for job in table.jobs]
    assert cursor.wall >= NOON > handed_out_after(cursor, gaps)
    for known, fires in ((done, []), ([], [NOON])):
        engine = Engine(lambda _: UTC, cursor, gaps, done=known)
        engine.handle(TableLoaded(table), Now(now, now))
        assert started(tick(engine, now)) == fires


@pytest.mark.parametrize(
    ("setting", "fires"),
    [("none", [NOON + 3600]), ("latest", [NOON + 3600]), ("all", None)],
)
def test_a_forward_step_for_a_wildcard_job(setting: str, fires: list[int] | None) -> None:
    """It is due now, so the latest missed time is not brought back as well."""
    table = f"CRON_CATCHUP={setting} */10 * * * * x\n"
    engine = engine_of(table, Cursor(NOON - 60, NOON - 60), NOON - 60)
    tick(engine, NOON)
    found = started(engine.handle(Tick(), Now(NOON + 3600, NOON + 60)))
    assert found == (fires or [NOON + 600 * n for n in range(1, 7)])


def test_a_year_of_minutes_is_not_walked_through() -> None:
    """What a long gap costs is bounded by what is brought back."""
    asked = 0

    class Counting(Zone):
        def stretch_at(self, instant: int) -> Stretch:
            nonlocal asked
            asked += 1
            return super().stretch_at(instant)

    zone = Counting("UTC", UTC.tzinfo)
    schedule = parse_cron(("*", "*", "*", "*", "*"))
    assert last_fire_times(schedule, zone, NOON - 365 * DAY, NOON, 3) == [
        NOON - 180, NOON - 120, NOON - 60,
    ]  # fmt: skip
    assert asked < 200
    asked = 0
    start = NOON - 365 * DAY
    engine = Engine(
        lambda _: zone, starting_cursor(Cursor(start, start), NOON - 30),
        starting_gaps(Cursor(start, start), NOON - 30),
    )  # fmt: skip
    lines = "CRON_CATCHUP=all * * * * * a\nCRON_CATCHUP=latest * * * * * b\n"
    engine.handle(TableLoaded(parse(lines, Source("alice", "alice"), Judge())), Now(NOON - 30, 0))
    assert len(started(tick(engine, NOON - 30))) == MOST_CAUGHT_UP + 1
    assert asked < 2000


HOUR = 3600


@pytest.mark.parametrize(
    ("step", "setting", "entry", "hours"),
    [
        # Up to three hours: a fixed Job is made up for by the rule of time, once, whatever is set
        (3, "none", "0 13,14 * * *", [13, 14]),
        (3, "latest", "0 13,14 * * *", [13, 14]),
        (3, "all", "0 13,14 * * *", [13, 14]),
        # A wildcard Job only by its setting
        (3, "none", "0 */7 * * *", []),
        (3, "latest", "0 */7 * * *", [14]),
        (3, "all", "0 */13 * * *", [13]),
        # More than three hours: both only by their setting
        (5, "none", "0 13,14 * * *", []),
        (5, "latest", "0 13,14 * * *", [14]),
        (5, "all", "0 13,14 * * *", [13, 14]),
        (5, "all", "0 */7 * * *", [14]),
        (5, "latest", "@every 4h", [16]),
        # A Job that is due as the clock arrives has its latest already
        (5, "latest", "0 13,17 * * *", [17]),
        (5, "all", "0 13,17 * * *", [13, 17]),
        (5, "none", "0 13,17 * * *", [17]),
        # Back again: nothing was missed
        (-5, "all", "0 13,14 * * *", []),
    ],
)
def test_what_a_step_brings_back(step: int, setting: str, entry: str, hours: list[int]) -> None:
    """From 12:00 to the full hour, which the clock reaches in a minute of its own."""
    engine = engine_of(f"CRON_CATCHUP={setting} {entry} x\n", Cursor(NOON, NOON), NOON)
    tick(engine, NOON)
    arrived = engine.handle(Tick(), Now(NOON + step * HOUR, NOON + 60))
    assert [12 + (fire - NOON) // HOUR for fire in started(arrived)] == hours
    assert not started(engine.handle(Tick(), Now(NOON + step * HOUR + 60, NOON + 120)))


@pytest.mark.parametrize(("late", "caught"), [(300, 5), (301, 1)])
def test_five_minutes_are_no_gap_and_a_second_more_is_one(late: int, caught: int) -> None:
    """From then on wildcard Jobs are not made up for, only those of the minute that has come."""
    engine = engine_of("* * * * * x\n", Cursor(NOON, NOON), NOON)
    tick(engine, NOON)
    assert len(started(engine.handle(Tick(), Now(NOON + late, NOON + 1)))) == caught


def test_a_deadline_decides_over_what_a_step_brings_back() -> None:
    table = "CRON_CATCHUP=all CRON_START_DEADLINE=2h 0 13-16 * * * x\n"
    engine = engine_of(table, Cursor(NOON, NOON), NOON)
    tick(engine, NOON)
    actions = engine.handle(Tick(), Now(NOON + 5 * HOUR, NOON + 60))
    assert started(actions) == [NOON + 3 * HOUR, NOON + 4 * HOUR]
    assert [miss.run.fire_time for miss in missed(actions)] == [NOON + HOUR, NOON + 2 * HOUR]


def test_what_is_caught_up_keeps_its_delay() -> None:
    table = "CRON_CATCHUP=latest CRON_JITTER=1h 0 12 * * * x\n"
    (job,) = jobs_of(table)
    back = NOON + 301
    assert NOON + start_delay(job, "host") > back
    engine = engine_of(table, Cursor(NOON - 60, NOON - 60), back)
    assert started(tick(engine, back)) == []
    assert engine.next_wakeup() == NOON + start_delay(job, "host")


def test_a_rare_job_is_found_far_back() -> None:
    """Down for thirty years, one leap day a Job."""
    start = NOON - 30 * 365 * DAY
    table = "CRON_CATCHUP=latest @yearly a\nCRON_CATCHUP=all 0 0 29 2 * b\n"
    engine = engine_of(table, Cursor(start, start), NOON)
    years = [
        (datetime.datetime.fromtimestamp(a.attempt.run.fire_time, datetime.UTC).year, a.job.command)
        for a in tick(engine, NOON)
        if isinstance(a, Start)
    ]
    leap_years = [1996, 2000, 2004, 2008, 2012, 2016, 2020, 2024]
    assert years == [*((year, "b") for year in leap_years[-7:]), (2026, "a")]


@cache
def new_york() -> Zone:
    return Zone("America/New_York", ZoneInfo("America/New_York"))


@pytest.mark.parametrize(
    ("month", "day", "entry", "times"),
    [
        # 2026-03-08: 02:00 -0500 is 03:00 -0400
        (3, 8, "30 2 * * *", ["03:00 -0400"]),
        (3, 8, "30 */1 * * *", ["00:30 -0500", "01:30 -0500", "03:30 -0400", "04:30 -0400"]),
        # 2026-11-01: 02:00 -0400 is 01:00 -0500
        (11, 1, "30 1 * * *", ["01:30 -0400"]),
        (11, 1, "30 */1 * * *", ["00:30 -0400", "01:30 -0400", "01:30 -0500", "02:30 -0500",
                                 "03:30 -0500", "04:30 -0500"]),
    ],
)  # fmt: skip
def test_what_was_missed_while_the_zone_was_shifted(
    month: int, day: int, entry: str, times: list[str]
) -> None:
    """Down from midnight to 05:00."""
    midnight = datetime.datetime(2026, month, day, tzinfo=new_york().tzinfo)
    start, now = int(midnight.timestamp()), int(midnight.replace(hour=5).timestamp())
    record = Cursor(start, start)
    engine = Engine(
        lambda _: new_york(), starting_cursor(record, now), starting_gaps(record, now), "host"
    )
    lines = parse(f"CRON_CATCHUP=all {entry} x\n", Source("alice", "alice"), Judge())
    engine.handle(TableLoaded(lines), Now(now, now))
    found = started(tick(engine, now))
    assert [f"{new_york().local(fire):%H:%M %z}" for fire in found] == times


@given(
    st.sampled_from(["* * * * *", "0 3 * * *", "0 0 1 * *", "0 0 29 2 *", "*/7 4-6 * * 1"]),
    st.integers(0, 400 * DAY),
    st.integers(1, 20),
)
def test_the_last_fire_times_are_the_last_ones(text: str, length: int, most: int) -> None:
    schedule = parse_cron(tuple(text.split()))
    start = NOON - min(length, 20 * DAY if text.startswith("*") else length)
    expected = list(fire_times(schedule, UTC, start, NOON))[-most:]
    assert last_fire_times(schedule, UTC, start, NOON, most) == expected
