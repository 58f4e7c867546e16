"""`why`: the verdict alone, the verdict from a real store, and the program."""

import datetime
import json
import re
import time
import zoneinfo
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pycron.control.access import Refusal
from pycron.control.diagnosis import Diagnosis, asked_time
from pycron.crontab.reader import ReaderContext, parse
from pycron.engine.actions import (
    Record,
    RecordAttempt,
    RecordEnded,
    RecordGap,
    RecordNotStarted,
    RecordRun,
    RecordStarted,
)
from pycron.engine.cursor import Cursor, Gap
from pycron.engine.diagnosis import (
    Answer,
    Evidence,
    RunEvidence,
    Verdict,
    diagnose,
    diagnose_removed,
)
from pycron.engine.engine import Engine
from pycron.engine.events import Ended, InputEvent, Now, PauseBegan, PauseEnded, TableLoaded, Tick
from pycron.engine.limits import Limits
from pycron.engine.local_time import AskedTime, local_time
from pycron.engine.start_times import start_delay
from pycron.model.instants import rfc3339
from pycron.model.job import Job, Source
from pycron.model.pause import ALL, Pause, Scope
from pycron.model.retention import RetentionLimits
from pycron.model.run import AttemptKey, Ending, Outcome, RunKey
from pycron.protocol.control_answers import WhyRow
from pycron.protocol.control_messages import BadRequest, WhyRequest, parse_request
from pycron.schedule.expressions import Schedule, parse_cron, parse_nickname
from pycron.schedule.fire_times import fire_times
from pycron.schedule.words import FIXED, WILDCARD
from pycron.schedule.zone import UTC, Zone
from pycron.storage.store import Store
from pycron.system import host
from pycron.system.zone_data import ZoneData
from tests.support.running_daemon import foreground, run
from tests.support.waiting import until
from tests.unit.test_docs import sections


def zone(name: str) -> Zone:
    return Zone(name, zoneinfo.ZoneInfo(name))


NEW_YORK = zone("America/New_York")
LATER = Evidence(now=2_000_000_000)
EARLIER = Evidence(now=0)


def schedule(text: str) -> Schedule:
    words = text.split()
    return parse_nickname(*words) if text.startswith("@") else parse_cron(tuple(words))


def asked(text: str) -> AskedTime:
    """With an offset an instant, without one a wall time."""
    moment = datetime.datetime.fromisoformat(text)
    wall = moment.tzinfo is None
    return AskedTime(
        int((moment.replace(tzinfo=datetime.UTC) if wall else moment).timestamp()), wall
    )


def instant(text: str) -> int:
    return asked(text).second


def answer(text: str, time: str, where: Zone = UTC, evidence: Evidence = LATER) -> Answer:
    local = local_time(asked(time), schedule(text), where)
    return diagnose(schedule(text), where, local, evidence)


# ---- not due: field by field


@pytest.mark.parametrize(
    ("text", "time", "reason"),
    [
        ("30 2 * * *", "2026-11-24T02:31", "minute says 30 and was 31"),
        ("30 2 * * *", "2026-11-24T04:31",
         "minute says 30 and was 31; hour says 2 and was 4"),
        ("30 2 * jan-mar *", "2026-11-24T02:30", "month says jan-mar and was 11 (nov)"),
        ("30 2 * * 0", "2026-11-24T02:30", "day-of-week says 0 and was 2 (tue)"),
        ("30 2 * * mon", "2026-11-22T02:30", "day-of-week says mon and was 0 (sun)"),
        ("30 2 13 * *", "2026-11-24T02:30", "day-of-month says 13 and was 24"),
        ("30 2 L * *", "2026-11-24T02:30", "day-of-month says L and was 24"),
        ("30 2 * * 5#2", "2026-11-20T02:30", "day-of-week says 5#2 and was 5 (fri)"),
        ("@daily", "2026-11-24T02:30", "minute says 0 and was 30; hour says 0 and was 2"),
        # Two day fields: combined with OR, none matches; combined with AND, one does not match
        ("0 9 13 * 5", "2026-11-24T09:00",
         "day-of-month says 13 and was 24; day-of-week says 5 and was 2 (tue)"),
        ("0 9 */2 * 5", "2026-11-20T09:00", "day-of-month says */2 and was 20"),
        ("0 9 */2 * 5", "2026-11-23T09:00", "day-of-week says 5 and was 1 (mon)"),
        ("1 9 13 * 5", "2026-11-13T09:00", "minute says 1 and was 0"),
        # Not five fields
        ("@every 7h", "2026-11-24T02:30",
         "it is due every 25200 seconds, counted from 1970-01-01T00:00Z"),
        ("@reboot", "2026-11-24T02:30",
         "it is due once, when the daemon first starts after the machine did"),
    ],
)  # fmt: skip
def test_the_fields_that_do_not_match_are_the_reason(text: str, time: str, reason: str) -> None:
    found = answer(text, time)
    assert (found.verdict, found.reason) == (Verdict.NOT_DUE, reason)


