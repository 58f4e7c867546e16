"""Start delays, start deadlines and catch-up."""

import datetime
from dataclasses import replace
from functools import cache
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pycron.crontab.reader import ReaderContext, parse
from pycron.engine.actions import Action, RecordAttempt, RecordNotStarted, RecordRun, Start
from pycron.engine.cursor import LATE, Cursor, handed_out_after, starting_cursor, starting_gaps
from pycron.engine.engine import Engine
from pycron.engine.events import Booted, Now, Resumed, StopStarting, TableLoaded, Tick
from pycron.engine.start_times import start_delay, too_late
from pycron.engine.timetable import MOST_CAUGHT_UP
from pycron.model.job import Job, Source
from pycron.model.run import AttemptKey, Outcome, RunKey
from pycron.schedule.expressions import parse_cron
from pycron.schedule.fire_times import fire_times, last_fire_times
from pycron.schedule.zone import UTC, Stretch, Zone

NOON = 1_772_971_200  # 2026-03-08T12:00:00Z, a Sunday
DAY = 86_400


def jobs_of(table: str) -> tuple[Job, ...]:
    parsed = parse(table, Source("alice", "alice"), ReaderContext())
    assert not parsed.errors
    return tuple(parsed.jobs)


def engine_of(table: str, cursor: Cursor, now: int) -> Engine:
    """A new engine; the last daemon recorded `cursor`."""
    engine = Engine(
        lambda _: UTC, starting_cursor(cursor, now), starting_gaps(cursor, now), host="host"
    )
    parsed = parse(table, Source("alice", "alice"), ReaderContext())
    engine.handle(TableLoaded(parsed), Now(now, now))
    return engine


def tick(engine: Engine, now: float) -> list[Action]:
    """What the Ticks of this instant lead to: of many fire times, each takes up a part."""
    actions = list(engine.handle(Tick(), Now(now, now)))
    while engine.busy:
        actions += engine.handle(Tick(), Now(now, now))
    return actions


def started(actions: list[Action]) -> list[int]:
    return [a.attempt.run.fire_time for a in actions if isinstance(a, Start)]


def missed(actions: list[Action]) -> list[RecordNotStarted]:
    return [action for action in actions if isinstance(action, RecordNotStarted)]


# ---- jitter


def test_a_delay_is_always_the_same_and_spread_over_jobs_and_hosts() -> None:
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


def test_a_stopping_daemon_leaves_a_delayed_start_to_the_next_daemon() -> None:
    engine = engine_of("CRON_JITTER=1h 0 12 * * * x\n", Cursor(NOON - 60, NOON - 60), NOON - 60)
    tick(engine, NOON)
    engine.handle(StopStarting(), Now(NOON, NOON))
    assert engine.idle
    assert engine.next_wakeup() is None


def test_each_delayed_run_starts_at_its_own_time() -> None:
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


def test_a_delayed_start_that_was_due_while_the_daemon_was_down_happens_at_once() -> None:
    table = "CRON_JITTER=1h 0 12 * * * x\n"
    (job,) = jobs_of(table)
    late = NOON + start_delay(job, "host") + 60
    engine = engine_of(table, Cursor(late - 100, late - 100), late)
    engine.handle(Resumed(AttemptKey(RunKey(job.id, NOON), 0), job, None, None), Now(late, 0))
    assert started(tick(engine, late)) == [NOON]
    assert started(tick(engine, late + 60)) == []


def test_a_delayed_start_after_its_deadline_is_missed() -> None:
    table = "CRON_JITTER=1h CRON_START_DEADLINE=60s 0 12 * * * x\n"
    (job,) = jobs_of(table)
    late = NOON + start_delay(job, "host") + 61
    engine = engine_of(table, Cursor(late - 100, late - 100), late)
    engine.handle(Resumed(AttemptKey(RunKey(job.id, NOON), 0), job, None, None), Now(late, 0))
    (miss,) = missed(tick(engine, late))
    assert (miss.run.fire_time, miss.outcome) == (NOON, Outcome.MISSED)


def test_reboot_jobs_are_not_delayed() -> None:
    engine = engine_of("RANDOM_DELAY=60\n@reboot x\n", Cursor(NOON, NOON), NOON)
    assert started(list(engine.handle(Booted("boot-1"), Now(NOON, 0)))) == [NOON]


@given(st.integers(0, 10_000), st.text("abc", min_size=1))
def test_a_delay_is_within_its_bounds(jitter: int, host: str) -> None:
    (job,) = jobs_of("@daily x\n")
    delayed = replace(job, settings=replace(job.settings, jitter=jitter))
    assert 0 <= start_delay(delayed, host) <= jitter


