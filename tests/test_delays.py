"""Starts that are put off, come too late, or are caught up."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pycron.actions import (
    Action,
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
from pycron.timetable import MOST_CAUGHT_UP, Cursor, starting_cursor, starting_gaps
from pycron.zone import UTC

NOON = 1_772_971_200  # 2026-03-08T12:00:00Z, a Sunday
DAY = 86_400


def jobs_of(table: str) -> tuple[Job, ...]:
    parsed = parse(table, Source("alice", "alice"), Judge())
    assert not parsed.errors
    return parsed.jobs


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
    assert engine.waiting == 1
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

    class Counting(type(UTC)):  # type: ignore[misc]
        def stretch_at(self, instant: int) -> object:
            nonlocal asked
            asked += 1
            return super().stretch_at(instant)

    zone = Counting("UTC", UTC.tzinfo)
    schedule = parse_cron(("*", "*", "*", "*", "*"))
    assert last_fire_times(schedule, zone, NOON - 365 * DAY, NOON, 3) == [
        NOON - 180, NOON - 120, NOON - 60,
    ]  # fmt: skip
    assert asked < 200


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