def test_the_fields() -> None:
    found = answer("*/10 2,3 * 11 mon", "2026-11-24T02:35")
    checks = [(check.field.name, check.says, check.was, check.matches) for check in found.fields]
    assert checks == [
        ("minute", "*/10", 35, False),
        ("hour", "2,3", 2, True),
        ("day-of-month", "*", 24, True),
        ("month", "11", 11, True),
        ("day-of-week", "mon", 2, False),
    ]


def test_an_interval_and_reboot_have_no_fields() -> None:
    assert answer("@every 7h", "2026-11-24T02:30").fields == ()
    assert answer("@reboot", "2026-11-24T02:30").fields == ()


@pytest.mark.parametrize(
    ("text", "note"),
    [
        ("0 9 13 * 5", "One of the two day fields will do, as neither begins with a star."),
        ("0 9 */2 * 5", "Both day fields have to match, as one of them begins with a star."),
        ("0 9 1-7 * */7", "Both day fields have to match, as one of them begins with a star."),
    ],
)
def test_the_rule_of_the_two_day_fields(text: str, note: str) -> None:
    assert note in answer(text, "2026-11-24T09:00").notes


@pytest.mark.parametrize("text", ["0 9 13 * *", "0 9 * * 5", "0 9 * * *", "@daily", "@every 9m"])
def test_no_note_on_the_rule_if_a_day_field_is_a_star(text: str) -> None:
    assert answer(text, "2026-11-24T09:00").notes == ()


def test_the_fire_times_before_and_after() -> None:
    found = answer("30 2 * * 0", "2026-11-24T02:30")
    assert found.before == instant("2026-11-22T02:30Z")
    assert found.after == instant("2026-11-29T02:30Z")


def test_before_and_after_a_fire_time_are_its_neighbours() -> None:
    found = answer("30 2 * * *", "2026-11-24T02:30")
    assert found.before == instant("2026-11-23T02:30Z")
    assert found.after == instant("2026-11-25T02:30Z")


def test_the_neighbours_of_a_fire_time_may_be_a_minute_away() -> None:
    found = answer("* * * * *", "2026-11-24T02:30")
    assert (found.before, found.after) == (
        instant("2026-11-24T02:29Z"), instant("2026-11-24T02:31Z"),
    )  # fmt: skip


def test_before_the_first_fire_time_there_is_none() -> None:
    assert answer("@yearly", "1970-01-01T00:00").before is None
    rare = answer("0 0 29 2 *", "2026-11-24T02:30")
    assert (rare.before, rare.after) == (
        instant("2024-02-29T00:00Z"), instant("2028-02-29T00:00Z"),
    )  # fmt: skip


def test_the_zone_is_that_of_the_job() -> None:
    tokyo = zone("Asia/Tokyo")
    found = answer("0 9 * * 2", "2026-11-24T00:00Z", tokyo, EARLIER)
    assert found.verdict is Verdict.WILL_BE_DUE
    assert [check.was for check in found.fields] == [0, 9, 24, 11, 2]
    assert answer("0 9 * * 2", "2026-11-24T09:00", tokyo, EARLIER).verdict is Verdict.WILL_BE_DUE


# ---- a shifted clock. New York skips 02:00-02:59 on 8 March 2026 (07:00Z) and repeats 01:00-01:59
# on 1 November 2026 (05:00Z, 06:00Z)


def test_a_fixed_job_in_a_gap_is_due_when_the_clock_has_jumped() -> None:
    found = answer("30 2 * * *", "2026-03-08T02:30", NEW_YORK, EARLIER)
    assert found.verdict is Verdict.WILL_BE_DUE
    assert found.notes == (
        "The clock never showed that time: it jumped over it at 2026-03-08T07:00:00Z.", FIXED,
    )  # fmt: skip
    assert all(check.matches for check in found.fields)
    assert local_time(asked("2026-03-08T02:30"), schedule("30 2 * * *"), NEW_YORK).windows == [
        (instant("2026-03-08T07:00Z"), instant("2026-03-08T07:00Z") + 1)
    ]


def test_a_wildcard_job_in_a_gap_is_not_due() -> None:
    found = answer("*/30 * * * *", "2026-03-08T02:30", NEW_YORK)
    assert (found.verdict, found.reason) == (Verdict.NOT_DUE, "the clock skipped that time")
    assert found.notes[1] == WILDCARD
    assert found.before == instant("2026-03-08T06:30Z")
    assert found.after == instant("2026-03-08T07:30Z")


def test_in_a_gap_only_the_time_of_the_job_is_due() -> None:
    found = answer("30 2 * * *", "2026-03-08T02:31", NEW_YORK)
    assert (found.verdict, found.reason) == (Verdict.NOT_DUE, "minute says 30 and was 31")


def test_a_job_of_the_gap_is_due_at_the_end_of_the_gap() -> None:
    found = answer("30 2 * * *", "2026-03-08T03:00", NEW_YORK, EARLIER)
    assert found.verdict is Verdict.WILL_BE_DUE
    assert found.notes == ("It was due at a time that the clock had just jumped over.", FIXED)


def test_a_skipped_day_is_not_made_up_for() -> None:
    samoa = zone("Pacific/Apia")  # had no 30 December 2011
    found = answer("0 9 30 12 *", "2011-12-30T09:00", samoa)
    assert (found.verdict, found.reason) == (Verdict.NOT_DUE, "the clock skipped that time")
    assert found.notes[1] == "A shift of more than three hours is not made up for."