# ---- the start deadline


@pytest.mark.parametrize(("late", "ok"), [(0, True), (60, True), (61, False)])
def test_a_start_is_allowed_until_the_deadline(late: int, ok: bool) -> None:
    (job,) = jobs_of("CRON_START_DEADLINE=60s 0 12 * * * x\n")
    assert (too_late(job, NOON, NOON + late) is None) is ok


def test_a_run_after_its_deadline_is_missed_with_the_reason() -> None:
    table = "CRON_START_DEADLINE=60s 0 12 * * * x\n0 12 * * * y\n"
    engine = engine_of(table, Cursor(NOON - 60, NOON - 60), NOON - 60)
    actions = tick(engine, NOON + 200)
    assert started(actions) == [NOON]  # the one without a deadline
    (miss,) = missed(actions)
    assert miss.outcome is Outcome.MISSED
    assert miss.reason == "200 seconds late; CRON_START_DEADLINE is 60"


def test_a_start_delay_does_not_count_as_lateness() -> None:
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
        # Wildcard Jobs are caught up, too
        ("latest", "0 */6 * * *", [-6]),
        ("none", "0 */6 * * *", []),
        # Not due, so not missed
        ("all", "0 3 1 * *", []),
        ("latest", "@every 1d", [-12]),
        ("all", "@reboot", []),
    ],
)
def test_catch_up_after_a_restart(setting: str, entry: str, hours: list[int]) -> None:
    assert after_three_days(f"CRON_CATCHUP={setting} {entry} x\n") == hours


def test_catch_up_all_has_a_limit() -> None:
    assert len(after_three_days("CRON_CATCHUP=all * * * * * x\n")) == MOST_CAUGHT_UP


