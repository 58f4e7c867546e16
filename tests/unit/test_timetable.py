"""The timetable with a simulated clock: late wake-ups, steps, restarts, changes of tables."""

import datetime
import json
import os
import weakref
from collections import Counter
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pycron.crontab.reader import ReaderContext, parse
from pycron.crontab.table import Table
from pycron.engine.cursor import (
    LATE,
    LONGEST_STEP,
    Cursor,
    after_other_cron,
    starting_cursor,
)
from pycron.engine.intake import DueFire
from pycron.engine.timetable import Timetable
from pycron.model.job import Job, Source
from pycron.schedule.fire_times import fire_times
from pycron.schedule.zone import UTC, Zone
from tests.support.thoroughness import number_of

MINUTE, HOUR = 60, 3600
NAMES = ("America/New_York", "Europe/Berlin")
ZONES = {None: UTC, "UTC": UTC} | {name: Zone(name, ZoneInfo(name)) for name in NAMES}


def utc(text: str) -> int:
    return int(datetime.datetime.fromisoformat(f"{text}+00:00").timestamp())


def table(*lines: str, name: str = "alice") -> Table:
    found = parse("".join(f"{line}\n" for line in lines), Source(name, name), ReaderContext())
    assert not found.problems
    return found


class Sim:
    """A timetable and its two clocks. A due Job is shown as `HH:MM command`; #2: second pass."""

    def __init__(self, start: str, *lines: str, cursor: Cursor | None = None) -> None:
        self.now = utc(start)
        self.timetable = Timetable(ZONES.__getitem__, cursor or Cursor(self.now, self.now))
        self.timetable.put(table(*lines))

    def wait(self, seconds: int) -> list[str]:
        """Sleep for some seconds, then ask what is due."""
        self.now += seconds
        return self.look(seconds)

    def step(self, seconds: int, awake: int = 0) -> list[str]:
        """Step the clock by `seconds`, wait for `awake` seconds, then ask what is due."""
        self.now += seconds + awake
        return self.look(awake)

    def look(self, awake: int) -> list[str]:
        due = jobs_of(self.timetable.take_due(self.now, awake))
        assert len({(fire, pass_number, job.id) for fire, pass_number, job in due}) == len(due)
        return [describe(fire, pass_number, job) for fire, pass_number, job in due]


def jobs_of(due: list[DueFire]) -> list[tuple[int, int, Job]]:
    return [(fire, pass_number, entries[index]) for fire, pass_number, entries, index in due]


def describe(fire: int, pass_number: int, job: Job) -> str:
    moment = datetime.datetime.fromtimestamp(fire, datetime.UTC)
    shape = "%H:%M:%S" if moment.second else "%H:%M"
    return f"{moment.strftime(shape)} {job.command}" + (
        f" #{pass_number + 1}" if pass_number else ""
    )


BOTH = ("* * * * * wild", "0-59 0-23 * * * fixed")


def both(*times: str) -> list[str]:
    return [f"{time} {kind}" for time in times for kind in ("wild", "fixed")]


# ---- on time and late


def test_on_time() -> None:
    sim = Sim("2026-06-10T12:00:30", "1 12 * * * a", "*/2 * * * * b")
    assert sim.timetable.next_fire_time() == utc("2026-06-10T12:01")
    assert sim.wait(29) == []
    assert sim.wait(1) == ["12:01 a"]
    assert sim.wait(0) == []
    assert sim.timetable.next_fire_time() == utc("2026-06-10T12:02")
    assert sim.wait(60) == ["12:02 b"]
    assert sim.wait(60) == []


def test_nothing_is_due_in_the_minute_of_the_start() -> None:
    assert Sim("2026-06-10T12:00:00", *BOTH).wait(59) == []