def test_a_repeated_time_of_a_wildcard_job_is_two_fire_times() -> None:
    local = local_time(asked("2026-11-01T01:30"), schedule("30 * * * *"), NEW_YORK)
    assert local.due == (instant("2026-11-01T05:30Z"), instant("2026-11-01T06:30Z"))
    assert len(local.windows) == 2


def test_a_repeated_time_of_a_fixed_job_is_the_first() -> None:
    local = local_time(asked("2026-11-01T01:30"), schedule("30 1 * * *"), NEW_YORK)
    assert local.due == (instant("2026-11-01T05:30Z"),)
    found = answer("30 1 * * *", "2026-11-01T01:30", NEW_YORK, EARLIER)
    twice = "The clock showed that time twice: at 2026-11-01T05:30:00Z and 2026-11-01T06:30:00Z."
    assert (found.verdict, found.notes) == (Verdict.WILL_BE_DUE, (twice, FIXED))


def test_in_the_second_pass_only_wildcard_jobs_are_due() -> None:
    found = answer("30 1 * * *", "2026-11-01T01:30-05:00", NEW_YORK)
    assert found.verdict is Verdict.NOT_DUE
    assert found.reason.startswith("the clock showed that time for the second time")
    assert found.notes == (FIXED,)
    both = [f"2026-11-01T01:30-0{offset}:00" for offset in (4, 5)]
    found_wild = [answer("30 * * * *", time, NEW_YORK, EARLIER) for time in both]
    assert {each.verdict for each in found_wild} == {Verdict.WILL_BE_DUE}


# ---- a time means a minute or a second


@pytest.mark.parametrize("second", [0, 1, 30, 59])
def test_a_time_is_a_whole_minute(second: int) -> None:
    found = answer("30 2 * * *", f"2026-11-24T02:30:{second:02}", evidence=EARLIER)
    assert found.verdict is Verdict.WILL_BE_DUE


@pytest.mark.parametrize(
    ("time", "due"),
    [
        ("2026-11-24T02:30", [0, 10, 20, 30, 40, 50]),  # the whole minute
        ("2026-11-24T02:30:20", [20]),
        ("2026-11-24T02:30:21", []),
    ],
)
def test_an_interval_to_the_second(time: str, due: list[int]) -> None:
    for form in (time, f"{time}Z"):
        local = local_time(asked(form), schedule("@every 10s"), UTC)
        assert [fire % 60 for fire in local.due] == due


def test_the_neighbours_of_an_interval() -> None:
    found = answer("@every 1h", "2026-11-24T02:30")
    assert (found.before, found.after) == (
        instant("2026-11-24T02:00Z"), instant("2026-11-24T03:00Z"),
    )  # fmt: skip


# ---- the record


@pytest.mark.parametrize(
    ("record", "verdict", "reason"),
    [
        (RunEvidence(Outcome.SUCCEEDED, 1, lateness_ms=3), "ran",
         "succeeded, 1 attempt, begun 3 ms after its fire time"),
        (RunEvidence(Outcome.FAILED, 3, lateness_ms=3, reason="the next fire time came"), "ran",
         "failed, 3 attempts, begun 3 ms after its fire time, the next fire time came"),
        (RunEvidence(Outcome.LOST, 1, reason="the runner died"), "ran",
         "lost, 1 attempt, the runner died"),
        (RunEvidence(Outcome.MISSED, reason="more than 5m late"), "missed", "more than 5m late"),
        (RunEvidence(Outcome.SKIPPED, reason="forbidden"), "skipped", "forbidden"),
        (RunEvidence(Outcome.CANCELLED, reason="its entry is gone"), "cancelled",
         "its entry is gone"),
        (RunEvidence(None, 1, running=True, lateness_ms=0), "running",
         "1 attempt, begun 0 ms after its fire time"),
        (RunEvidence(None), "waiting", "it has not begun"),
        (RunEvidence(None, 1, lateness_ms=9, retry_at=1_800_000_000), "waiting",
         "1 attempt, begun 9 ms after its fire time, the next one is due at 2027-01-15T08:00:00Z"),
        (RunEvidence(None, waits_for="limits.running is 1"), "waiting",
         "it has not begun, limits.running is 1"),
        (RunEvidence(None, 1, retry_at=1_800_000_000, waits_for="paused by root"), "waiting",
         "1 attempt, the next one is due at 2027-01-15T08:00:00Z, paused by root"),
    ],
)  # fmt: skip
def test_a_run_on_record(record: RunEvidence, verdict: str, reason: str) -> None:
    found = answer("30 2 * * *", "2026-11-24T02:30", evidence=replace(LATER, runs=(record,)))
    assert (found.verdict, found.reason) == (verdict, reason)