def test_a_deadline_applies_to_caught_up_runs() -> None:
    now = NOON - 30
    table = "CRON_CATCHUP=all CRON_START_DEADLINE=24h 0 3 * * * x\n"
    engine = engine_of(table, Cursor(now - DOWN, now - DOWN), now)
    actions = tick(engine, now)
    assert [(fire - NOON) // 3600 for fire in started(actions)] == [-9]
    assert len(missed(actions)) == 2


def test_a_short_stop_is_no_gap() -> None:
    """After at most five minutes every fire time is handed out, each once, whatever the setting."""
    now = NOON + 100
    table = "CRON_CATCHUP=all * * * * * x\n"
    engine = engine_of(table, Cursor(NOON - 61, NOON - 61), now)
    assert started(tick(engine, now)) == [NOON - 60, NOON, NOON + 60]


@pytest.mark.parametrize("setting", ["latest", "all"])
def test_a_run_that_ended_before_its_fire_time_is_not_brought_back(setting: str) -> None:
    """It was skipped or had ended when the daemon died, a moment before that time."""
    record, now = Cursor(NOON - 1, NOON - 1), NOON + LATE + 20
    cursor, gaps = starting_cursor(record, now), starting_gaps(record, now)
    table = parse(
        f"CRON_CATCHUP={setting} 0 12 * * * x\n", Source("alice", "alice"), ReaderContext()
    )
    done = {RunKey(job.id, NOON): Outcome.SKIPPED for job in table.jobs}
    assert cursor.wall >= NOON > handed_out_after(cursor, gaps)
    for known, fires in ((done, []), ({}, [NOON])):
        engine = Engine(lambda _: UTC, cursor, gaps, done=known)
        engine.handle(TableLoaded(table), Now(now, now))
        assert started(tick(engine, now)) == fires


@pytest.mark.parametrize(
    ("setting", "fires"),
    [("none", [NOON + 3600]), ("latest", [NOON + 3600]), ("all", None)],
)
def test_a_forward_step_for_a_wildcard_job(setting: str, fires: list[int] | None) -> None:
    """The Job is due now, so its latest missed fire time is not brought back as well."""
    table = f"CRON_CATCHUP={setting} */10 * * * * x\n"
    engine = engine_of(table, Cursor(NOON - 60, NOON - 60), NOON - 60)
    tick(engine, NOON)
    found = started(list(engine.handle(Tick(), Now(NOON + 3600, NOON + 60))))
    assert found == (fires or [NOON + 600 * n for n in range(1, 7)])


def test_a_long_gap_costs_no_more_than_what_is_brought_back() -> None:
    """A year of missed minutes is not searched minute by minute."""
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
    engine.handle(
        TableLoaded(parse(lines, Source("alice", "alice"), ReaderContext())), Now(NOON - 30, 0)
    )
    assert len(started(tick(engine, NOON - 30))) == MOST_CAUGHT_UP + 1
    assert asked < 2000


HOUR = 3600


@pytest.mark.parametrize(
    ("step", "setting", "entry", "hours"),
    [
        # Up to three hours: a fixed Job runs by the rule for steps, once, whatever is set
        (3, "none", "0 13,14 * * *", [13, 14]),
        (3, "latest", "0 13,14 * * *", [13, 14]),
        (3, "all", "0 13,14 * * *", [13, 14]),
        # A wildcard Job: only by its setting
        (3, "none", "0 */7 * * *", []),
        (3, "latest", "0 */7 * * *", [14]),
        (3, "all", "0 */13 * * *", [13]),
        # More than three hours: both kinds only by their setting
        (5, "none", "0 13,14 * * *", []),
        (5, "latest", "0 13,14 * * *", [14]),
        (5, "all", "0 13,14 * * *", [13, 14]),
        (5, "all", "0 */7 * * *", [14]),
        (5, "latest", "@every 4h", [16]),
        # Due when the clock arrives: the latest fire time is there already
        (5, "latest", "0 13,17 * * *", [17]),
        (5, "all", "0 13,17 * * *", [13, 17]),
        (5, "none", "0 13,17 * * *", [17]),
        # Backwards: nothing was missed
        (-5, "all", "0 13,14 * * *", []),
    ],
)
def test_catch_up_after_a_step(step: int, setting: str, entry: str, hours: list[int]) -> None:
    """A step from 12:00 to one minute before a full hour, which the clock then reaches itself."""
    engine = engine_of(f"CRON_CATCHUP={setting} {entry} x\n", Cursor(NOON, NOON), NOON)
    tick(engine, NOON)
    arrived = list(engine.handle(Tick(), Now(NOON + step * HOUR, NOON + 60)))
    assert [12 + (fire - NOON) // HOUR for fire in started(arrived)] == hours
    assert not started(list(engine.handle(Tick(), Now(NOON + step * HOUR + 60, NOON + 120))))


@pytest.mark.parametrize(("late", "caught"), [(300, 5), (301, 1)])
def test_five_minutes_are_no_gap_but_one_second_more_is_a_gap(late: int, caught: int) -> None:
    """After a gap, a wildcard Job runs only for the current minute."""
    engine = engine_of("* * * * * x\n", Cursor(NOON, NOON), NOON)
    tick(engine, NOON)
    assert len(started(list(engine.handle(Tick(), Now(NOON + late, NOON + 1))))) == caught


def test_a_deadline_applies_to_catch_up_after_a_step() -> None:
    table = "CRON_CATCHUP=all CRON_START_DEADLINE=2h 0 13-16 * * * x\n"
    engine = engine_of(table, Cursor(NOON, NOON), NOON)
    tick(engine, NOON)
    actions = list(engine.handle(Tick(), Now(NOON + 5 * HOUR, NOON + 60)))
    assert started(actions) == [NOON + 3 * HOUR, NOON + 4 * HOUR]
    assert [miss.run.fire_time for miss in missed(actions)] == [NOON + HOUR, NOON + 2 * HOUR]


def test_a_caught_up_run_keeps_its_start_delay() -> None:
    table = "CRON_CATCHUP=latest CRON_JITTER=1h 0 12 * * * x\n"
    (job,) = jobs_of(table)
    back = NOON + 301
    assert NOON + start_delay(job, "host") > back
    engine = engine_of(table, Cursor(NOON - 60, NOON - 60), back)
    assert started(tick(engine, back)) == []
    assert engine.next_wakeup() == NOON + start_delay(job, "host")


def test_a_rare_job_is_found_far_back() -> None:
    """The daemon was down for thirty years; one Job is due yearly, one on leap days."""
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
def test_catch_up_over_a_shift_of_the_zone(
    month: int, day: int, entry: str, times: list[str]
) -> None:
    """The daemon is down from midnight to 05:00."""
    midnight = datetime.datetime(2026, month, day, tzinfo=new_york().tzinfo)
    start, now = int(midnight.timestamp()), int(midnight.replace(hour=5).timestamp())
    record = Cursor(start, start)
    engine = Engine(
        lambda _: new_york(), starting_cursor(record, now), starting_gaps(record, now), "host"
    )
    lines = parse(f"CRON_CATCHUP=all {entry} x\n", Source("alice", "alice"), ReaderContext())
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