@pytest.mark.parametrize("late", [1, 59, 60, 240, 299, LATE])
def test_a_late_wakeup_loses_nothing(late: int) -> None:
    sim = Sim("2026-06-10T12:00:00", *BOTH)
    minutes = [f"12:{minute:02}" for minute in range(1, late // 60 + 1)]
    assert sim.wait(late) == both(*minutes)


def test_due_jobs_are_in_the_order_of_time_table_and_line() -> None:
    sim = Sim("2026-06-10T12:00:00", "* * * * * b", "1 12 * * * a", "2 12 * * * c")
    sim.timetable.put(table("* * * * * first", name="aaron"))
    assert sim.wait(125) == [
        "12:01 first",
        "12:01 b",
        "12:01 a",
        "12:02 first",
        "12:02 b",
        "12:02 c",
    ]


def test_nothing_is_taken_of_a_busy_table_and_all_of_it_later() -> None:
    sim = Sim("2026-06-10T12:00:00", *BOTH)
    sim.timetable.put(table("* * * * * first", name="aaron"))
    sim.now += 60
    due = jobs_of(sim.timetable.take_due(sim.now, 60, busy=["alice"]))
    assert [job.command for _, _, job in due] == ["first"]
    assert sim.timetable.next_fire_time() == sim.now
    assert sim.timetable.cursor == Cursor(sim.now - 1, sim.now - 1)
    assert sim.look(0) == ["12:01 wild", "12:01 fixed"]
    assert sim.timetable.cursor == Cursor(sim.now, sim.now)


# ---- the clock stepped forward


def test_a_step_forward_by_minutes_loses_nothing() -> None:
    sim = Sim("2026-06-10T12:03:00", *BOTH)
    assert sim.step(240, awake=60) == both("12:04", "12:05", "12:06", "12:07", "12:08")


def test_a_step_forward_by_an_hour_runs_the_skipped_fixed_jobs_at_once() -> None:
    sim = Sim(
        "2026-06-10T12:03:00", "*/10 * * * * wild", "30 12 * * * a", "0 13 * * * b", "4 13 * * * c"
    )
    assert sim.step(HOUR, awake=60) == ["12:30 a", "13:00 b", "13:04 c"]
    assert sim.wait(6 * MINUTE) == ["13:10 wild"]


def test_after_a_step_wildcard_jobs_run_for_the_minute_that_has_come() -> None:
    sim = Sim("2026-06-10T12:03:00", "* * * * * wild")
    assert sim.step(HOUR, awake=60) == ["13:04 wild"]
    assert sim.wait(60) == ["13:05 wild"]


@pytest.mark.parametrize(
    ("awake", "due"), [(10, []), (29, []), (30, ["13:04 wild"]), (45, ["13:04 wild"])]
)
def test_a_step_into_the_middle_of_a_minute_does_not_run_that_minute(
    awake: int, due: list[str]
) -> None:
    """Except when the clock was stepped to 13:03:xx and then passed 13:04:00 itself."""
    sim = Sim("2026-06-10T12:00:00", "* * * * * wild")
    sim.now = utc("2026-06-10T13:04:30") - awake
    assert sim.wait(awake) == due


def test_fixed_jobs_are_made_up_for_after_a_step_of_up_to_three_hours() -> None:
    lines = ("0 13 * * * a", "* * * * * wild")
    assert Sim("2026-06-10T12:00:00", *lines).step(LONGEST_STEP) == ["13:00 a", "15:00 wild"]
    assert Sim("2026-06-10T12:00:00", *lines).step(LONGEST_STEP + 1) == []
    sim = Sim("2026-06-10T12:00:00", *lines)
    assert sim.step(LONGEST_STEP, awake=60) == ["15:01 wild"]
    assert sim.wait(60) == ["15:02 wild"]


# ---- the clock stepped back


@pytest.mark.parametrize("seconds", [1, 30, 59])
def test_a_clock_set_back_by_seconds_runs_nothing_twice(seconds: int) -> None:
    sim = Sim("2026-06-10T12:00:30", *BOTH)
    assert sim.wait(30) == both("12:01")
    assert sim.step(-seconds) == []
    assert sim.wait(seconds) == []
    assert sim.wait(60) == both("12:02")


def test_a_step_back_by_half_an_hour() -> None:
    """Fixed Jobs wait until the clock has caught up; wildcard Jobs follow it, second pass."""
    sim = Sim("2026-06-10T12:37:00", "*/5 * * * * wild", "15,40,45 12 * * * fixed")
    assert sim.wait(3 * MINUTE) == ["12:40 wild", "12:40 fixed"]
    assert sim.step(-30 * MINUTE) == ["12:10 wild #2"]
    shown = [line for _ in range(35) for line in sim.wait(60)]
    assert shown == [
        *(f"12:{minute} wild #2" for minute in range(15, 45, 5)), "12:45 wild", "12:45 fixed",
    ]  # fmt: skip


def test_every_further_pass_is_a_further_turn() -> None:
    sim = Sim("2026-06-10T12:00:00", "* * * * * wild")
    seen = [sim.wait(60)]
    for _ in range(3):
        sim.step(-90)
        seen += [sim.wait(30), sim.wait(60)]
    runs = [run for looked in seen for run in looked]
    assert len(runs) == len(set(runs))
    assert "12:01 wild #4" in runs


def test_a_large_step_back_is_a_new_start() -> None:
    sim = Sim("2026-06-10T12:00:00", *BOTH)
    sim.wait(60)
    assert sim.step(-LONGEST_STEP - 2 * MINUTE, awake=60) == ["09:00 wild #2", "09:00 fixed #2"]
    assert sim.wait(60) == ["09:01 wild #2", "09:01 fixed #2"]


def test_a_step_back_and_forth() -> None:
    sim = Sim("2026-06-10T12:00:00", "5 12 * * * fixed", "5 * * * * wild")
    assert sim.wait(5 * MINUTE) == ["12:05 fixed", "12:05 wild"]
    assert sim.step(-HOUR) == ["11:05 wild #2"]
    assert sim.step(HOUR) == ["12:05 wild #2"]
    assert [line for _ in range(60) for line in sim.wait(60)] == ["13:05 wild"]


# ---- shifted zones, and steps within them

SPRING = utc("2026-03-08T07:00")
AUTUMN = utc("2026-11-01T06:00")


def in_new_york(start: int, *lines: str) -> Sim:
    sim = Sim(
        "2026-01-01T00:00:00", "CRON_TZ=America/New_York", *lines, cursor=Cursor(start, start)
    )
    sim.now = start
    return sim


def test_a_late_wakeup_over_a_gap() -> None:
    sim = in_new_york(SPRING - 120, "59 1 * * * before", "30 2 * * * within", "* 2,3 * * * wild")
    assert sim.wait(240) == [
        "06:59 before",
        "07:00 within",
        "07:00 wild",
        "07:01 wild",
        "07:02 wild",
    ]


def test_a_step_over_a_gap_makes_up_for_the_gap_once() -> None:
    sim = in_new_york(SPRING - HOUR, "30 1 * * * before", "30 2 * * * within", "30 3 * * * after")
    assert sim.step(2 * HOUR) == ["06:30 before", "07:00 within", "07:30 after"]


def test_a_step_back_over_a_gap_runs_no_fixed_job_again() -> None:
    sim = in_new_york(SPRING - HOUR, "30 2 * * * within", "0 * * * * wild")
    sim.wait(30)
    assert [line for _ in range(70) for line in sim.wait(60)] == ["07:00 within", "07:00 wild"]
    assert sim.step(-30 * MINUTE) == []
    assert [line for _ in range(60) for line in sim.wait(60)] == ["07:00 wild #2"]


def test_a_step_back_over_a_fold() -> None:
    sim = in_new_york(AUTUMN - 30 * MINUTE, "45 1 * * * fixed", "45 * * * * wild")
    shown = [line for _ in range(90) for line in sim.wait(60)]
    assert shown == ["05:45 fixed", "05:45 wild", "06:45 wild"]
    shown = sim.step(-90 * MINUTE) + [line for _ in range(90) for line in sim.wait(60)]
    assert shown == ["05:45 wild #2", "06:45 wild #2"]


# ---- tables


def test_a_new_table_does_not_run_past_fire_times() -> None:
    sim = Sim("2026-06-10T12:00:00", "* * * * * old")
    sim.wait(60)
    sim.timetable.put(table("* * * * * new", "1 12 * * * fixed", name="bob"))
    assert sim.wait(30) == []
    assert sim.wait(30) == ["12:02 old", "12:02 new"]


def test_a_table_replaces_the_one_of_its_name() -> None:
    sim = Sim("2026-06-10T12:00:00", "* * * * * old", "@reboot boot")
    sim.timetable.put(table("* * * * * new", "5 * * * * more"))
    assert [job.command for job in sim.timetable.jobs()] == ["new", "more"]
    assert sim.timetable.reboot_jobs() == []
    assert sim.wait(60) == ["12:01 new"]


def test_reading_a_table_again_loses_nothing_and_repeats_nothing() -> None:
    sim = Sim("2026-06-10T12:00:00", *BOTH)
    shown = []
    for second in range(1, 300):
        shown += sim.wait(1)
        if second % 7 == 0:
            sim.timetable.put(table(*BOTH))
    assert shown == both("12:01", "12:02", "12:03", "12:04")


def test_the_jobs_of_a_dropped_table_are_not_due() -> None:
    sim = Sim("2026-06-10T12:00:00", "* * * * * a", "@reboot boot")
    sim.timetable.put(table("* * * * * b", name="bob"))
    sim.timetable.drop("alice")
    sim.timetable.drop("nobody")
    assert sim.wait(60) == ["12:01 b"]
    sim.timetable.drop("bob")
    assert sim.timetable.next_fire_time() is None
    assert list(sim.timetable.jobs()) == []
    assert sim.wait(60) == []


def test_new_rules_of_a_zone_change_the_next_fire_times() -> None:
    zones: dict[str | None, Zone] = {None: UTC}
    timetable = Timetable(
        zones.__getitem__, Cursor(utc("2026-06-10T10:30"), utc("2026-06-10T10:30"))
    )
    timetable.put(table("0 12 * * * noon"))
    zones[None] = ZONES["Europe/Berlin"]
    timetable.zones_changed()
    # 12:00 in Berlin is over; the next one is tomorrow
    assert timetable.next_fire_time() == utc("2026-06-11T10:00")


def test_intervals_follow_the_clock_and_reboot_jobs_are_never_due() -> None:
    sim = Sim("2026-06-10T12:00:00", "@every 90s a", "@reboot boot")
    assert sim.timetable.next_fire_time() == utc("2026-06-10T12:01:30")
    assert sim.wait(300) == ["12:01:30 a", "12:03 a", "12:04:30 a"]
    assert [job.command for job in sim.timetable.reboot_jobs()] == ["boot"]
    assert sim.step(HOUR) == []
    assert sim.wait(90) == ["13:06 a"]


def test_without_a_schedule_there_is_no_next_fire_time() -> None:
    assert Sim("2026-06-10T12:00:00", "@reboot x").timetable.next_fire_time() is None


# ---- a new daemon

NOON = utc("2026-06-10T12:00")


@pytest.mark.parametrize(
    ("record", "cursor"),
    [
        # No record: from now on
        (None, Cursor(NOON, NOON)),
        # Soon after the last one stopped: continue from there
        (Cursor(NOON, NOON), Cursor(NOON, NOON)),
        (Cursor(NOON - LATE, NOON - LATE), Cursor(NOON - LATE, NOON - LATE)),
        # Later: from now on
        (Cursor(NOON - LATE - 1, NOON - LATE - 1), Cursor(NOON, NOON)),
        (Cursor(NOON - HOUR, NOON - HOUR), Cursor(NOON, NOON)),
        # Soon, with fixed Jobs that wait for the clock to catch up
        (
            Cursor(NOON + HOUR, NOON - 9, (NOON + HOUR,)),
            Cursor(NOON + HOUR, NOON - 9, (NOON + HOUR,)),
        ),
        # The clock was set back meanwhile: fixed Jobs wait, repeated fire times have another pass
        (Cursor(NOON + HOUR, NOON + HOUR), Cursor(NOON + HOUR, NOON, (NOON + HOUR,))),
        # The clock was set back so far that this is a new start
        (Cursor(NOON + 4 * HOUR, NOON + 4 * HOUR), Cursor(NOON, NOON, (NOON + 4 * HOUR,))),
        # The clock was set back by seconds, as time synchronisation does it: no step
        (Cursor(NOON + 20, NOON + 20), Cursor(NOON + 20, NOON + 20)),
    ],
)
def test_the_starting_cursor(record: Cursor | None, cursor: Cursor) -> None:
    assert starting_cursor(record, NOON) == cursor


@pytest.mark.parametrize(
    ("record", "stopped", "expected"),
    [
        (None, None, None),
        (Cursor(NOON, NOON), None, Cursor(NOON, NOON)),
        (None, NOON - 9, Cursor(NOON - 9, NOON - 9)),
        # The other cron has run after this one: what it ran does not run again
        (Cursor(NOON - 90, NOON - 90), NOON - 9, Cursor(NOON - 9, NOON - 9)),
        # It has run before this one
        (Cursor(NOON - 9, NOON - 9), NOON - 90, Cursor(NOON - 9, NOON - 9)),
        # The clock was set back since
        (None, NOON + 1, None),
    ],
)
def test_what_another_cron_has_run(
    record: Cursor | None, stopped: int | None, expected: Cursor | None
) -> None:
    assert after_other_cron(record, stopped, NOON) == expected


@pytest.mark.parametrize(
    ("down", "due"),
    [
        (5, []),
        (150, both("12:02", "12:03")),
        (300, both("12:02", "12:03", "12:04", "12:05", "12:06")),
        (301, []),
        (3 * HOUR, []),
    ],
)
def test_a_restart_continues_within_five_minutes_and_starts_anew_after_that(
    down: int, due: list[str]
) -> None:
    before = Sim("2026-06-10T12:00:30", *BOTH)
    assert before.wait(30) == both("12:01")
    cursor = starting_cursor(before.timetable.cursor, before.now + down)
    after = Sim("2026-06-10T12:01:00", *BOTH, cursor=cursor)
    assert after.wait(down) == due
    following = datetime.datetime.fromtimestamp(after.now - after.now % 60 + 60, datetime.UTC)
    assert after.wait(60 - after.now % 60) == both(f"{following:%H:%M}")


def test_a_restart_with_the_clock_set_back() -> None:
    before = Sim("2026-06-10T12:00:00", *BOTH)
    before.wait(60)
    start = "2026-06-10T11:31:00"
    cursor = starting_cursor(before.timetable.cursor, utc(start))
    after = Sim(start, *BOTH, cursor=cursor)
    assert after.wait(60) == ["11:32 wild #2"]
    shown = [line for _ in range(31) for line in after.wait(60)]
    assert shown[-5:] == ["12:01 wild #2", *both("12:02", "12:03")]
    assert not any(line.endswith("fixed") for line in shown[:-4])


def test_turns_are_counted_on_after_a_restart() -> None:
    before = Sim("2026-06-10T12:00:00", "* * * * * wild")
    before.wait(60)
    assert before.step(-90, awake=30) == ["12:00 wild #2"]
    after = Sim("2026-06-10T12:00:00", "* * * * * wild", cursor=before.timetable.cursor)
    assert after.wait(60) == ["12:01 wild #2"]
    assert after.wait(60) == ["12:02 wild"]


# ---- recorded firings: what Debian's cron did when its clock was set at 12:03:20

RECORDED = Path(os.environ.get("PYCRON_RECORDED", "/nowhere"))


@pytest.mark.skipif(
    not RECORDED.is_dir(), reason="PYCRON_RECORDED does not name the folder of recorded firings"
)
def test_a_stepped_clock_has_the_effect_that_was_recorded_of_debians_cron() -> None:
    rows = json.loads((RECORDED / "clock_steps.json").read_text())
    for row in rows:
        seen = Counter(instant[:16] for instant in row["fired_daemon_clock"])
        assert executed(row) == seen, (row["name"], row["line"])
    assert rows


def executed(row: dict[str, str | int]) -> Counter[str]:
    """The minutes in which a daemon that wakes up at each full minute runs the line."""
    start, end, jump_at = (utc(str(row[key])[:-1]) for key in ("start", "end", "jump_at"))
    timetable = Timetable(ZONES.__getitem__, Cursor(start, start))
    timetable.put(table(f"{row['line']} x"))
    runs: Counter[str] = Counter()
    now, slept = start, 0
    while True:
        sleep = 60 - now % 60
        if now < jump_at <= now + sleep and not slept:
            slept = int(row["jump_seconds"])
            now += slept
        now += sleep
        if now >= end:
            return runs
        minute = datetime.datetime.fromtimestamp(now, datetime.UTC).strftime("%Y-%m-%dT%H:%M")
        runs[minute] += len(timetable.take_due(now, sleep))
        runs += Counter()  # removes the minutes with a count of 0


@pytest.mark.parametrize("line", ["0 0 1 1 * x", "*/5 5 * * * x", "@every 1w x"])
def test_installing_a_table_many_times_takes_no_memory(line: str) -> None:
    """A table that was replaced is not kept until its next fire time."""
    timetable = Timetable(lambda _: UTC, Cursor(0, 0))
    timetable.put(table("* * * * * y", name="bob"))
    kept = []
    for _ in range(20):
        again = table(line)
        kept.append(weakref.ref(again.jobs))
        timetable.put(again)
    del again
    assert [jobs() is None for jobs in kept] == [True] * 19 + [False]
    assert timetable.next_fire_time() == 60


# ---- many entries, compared with the fire times of each

SOME = ("* * * * *", "*/7 * * * *", "H * * * *", "~ 3-5 * * *", "0 */2 * * *", "15,45 0-23 * * *",
        "30 2 * * *", "0 0 1,L * *", "@hourly", "@every 97s", "@reboot", "0 0 29 2 *")  # fmt: skip


@given(st.data())
@settings(max_examples=number_of(40, 400))
def test_due_jobs_are_those_that_the_schedules_name(data: st.DataObject) -> None:
    """For an hour or two around a shift of the clock, while tables are added and dropped."""
    start = data.draw(st.sampled_from([SPRING, AUTUMN, NOON])) - 1800
    timetable = Timetable(ZONES.__getitem__, Cursor(start, start))
    tables: dict[str, Table] = {}
    now = start
    for _ in range(data.draw(st.integers(1, 12))):
        name = data.draw(st.sampled_from(["alice", "bob"]))
        if data.draw(st.booleans()):
            lines = data.draw(st.lists(st.sampled_from(SOME), max_size=8))
            zone = data.draw(st.sampled_from(["", *NAMES]))
            tables[name] = table(f"CRON_TZ={zone}", *(f"{line} x" for line in lines), name=name)
            timetable.put(tables[name])
        elif data.draw(st.booleans()):
            tables.pop(name, None)
            timetable.drop(name)
        until = now + data.draw(st.integers(0, LATE))
        expected = sorted(
            (fire, job.source.name, job.line)
            for each in tables.values()
            for job in each.jobs
            for fire in fire_times(job.schedule, ZONES[job.zone], now + 1, until + 1)
        )
        coming = jobs_of(timetable.peek(until))
        assert {job.id for _, _, job in coming} == {
            job.id for each in tables.values() for job in each.jobs
            if (job.source.name, job.line) in {due[1:] for due in expected}
        }  # fmt: skip
        assert [fire for fire, _, _ in coming][:1] == [due[0] for due in expected][:1]
        due = jobs_of(timetable.take_due(until, until - now))
        assert [(fire, job.source.name, job.line) for fire, _, job in due] == expected
        now = until


def test_thousands_of_entries_that_are_due_again_and_again() -> None:
    """More entries than the heap beside the sorted array holds; most have their own fire time."""
    lines = [f"{n % 60} * * * * hourly" for n in range(3000)]
    lines += [f"{n % 60} {n // 60 % 24} * * * daily" for n in range(6000)]
    lines += ["* * * * * each"] * 1500
    sim = Sim("2026-06-10T12:00:00", *lines)
    for _ in range(61):
        sim.now += 60
        minute, hour = sim.now // 60 % 60, sim.now // 3600 % 24
        found = jobs_of(sim.timetable.take_due(sim.now, 60))
        due = Counter(job.command for _, _, job in found)
        daily = sum(1 for n in range(6000) if (n % 60, n // 60 % 24) == (minute, hour))
        assert due == {"each": 1500, "hourly": 50, "daily": daily}


def test_the_next_fire_times_of_the_wanted_users() -> None:
    sim = Sim("2026-06-10T12:00:00", "5 12 * * * a", "3 * * * * b", "@daily c")
    sim.timetable.put(table("3 12 * * * first", "1 * * * * not wanted", name="bob"))
    sim.timetable.put(table("3 12 * * * before", name="aaron"))

    def coming(most: int, *users: str) -> list[str]:
        return [
            describe(fire, 0, job) for fire, job in sim.timetable.coming(most, users.__contains__)
        ]

    assert coming(3, "alice", "aaron") == ["12:03 before", "12:03 b", "12:05 a"]
    assert coming(9, "alice") == ["12:03 b", "12:05 a", "00:00 c"]
    assert coming(1, "bob") == ["12:01 not wanted"]
    assert sim.wait(180) == ["12:01 not wanted", "12:03 before", "12:03 b", "12:03 first"]
    assert coming(1, "alice") == ["12:05 a"]


def test_cached_jobs_of_a_replaced_table_are_not_used() -> None:
    sim = Sim("2026-06-10T12:00:00", "* * * * * old")
    assert sim.wait(60) == ["12:01 old"]
    sim.timetable.put(table("* * * * * new"))
    assert sim.wait(60) == ["12:02 new"]


def test_what_is_due_in_a_minute_whatever_was_handed_out() -> None:
    """In a skipped hour a fixed Job is due when the gap ends; each Job once."""
    text = (
        "CRON_TZ=America/New_York\n"
        "CRON_NAME=gap 30 2 * * * true\n"
        "CRON_NAME=often @every 10s true\n"
        "CRON_NAME=never 31 3 * * * true\n"
    )
    zone = Zone("America/New_York", ZoneInfo("America/New_York"))
    minute = int(datetime.datetime(2026, 3, 8, 7, tzinfo=datetime.UTC).timestamp())  # 03:00 EDT
    table = parse(text, Source("joe", "joe"), ReaderContext())
    timetable = Timetable(lambda _: zone, Cursor(minute + 10**6, minute + 10**6), closed=True)
    timetable.put(table)
    due = timetable.due_in(minute, minute + 60)
    assert [(fire - minute, entries[index].name) for fire, _, entries, index in due] == [
        (0, "gap"),
        (0, "often"),
    ]
    assert timetable.next_fire_time() is None
    assert timetable.take_due(minute + 10**7, 10**7) == []