@pytest.mark.parametrize(
    ("outcomes", "verdict", "reason"),
    [
        (["succeeded", "succeeded", "skipped"], "ran", "3 Runs: 2 succeeded, 1 skipped"),
        (["missed", "skipped"], "skipped", "2 Runs: 1 missed, 1 skipped"),
        (["skipped", None], "waiting", "2 Runs: 1 skipped, 1 waiting"),
    ],
)
def test_several_runs(outcomes: list[str | None], verdict: str, reason: str) -> None:
    runs = tuple(RunEvidence(Outcome(each) if each else None) for each in outcomes)
    found = answer("@every 10s", "2026-11-24T02:30", evidence=replace(LATER, runs=runs))
    assert (found.verdict, found.reason) == (verdict, reason)


def test_a_run_started_by_hand_is_noted() -> None:
    record = RunEvidence(Outcome.SUCCEEDED, 1, lateness_ms=0, started_by="anna")
    found = answer("30 2 * * *", "2026-11-24T11:11", evidence=replace(LATER, runs=(record,)))
    assert (found.verdict, found.notes) == (Verdict.RAN, ("Started by hand, by anna.",))


def test_a_run_at_a_time_at_which_its_entry_is_not_due() -> None:
    record = RunEvidence(Outcome.SUCCEEDED, 1, lateness_ms=0)
    found = answer("30 2 * * *", "2026-11-24T11:11", evidence=replace(LATER, runs=(record,)))
    assert found.verdict is Verdict.RAN
    assert found.notes == ("By what its entry says now it was not due then.",)


@pytest.mark.parametrize(
    ("evidence", "verdict", "reason"),
    [
        (EARLIER, "will_be_due", "at 02:30"),
        (replace(LATER, gap="the daemon was not running"), "passed_over",
         "the daemon was not running"),
        (replace(LATER, reaches_back=False), "unknown", "nothing as old is on record"),
        (LATER, "unknown", "nothing is on record; it may be that its entry was another then, "
         "or not there yet, or the daemon was not running"),
    ],
)  # fmt: skip
def test_due_and_nothing_on_record(evidence: Evidence, verdict: str, reason: str) -> None:
    found = answer("30 2 * * *", "2026-11-24T02:30", evidence=evidence)
    assert (found.verdict, found.reason) == (verdict, reason)


def test_a_gap_does_not_matter_if_the_job_was_not_due() -> None:
    found = answer("30 2 * * *", "2026-11-24T02:31", evidence=replace(LATER, gap="not running"))
    assert found.verdict is Verdict.NOT_DUE


def test_reboot_notes_the_last_start() -> None:
    found = answer("@reboot", "2026-11-24T02:30", evidence=replace(LATER, started=1_800_000_000))
    assert found.notes == ("The last such start was at 2027-01-15T08:00:00Z.",)
    assert (found.before, found.after) == (None, None)


def test_an_entry_that_is_gone() -> None:
    assert diagnose_removed(LATER) == Answer(
        Verdict.UNKNOWN, "nothing is on record", ("Its entry is gone.",)
    )
    ran = RunEvidence(Outcome.SUCCEEDED, 1)
    assert diagnose_removed(replace(LATER, runs=(ran,))).verdict is Verdict.RAN


# ---- all schedules, zones and times

ZONES = [NEW_YORK, UTC, zone("Europe/Berlin"), zone("Australia/Lord_Howe"), zone("Pacific/Apia")]
TEXTS = ["* * * * *", "*/30 1-3 * * *", "30 2 * * *", "0,30 0-4 * * 0", "0 3 13 * 5", "@every 7m"]
DAYS = [("2026-03-08", 3), ("2026-11-01", 3), ("2026-03-29", 3), ("2026-04-05", 3),
        ("2026-10-04", 3), ("2011-12-29", 3)]  # fmt: skip


@given(st.sampled_from(TEXTS), st.sampled_from(ZONES), st.sampled_from(DAYS), st.integers(0, 4319))
def test_it_agrees_with_the_fire_times(
    text: str, where: Zone, days: tuple[str, int], minute: int
) -> None:
    """An instant is due if its minute has a fire time; a wall time, if one of its instants is."""
    second = instant(f"{days[0]}T00:00Z") + minute * 60
    when = schedule(text)
    local = local_time(AskedTime(second, wall=False), when, where)
    assert list(local.due) == list(fire_times(when, where, second, second + 60))
    wall = where.local(second).replace(tzinfo=datetime.UTC)
    shown = local_time(AskedTime(int(wall.timestamp()), wall=True), when, where)
    assert second in shown.instants
    assert set(local.due) <= set(shown.due)
    found = diagnose(when, where, local, EARLIER)
    assert (found.verdict is Verdict.WILL_BE_DUE) == bool(local.due)
    assert found.reason
    assert found.before is None or found.before < second
    assert found.after is None or found.after >= second + 60


@given(st.sampled_from(ZONES), st.sampled_from(DAYS), st.integers(0, 4319))
def test_a_wall_time_is_shown_or_jumped_over(
    where: Zone, days: tuple[str, int], minute: int
) -> None:
    wall = instant(f"{days[0]}T00:00Z") + minute * 60
    instants = where.instants_of(wall)
    assert [second + where.offset_at(second) for second in instants] == [wall] * len(instants)
    if not instants:
        jump = where.jump_over(wall)
        assert jump - 1 + where.offset_at(jump - 1) < wall < jump + where.offset_at(jump)


# ---- from a real store

NOON = instant("2026-03-10T12:00Z")  # a Tuesday
KEYS = ["job", "id", "table", "line", "user", "schedule", "zone", "time", "verdict", "reason",
        "notes", "fields", "before", "after", "runs", "gone", "paused", "path"]  # fmt: skip


class Scenario:
    """An engine with tables, and a store with Runs."""

    def __init__(self, path: Path) -> None:
        self.store = Store(path)
        self.zones = ZoneData("UTC")
        self.engine = Engine(self.zones.zone, Cursor(NOON, NOON))
        self.last_boot = NOON + 0.5

    def load(self, name: str, text: str, owner: str | None = "anna") -> tuple[Job, ...]:
        table = parse(text, Source(name, owner), ReaderContext())
        assert not table.errors
        self.engine.handle(TableLoaded(table), Now(NOON, 0.0))
        return tuple(table.jobs)

    def ran(self, job: Job, fire_time: int, outcome: Outcome = Outcome.SUCCEEDED) -> None:
        key = RunKey(job.id, fire_time)
        attempt = AttemptKey(key, 1)
        ending = Ending(fire_time + 2.0, 0, None, 0.1, 1000, 0)
        self.store.write(
            [RecordRun(key, job), RecordAttempt(attempt),
             RecordStarted(attempt, 1, fire_time + 0.25),
             RecordEnded(attempt, outcome, ending, None, outcome)]
        )  # fmt: skip

    def why(self, name: str, time: str, *users: str) -> list[WhyRow]:
        """The answer for someone who may see the Jobs of these users; no users: of all."""
        diagnosis = Diagnosis(
            self.engine, self.store, lambda: self.last_boot, lambda user: not users or user in users
        )
        question = asked(time)
        return diagnosis.rows(name, asked_time(question.second, wall=question.wall))


@pytest.fixture
def scenario(tmp_path: Path) -> Iterator[Scenario]:
    scenario = Scenario(tmp_path / "db")
    yield scenario
    scenario.store.close()


def test_a_run_is_found_by_the_minute_of_its_fire_time(scenario: Scenario) -> None:
    (job,) = scenario.load("anna", "CRON_NAME=a CRON_TZ=Europe/Berlin 0 13 * * * true\n")
    scenario.ran(job, NOON)
    for when in ("2026-03-10T13:00", "2026-03-10T12:00:59Z"):
        (row,) = scenario.why("a", when)
        assert (row["verdict"], [run["fire_time"] for run in row["runs"]]) == (
            "ran",
            [rfc3339(NOON)],
        )
    assert row["reason"] == "succeeded, 1 attempt, begun 250 ms after its fire time"
    assert row["time"] == "2026-03-10T13:00:00+01:00"
    (row,) = scenario.why(job.id, "2026-03-10T12:00")
    assert (row["verdict"], row["runs"]) == ("not_due", [])
    assert row["after"] == {
        "fire_time": "2026-03-10T12:00:00Z", "local": "2026-03-10T13:00:00+01:00",
    }  # fmt: skip


def test_a_run_in_a_gap_is_found(scenario: Scenario) -> None:
    (job,) = scenario.load("anna", "CRON_NAME=a CRON_TZ=America/New_York 30 2 * * * true\n")
    scenario.ran(job, instant("2026-03-08T07:00Z"))
    (row,) = scenario.why("a", "2026-03-08T02:30")
    assert (row["verdict"], row["time"]) == ("ran", "2026-03-08T02:30:00")
    (row,) = scenario.why("a", "2026-03-08T02:31")
    assert row["verdict"] == "not_due"


def test_both_passes_of_a_repeated_time(scenario: Scenario) -> None:
    (job,) = scenario.load("anna", "CRON_NAME=a CRON_TZ=America/New_York 30 * * * * true\n")
    fires = [instant("2025-11-02T05:30Z"), instant("2025-11-02T06:30Z")]
    for fire in fires:
        scenario.ran(job, fire)
    (row,) = scenario.why("a", "2025-11-02T01:30")
    assert [run["fire_time"] for run in row["runs"]] == [rfc3339(fire) for fire in fires]
    (row,) = scenario.why("a", "2025-11-02T01:30-05:00")
    assert [run["fire_time"] for run in row["runs"]] == [rfc3339(fires[1])]


def test_a_gap_on_record_of_its_kind_of_job(scenario: Scenario) -> None:
    (job,) = scenario.load(
        "anna", "CRON_NAME=fixed 0 12 * * * true\nCRON_NAME=wild 0 * * * * true\n"
    )[:1]
    scenario.ran(job, NOON - 86_400)
    gap = Gap(NOON - 600, NOON + 600, wall=False)
    scenario.store.write([RecordGap(gap, "the daemon was not running from … to …")])
    (row,) = scenario.why("fixed", "2026-03-10T12:00")
    assert (row["verdict"], row["reason"]) == (
        "passed_over", "the daemon was not running from … to …",
    )  # fmt: skip
    (row,) = scenario.why("wild", "2026-03-10T12:00")
    assert row["verdict"] == "unknown"


def test_unknown_says_whether_runs_as_old_are_recorded(scenario: Scenario) -> None:
    (job,) = scenario.load("anna", "CRON_NAME=a 0 12 * * * true\n")
    scenario.ran(job, NOON)
    (row,) = scenario.why("a", "2026-03-09T12:00")
    assert (row["verdict"], row["reason"]) == ("unknown", "nothing as old is on record")
    (row,) = scenario.why("a", "2026-03-11T12:00")
    assert row["verdict"] == "unknown"
    assert "its entry was another then" in row["reason"]


def test_a_run_that_was_not_begun(scenario: Scenario) -> None:
    (job,) = scenario.load("anna", "CRON_NAME=a 0 12 * * * true\n")
    key = RunKey(job.id, NOON)
    records: list[Record] = [RecordRun(key, job)]
    scenario.store.write([*records, RecordNotStarted(key, Outcome.SKIPPED, "paused by anna")])
    (row,) = scenario.why("a", "2026-03-10T12:00")
    assert (row["verdict"], row["reason"]) == ("skipped", "paused by anna")


def test_a_run_started_by_hand(scenario: Scenario) -> None:
    (job,) = scenario.load("anna", "CRON_NAME=a 0 12 * * * true\n")
    scenario.store.write([RecordRun(RunKey(job.id, NOON + 100), job, by="berta")])
    (row,) = scenario.why("a", "2026-03-10T12:01")
    assert (row["verdict"], row["notes"]) == ("waiting", ["Started by hand, by berta."])


def test_one_name_in_several_tables(scenario: Scenario) -> None:
    scenario.load("anna", "CRON_NAME=a 0 12 * * * true\n")
    scenario.load("/etc/pycron.d/x", "CRON_NAME=a 0 13 * * * berta true\n", None)
    rows = scenario.why("a", "2031-03-10T12:00")
    assert [(row["table"], row["user"], row["verdict"]) for row in rows] == [
        ("/etc/pycron.d/x", "berta", "not_due"), ("anna", "anna", "will_be_due"),
    ]  # fmt: skip


def test_users_get_no_answer_about_jobs_that_they_may_not_see(scenario: Scenario) -> None:
    (job,) = scenario.load("anna", "CRON_NAME=a 0 12 * * * true\n")
    scenario.ran(job, NOON)
    assert len(scenario.why("a", "2026-03-10T12:00", "anna")) == 1
    with pytest.raises(Refusal, match=r'^no such job: "a" \(pycron list\)$'):
        scenario.why("a", "2026-03-10T12:00", "berta")
    scenario.load("anna", "")  # nor when the entry is gone
    assert len(scenario.why("a", "2026-03-10T12:00", "anna")) == 1
    with pytest.raises(Refusal, match="no such job"):
        scenario.why("a", "2026-03-10T12:00", "berta")


def test_the_verdict_follows_a_run_through_its_attempts(scenario: Scenario) -> None:
    """Recorded, started, ended and to be tried again, tried again."""
    (job,) = scenario.load("anna", "CRON_NAME=a 0 12 * * * true\n")
    key = RunKey(job.id, NOON)
    first, second = AttemptKey(key, 1), AttemptKey(key, 2)
    failed = RecordEnded(first, Outcome.FAILED, None, None, None, retry_at=NOON + 30.0)
    steps: list[tuple[list[Record], str]] = [
        ([RecordRun(key, job)], "waiting"),
        ([RecordAttempt(first)], "waiting"),
        ([RecordStarted(first, 1, NOON + 0.25)], "running"),
        ([failed], "waiting"),
        ([RecordAttempt(second), RecordStarted(second, 2, NOON + 31.0)], "running"),
    ]
    for records, verdict in steps:
        scenario.store.write(records)
        (row,) = scenario.why("a", "2026-03-10T12:00")
        assert row["verdict"] == verdict
    assert row["reason"] == "2 attempts, begun 250 ms after its fire time"


def follow(scenario: Scenario, event: InputEvent, now: float) -> None:
    """Hand an event to the engine and write its records to the store."""
    actions = scenario.engine.handle(event, Now(now, now))
    scenario.store.write(action for action in actions if isinstance(action, Record))


def test_what_a_run_waits_for(scenario: Scenario) -> None:
    limits = Limits(running=1)
    scenario.engine = Engine(scenario.zones.zone, Cursor(NOON - 1, NOON - 1), limits=limits)
    settings = "CRON_RETRIES=1 CRON_RETRY_DELAY=30s CRON_RETRY_JITTER=0 CRON_RETRY_UNTIL=never"
    text = f"CRON_NAME=a {settings} 0 12 * * * true\nCRON_NAME=b 0 12 * * * true\n"
    first, _ = scenario.load("anna", text)
    attempt = AttemptKey(RunKey(first.id, NOON), 1)

    def reason(name: str) -> str:
        (row,) = scenario.why(name, "2026-03-10T12:00")
        assert row["verdict"] == "waiting"
        return str(row["reason"])

    follow(scenario, Tick(), NOON)
    assert reason("b") == "it has not begun, limits.running is 1"
    follow(scenario, PauseBegan(Pause(ALL, NOON + 1, NOON + 60, "root", "upgrade")), NOON + 1)
    assert reason("b") == "it has not begun, paused by root: upgrade, until 2026-03-10T12:01:00Z"
    follow(scenario, Ended(attempt, Ending(NOON + 2, 1, None, 0.1, 1000, 0)), NOON + 2)
    due = "1 attempt, the next one is due at 2026-03-10T12:00:32Z"
    assert reason("a") == f"{due}, paused by root: upgrade, until 2026-03-10T12:01:00Z"
    follow(scenario, PauseBegan(Pause(Scope.of_user("anna"), NOON + 3, None, "anna")), NOON + 3)
    follow(scenario, PauseEnded(ALL), NOON + 3)
    assert reason("a") == f"{due}, paused by anna"


def test_a_run_waits_for_the_end_of_its_delay(scenario: Scenario) -> None:
    now = int(time.time())
    scenario.engine = Engine(scenario.zones.zone, Cursor(now - 1, now - 1))
    (job,) = scenario.load("anna", "CRON_NAME=a CRON_JITTER=300d @every 1s true\n")
    follow(scenario, Tick(), now)
    until_then = rfc3339(now + start_delay(job, ""))
    (row,) = scenario.why("a", rfc3339(now))
    assert row["reason"] == f"it has not begun, its delay is over at {until_then} (CRON_JITTER)"


def test_a_pause_to_come(scenario: Scenario) -> None:
    scenario.load("anna", "CRON_NAME=a 30 2 * * * true\n")
    ends = instant("2031-11-24T02:30Z")
    for pause in (
        Pause(Scope.of_user("bert"), NOON, None, "root"),
        Pause(ALL, NOON, ends, "root", "move"),
    ):
        scenario.engine.handle(PauseBegan(pause), Now(NOON, 0.0))
    (within,) = scenario.why("a", "2031-11-23T02:30")
    (after,) = scenario.why("a", "2031-11-24T02:30")
    (before,) = scenario.why("a", "2026-03-09T02:30")
    assert within["notes"] == [
        "It is paused by root: move, until 2031-11-24T02:30:00Z: what is due in the pause is"
        " skipped."
    ]
    assert (within["verdict"], after["notes"], before["notes"]) == ("will_be_due", [], [])


def test_an_entry_that_is_gone_and_has_a_history(scenario: Scenario) -> None:
    (old,) = scenario.load("anna", "CRON_NAME=a CRON_TZ=Europe/Berlin 0 13 * * * true\n")
    scenario.ran(old, NOON)
    scenario.load("anna", "")
    for name in ("a", old.id):
        (row,) = scenario.why(name, "2026-03-10T13:00")
        assert (row["verdict"], row["gone"], row["notes"]) == ("ran", True, ["Its entry is gone."])
        assert (row["schedule"], row["zone"]) == ("0 13 * * *", "Europe/Berlin")
        (row,) = scenario.why(name, "2026-03-10T14:00")
        assert (row["verdict"], row["runs"], row["before"]) == ("unknown", [], None)
        assert list(row) == KEYS


def test_an_entry_that_is_gone_while_another_has_its_name(scenario: Scenario) -> None:
    (old,) = scenario.load("/etc/pycron.d/x", "CRON_NAME=a 0 12 * * * anna true\n", None)
    scenario.ran(old, NOON)
    scenario.load("/etc/pycron.d/x", "", None)
    scenario.load("anna", "CRON_NAME=a 0 13 * * * true\n")
    rows = scenario.why("a", "2026-03-10T12:00")
    assert [(row["table"], row["verdict"], row["gone"]) for row in rows] == [
        ("anna", "not_due", False), ("/etc/pycron.d/x", "ran", True),
    ]  # fmt: skip
    (row,) = scenario.why("a", "2026-03-10T14:00")  # then the old one has nothing to say
    assert not row["gone"]


def test_a_schedule_that_was_another_one(scenario: Scenario) -> None:
    """A name keeps the identity of its Job through every edit of the entry."""
    (old,) = scenario.load("anna", "CRON_NAME=a 0 12 * * * true\n")
    scenario.ran(old, NOON)
    scenario.load("anna", "CRON_NAME=a 0 13 * * * true\n")
    (row,) = scenario.why("a", "2026-03-10T12:00")
    assert row["verdict"] == "ran"
    assert row["notes"] == ["By what its entry says now it was not due then."]


def test_an_entry_that_is_gone_and_whose_zone_is_gone(scenario: Scenario) -> None:
    """Its Runs are still there, in the machine's zone."""
    table = parse("CRON_NAME=a CRON_TZ=Mars/Olympus 0 13 * * * true\n",
                  Source("anna", "anna"), ReaderContext(zone_exists=lambda _: True))  # fmt: skip
    (old,) = table.jobs
    scenario.ran(old, NOON)
    (row,) = scenario.why("a", "2026-03-10T12:00")
    assert (row["verdict"], row["zone"], row["gone"]) == ("ran", "UTC", True)


def test_an_entry_that_is_gone_and_whose_runs_are_gone(scenario: Scenario) -> None:
    (old,) = scenario.load("anna", "CRON_NAME=a 0 12 * * * true\n")
    scenario.ran(old, NOON)
    scenario.load("anna", "")
    scenario.store.prune(
        RetentionLimits(100, 100, 100, 2**30, 2**30, 2**30), NOON + 1, lambda _: None
    )
    with pytest.raises(Refusal, match="no such job"):
        scenario.why("a", "2026-03-10T12:00")


def test_when_reboot_was_last(scenario: Scenario) -> None:
    scenario.load("anna", "CRON_NAME=a @reboot true\n")
    (row,) = scenario.why("a", "2026-03-10T12:00")
    assert row["notes"] == ["The last such start was at 2026-03-10T12:00:00Z."]
    scenario.last_boot = NOON - 3600.0
    (row,) = scenario.why("a", "2026-03-10T12:00")
    assert row["notes"] == ["The last such start was at 2026-03-10T11:00:00Z."]


def test_the_machine_was_started_before_now() -> None:
    assert 0 < host.boot_time() < time.time()


def test_too_many_of_one_name(scenario: Scenario) -> None:
    for number in range(101):
        scenario.load(f"/etc/pycron.d/{number}", "CRON_NAME=a 0 12 * * * anna true\n", None)
    with pytest.raises(Refusal, match="too many jobs"):
        scenario.why("a", "2026-03-10T12:00")


@pytest.mark.parametrize("second", [None, "12:00", 1.5, -1, 2**62, True])
def test_a_bad_time_is_refused(second: object) -> None:
    with pytest.raises((BadRequest, Refusal), match=r"^bad time"):
        asked_time(_time_of({"verb": "why", "job": "a", "time": second}), wall=False)


def _time_of(message: dict[str, object]) -> int:
    request = parse_request(message, "")
    assert isinstance(request, WhyRequest)
    return request.time


def test_the_manual_has_its_keys_and_verdicts(scenario: Scenario) -> None:
    scenario.load("anna", "CRON_NAME=a 0 12 * * * true\n")
    (row,) = scenario.why("a", "2026-03-10T12:00")
    verdicts, _, keys = sections("pycron.1")["why"].partition("\nKeys:")
    assert row["before"] is not None
    assert {*row, *row["fields"][0], *row["before"]} <= marked(keys)
    assert set(Verdict) <= marked(verdicts)


def marked(text: str) -> set[str]:
    return {word for line in re.findall(r"Cm (.+)$", text, re.MULTILINE) for word in line.split()}


# ---- the program

TABLE = """
CRON_NAME=tick                          @every 1s     true
CRON_NAME=sunday CRON_TZ=Asia/Tokyo     30 2 * * 0    true
"""


def test_why_as_a_program(tmp_path: Path) -> None:
    """A Run that is over, a time at which nothing is due, and one before there was a daemon."""

    def ask(*arguments: str) -> list[dict[str, Any]]:
        done = run("pycron", "--state-dir", tmp_path / "state", "why", "--json", *arguments)
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    with foreground(TABLE, tmp_path) as daemon:
        ended = daemon.wait_for("attempt_ended", job="tick")
        until(lambda: ask("tick", ended["fire_time"])[0]["verdict"] == "ran")
        (ran,) = ask("tick", ended["fire_time"])
        (quiet,) = ask("sunday", "2031-11-24 02:30")
        (future,) = ask("sunday", "2031-11-23T02:30")
        (past,) = ask("sunday", "2025-11-23T02:30")
        shown = run("pycron", "--state-dir", tmp_path / "state", "why", "sunday", "2031-11-24 2:30")
        unknown = run("pycron", "--state-dir", tmp_path / "state", "why", "nobody", "now")
        senseless = run("pycron", "--state-dir", tmp_path / "state", "why", "tick", "soon")
        far = run("pycron", "--state-dir", tmp_path / "state", "why", "tick", "9000-01-01")
    assert ended["run_id"] in {each["run_id"] for each in ran["runs"]}
    assert list(ran) == KEYS
    assert (quiet["verdict"], quiet["time"]) == ("not_due", "2031-11-24T02:30:00+09:00")
    assert quiet["fields"][4] == {"field": "day-of-week", "says": "0", "was": 1, "matches": False}
    assert quiet["before"] == {
        "fire_time": "2031-11-22T17:30:00Z", "local": "2031-11-23T02:30:00+09:00",
    }  # fmt: skip
    assert (future["verdict"], past["verdict"]) == ("will_be_due", "unknown")
    first, _, *rest = shown.stdout.splitlines()
    assert first.startswith("sunday (")
    assert first.endswith("2031-11-24T02:30:00+09:00: not due: day-of-week says 0 and was 1 (mon)")
    assert "day-of-week   0     1    no" in rest
    assert "due after   2031-11-30T02:30:00+09:00" in rest
    assert rest[-1] == "to do       pycron next --job sunday    when it is due"
    assert (unknown.returncode, unknown.stderr) == (
        1, 'pycron: no such job: "nobody" (pycron list)\n',
    )  # fmt: skip
    assert (senseless.returncode, far.returncode) == (2, 1)
    assert far.stderr == "pycron: bad time (from 1970 to 20 years ahead)\n"
