"""`@after`: which entries may follow which, and what follows from the end of a Run."""

from collections.abc import Iterable

import pytest

from pycron.crontab.reader import ReaderContext, parse
from pycron.engine.actions import Record, RecordNotStarted, RecordRun, RecordTakenUp, Start
from pycron.engine.cursor import Cursor, Gap
from pycron.engine.diagnosis import Evidence, Verdict, diagnose
from pycron.engine.engine import Engine
from pycron.engine.events import (
    CancelledByHand,
    Ended,
    InputEvent,
    Now,
    PauseBegan,
    Redriven,
    Resumed,
    SkippedFollower,
    Started,
    StartedByHand,
    StopStarting,
    TableLoaded,
    Tick,
)
from pycron.engine.local_time import AskedTime, local_time
from pycron.model.job import Job, Source
from pycron.model.pause import ALL, Pause
from pycron.model.run import FIRST_BY_HAND, AttemptKey, Ending, Outcome, RunKey
from pycron.schedule.expressions import After, resolved_text
from pycron.schedule.fire_times import fire_times
from pycron.schedule.words import explain
from pycron.schedule.zone import UTC

NOON = 1_780_315_200  # 2026-06-01T12:00:00Z
CHAIN = "CRON_NAME=a 0 * * * * a\nCRON_NAME=b @after a b\nCRON_NAME=c @after b c\n"
TWO = "CRON_NAME=a 0 * * * * a\nCRON_NAME=b 0 * * * * b\nCRON_NAME=c @after a,b c\n"


def read(text: str, owner: str | None = "joe") -> list[Job]:
    table = parse(text, Source("joe", owner), ReaderContext())
    assert not table.errors, table.errors
    return list(table.jobs)


def errors(text: str) -> list[str]:
    return [str(each) for each in parse(text, Source("joe", "joe"), ReaderContext()).errors]


# ---- which entries may follow which


def test_a_follower_has_the_schedule_of_the_job_that_it_names() -> None:
    """Also of one below it, and of one that follows another; in its zone and on its days."""
    text = (
        "@after b c\n"
        "CRON_NAME=a CRON_TZ=Europe/Berlin CRON_EVERY=2d@2026-06-01 30 3 * * * a\n"
        "CRON_NICE=5 CRON_NAME=b @after a b\n"
    )
    c, a, b = read(text)
    assert [job.zone for job in (a, b, c)] == ["Europe/Berlin"] * 3
    assert (a.settings.nice, b.settings.nice) == (None, 5)
    found = [list(fire_times(j.schedule, UTC, NOON, NOON + 9 * 86_400)) for j in (a, b, c)]
    assert found[0] == found[1] == found[2] != []
    assert b.schedule == After("@after a", ("a",), (a.id,), a.schedule)  # type: ignore[arg-type]
    assert resolved_text(c.schedule) == "30 3 * * *"
    assert explain(b.schedule) == (
        "after each success of a, which is due at 03:30, only every 2 days, counted from 2026-06-01"
    )


def test_the_entries_stay_in_the_order_of_their_lines() -> None:
    jobs = read("@after a x\n0 1 * * * y\nCRON_NAME=a @every 90s z\n@after a w\n")
    assert [(job.line, job.command) for job in jobs] == [(1, "x"), (2, "y"), (3, "z"), (4, "w")]


def test_equal_times_may_be_written_differently() -> None:
    read("CRON_NAME=a @daily a\nCRON_NAME=b 0 0 * * * b\n@after a,b c\n")
    read("CRON_NAME=a @every 60s a\nCRON_NAME=b @every 1m b\n@after a,b c\n")
    read("CRON_NAME=a @reboot a\nCRON_NAME=b @reboot b\n@after a,b c\n")


def test_users_of_a_system_table() -> None:
    jobs = read("CRON_NAME=a @daily root a\n@after a bin b\n", owner=None)
    assert [job.user for job in jobs] == ["root", "bin"]


CIRCLE = "is in a circle of jobs that wait for each other, or behind one"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("@after a x", 'no entry of this table has the CRON_NAME "a"'),
        ("CRON_NAME=a @after a x", f'"a" {CIRCLE}'),
        ("CRON_NAME=a @daily y\nCRON_NAME=b @hourly z\n@after a,b x",
         '"a" and "b" are not due at the same times'),
        ("CRON_NAME=a @daily y\nCRON_NAME=b CRON_TZ=UTC @daily z\n@after a,b x",
         '"a" and "b" are not due at the same times'),
        ("CRON_NAME=a @daily y\nCRON_NAME=b CRON_EVERY=2d@2026-01-01 @daily z\n@after a,b x",
         '"a" and "b" are not due at the same times'),
        ("@after  a,,b x", "names of CRON_NAME with commas, without blanks"),
        ("@after", "names of CRON_NAME with commas, without blanks"),
        ("CRON_NAME=a @daily y\n@after a,a x", "a name comes twice"),
        ("@after " + ",".join(f"a{n}" for n in range(21)) + " x", "more than 20 names"),
        ("CRON_NAME=a @daily y\nCRON_TZ=UTC @after a x",
         "CRON_TZ in front of @after: the entry is due when the named jobs are"),
        ("CRON_NAME=a @daily y\n@after a", 'bad command: "" (no command)'),
    ],
)  # fmt: skip
def test_a_bad_follower(text: str, message: str) -> None:
    (error,) = errors(text + "\n")
    assert message in error
    assert error.startswith(f"joe:{text.count(chr(10)) + 1}: ")


def test_circles_and_what_is_behind_them_are_errors_and_the_rest_runs() -> None:
    text = (
        "CRON_NAME=a @after b a\nCRON_NAME=b @after c b\nCRON_NAME=c @after a c\n@after a d\n"
        "CRON_NAME=ok @daily ok\n@after ok e\n@daily f\n@daily g\n"
    )
    table = parse(text, Source("joe", "joe"), ReaderContext())
    assert [each.line for each in table.errors] == [1, 2, 3, 4]
    assert all(CIRCLE in each.message for each in table.errors)
    assert [job.command for job in table.jobs] == ["ok", "e", "f", "g"]
    assert table.jobs.leaders(1) == (0,)


def test_what_follows_a_bad_follower_has_an_error_too() -> None:
    text = "CRON_NAME=a @after nobody a\n@after a b\n@daily c\n@daily d\n"
    assert [error.partition("(")[2] for error in errors(text)] == [
        'no entry of this table has the CRON_NAME "nobody")', 'the entry of "a" has an error)',
    ]  # fmt: skip


def test_a_long_chain_takes_linear_time() -> None:
    """Also from its end to its beginning, and no recursion is as deep as it is long."""
    lines = ["CRON_NAME=j0 @daily x"]
    lines += [f"CRON_NAME=j{n} @after j{n - 1} x" for n in range(1, 5000)]
    jobs = read("\n".join(reversed(lines)) + "\n")
    assert len(jobs) == 5000
    assert resolved_text(jobs[0].schedule) == "0 0 * * *"


# ---- what follows from the end of a Run


class Machine:
    """An engine, and what it has decided, by command."""

    def __init__(self, text: str, cursor: int = NOON - 60, gaps: Iterable[Gap] = ()) -> None:
        self.jobs = {job.command: job for job in read(text)}
        self.names = {job.id: job.command for job in self.jobs.values()}
        self.now = float(cursor + 1)
        self.engine = Engine(lambda _: UTC, Cursor(cursor, cursor), gaps)
        self.records: list[Record] = []
        self.starts: list[AttemptKey] = []
        table = parse(text, Source("joe", "joe"), ReaderContext())
        self.feed(TableLoaded(table))

    def feed(self, event: InputEvent) -> None:
        decided = self.engine.handle(event, Now(self.now, self.now))
        self.records += decided.records
        self.starts += [each.attempt for each in decided.actions if isinstance(each, Start)]

    def tick(self, now: float) -> None:
        """All that is due by then; a Tick may take up a part of it only."""
        self.now = now
        self.feed(Tick())
        while self.engine.busy:
            self.feed(Tick())
        self.feed(Tick())

    def end(self, command: str, status: int = 0, fire: int = NOON) -> None:
        attempt = AttemptKey(self.run(command, fire), 1)
        self.feed(Started(attempt, 7, self.now))
        self.feed(Ended(attempt, Ending(self.now, status, None, 0.1, 1, 0)))

    def run(self, command: str, fire: int = NOON) -> RunKey:
        return RunKey(self.jobs[command].id, fire)

    @property
    def started(self) -> list[str]:
        return [self.names[attempt.run.job_id] for attempt in self.starts]

    @property
    def ends(self) -> dict[str, tuple[Outcome, str]]:
        """How Runs ended that had no Attempt, and why."""
        found = (each for each in self.records if isinstance(each, RecordNotStarted))
        return {self.names[each.run.job_id]: (each.outcome, each.reason) for each in found}


def test_a_chain_runs_one_after_the_other_at_one_fire_time() -> None:
    machine = Machine(CHAIN)
    machine.tick(NOON + 1)
    assert machine.started == ["a"]
    machine.end("a")
    assert machine.started == ["a", "b"]
    machine.end("b")
    assert machine.started == ["a", "b", "c"]
    assert {attempt.run.fire_time for attempt in machine.starts} == {NOON}


def test_a_run_waits_for_all_named_jobs() -> None:
    machine = Machine(TWO)
    machine.tick(NOON + 1)
    assert machine.started == ["a", "b"]
    waiting = machine.engine.find(machine.run("c"))
    assert waiting
    assert waiting.why == "waits for the success of a, b"
    machine.end("b")
    assert machine.started == ["a", "b"]
    waiting = machine.engine.find(machine.run("c"))
    assert waiting
    assert waiting.why == "waits for the success of a"
    machine.end("a")
    assert machine.started == ["a", "b", "c"]


def test_after_a_failure_what_follows_is_skipped_and_says_why() -> None:
    machine = Machine(CHAIN)
    machine.tick(NOON + 1)
    machine.end("a", 1)
    assert machine.started == ["a"]
    assert machine.ends == {
        "b": (Outcome.SKIPPED, "a failed"), "c": (Outcome.SKIPPED, "b was skipped"),
    }  # fmt: skip
    assert machine.engine.idle


def test_a_run_that_waits_for_a_retry_keeps_its_follower_waiting() -> None:
    machine = Machine("CRON_NAME=a CRON_RETRIES=1 0 * * * * a\n@after a b\n")
    machine.tick(NOON + 1)
    machine.end("a", 1)
    assert machine.engine.is_alive(machine.run("b"))
    assert machine.ends == {}


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        ("cancel", "a was cancelled"),
        ("pause", "a was skipped"),
    ],
)
def test_other_ends_of_the_named_job(event: str, reason: str) -> None:
    text = "CRON_NAME=a CRON_JITTER=1h 0 * * * * a\n@after a b\n"
    machine = Machine(text)
    machine.tick(NOON + 1)
    if event == "cancel":
        machine.feed(CancelledByHand(machine.run("a"), "joe"))
    else:
        machine.feed(PauseBegan(Pause(ALL, NOON + 1, None, "root")))
        machine.tick(NOON + 3601)
    assert machine.ends["b"] == (Outcome.SKIPPED, reason)


def test_the_delay_of_a_follower_counts_from_the_success() -> None:
    machine = Machine(
        "CRON_NAME=a 0 * * * * a\nCRON_JITTER=30m CRON_START_DEADLINE=5m @after a b\n"
    )
    machine.tick(NOON + 1)
    machine.now = NOON + 3000.0
    machine.end("a")
    planned = machine.engine.find(machine.run("b"))
    assert planned
    assert NOON + 3000 < planned.planned <= NOON + 3000 + 1800
    machine.tick(planned.planned)
    assert "b" in machine.started


def test_a_run_by_hand_has_no_followers_and_waits_for_nothing() -> None:
    machine = Machine(CHAIN)
    machine.feed(StartedByHand(machine.jobs["a"], "joe", FIRST_BY_HAND))
    run = RunKey(machine.jobs["a"].id, int(machine.now), FIRST_BY_HAND)
    machine.feed(Started(AttemptKey(run, 1), 7, machine.now))
    machine.feed(Ended(AttemptKey(run, 1), Ending(machine.now, 0, None, 0.1, 1, 0)))
    assert machine.started == ["a"]
    machine.feed(StartedByHand(machine.jobs["c"], "joe", FIRST_BY_HAND))
    assert machine.started == ["a", "c"]


def test_missed_fire_times_come_back_together() -> None:
    """The follower comes back with the Jobs that it names, whatever its own CRON_CATCHUP says."""
    gaps = [Gap(NOON - 10_801, NOON + 60, wall=False)]
    text = (
        "CRON_NAME=a CRON_CATCHUP=all 0 9-12 * * * a\n"
        "CRON_NAME=b CRON_CATCHUP=latest 0 9-12 * * * b\n@after a,b c\n@after a d\n"
    )
    machine = Machine(text, NOON + 60, gaps)
    machine.tick(NOON + 61)
    runs = [each.run for each in machine.records if isinstance(each, RecordRun)]
    hours = [NOON - 10_800 + 3600 * n for n in range(4)]
    for command, fires in (("a", hours), ("b", hours[3:]), ("c", hours), ("d", hours)):
        assert sorted(r.fire_time for r in runs if machine.names[r.job_id] == command) == fires
    assert machine.ends["c"] == (Outcome.SKIPPED, "b has no Run at this fire time")
    assert machine.engine.is_alive(machine.run("c"))


def test_a_follower_goes_on_in_the_next_daemon() -> None:
    """It is recorded while it waits. The next daemon knows from the store how the others ended."""
    first = Machine(TWO)
    first.tick(NOON + 1)
    first.feed(StopStarting())
    first.end("a")
    assert first.engine.idle is False  # b still runs
    for outcome, expected in ((Outcome.SUCCEEDED, ["c"]), (Outcome.FAILED, [])):
        second = Machine(TWO, NOON + 30)
        awaited = {first.jobs["a"].id: Outcome.SUCCEEDED, first.jobs["b"].id: outcome}
        job = second.jobs["c"]
        second.feed(Resumed(AttemptKey(second.run("c"), 0), job, None, None, awaited=awaited))
        assert second.started == []  # the runner was not met yet
        second.tick(NOON + 31)
        assert second.started == expected
        assert second.ends.get("c") == (None if expected else (Outcome.SKIPPED, "b failed"))


def test_the_other_runs_may_be_resumed_later() -> None:
    second = Machine(CHAIN, NOON + 30)
    second.feed(Resumed(AttemptKey(second.run("b"), 0), second.jobs["b"], None, None))
    second.feed(Resumed(AttemptKey(second.run("a"), 1), second.jobs["a"], 7, NOON + 1.0))
    second.tick(NOON + 31)
    assert second.ends == {}
    second.feed(Ended(AttemptKey(second.run("a"), 1), Ending(second.now, 0, None, 0.1, 1, 0)))
    assert second.started == ["b"]


@pytest.mark.parametrize(("status", "expected"), [(0, ["a", "b"]), (1, ["a"])])
def test_a_run_that_ends_before_its_fire_time_is_taken_up(status: int, expected: list[str]) -> None:
    """It was claimed, and its command was faster than the daemon, which has not looked yet."""
    machine = Machine(CHAIN, NOON - 2)
    machine.tick(NOON - 0.2)
    assert machine.started == ["a"]
    machine.now = NOON + 0.1
    machine.end("a", status)
    assert machine.started == ["a"]
    machine.tick(NOON + 0.2)
    assert machine.started == expected
    assert ("b" in machine.ends) is (status == 1)


def test_the_next_daemon_knows_how_such_a_run_has_ended() -> None:
    for outcome, expected in ((Outcome.SUCCEEDED, ["b"]), (Outcome.FAILED, [])):
        machine = Machine(CHAIN, NOON - 2)
        done = {machine.run("a"): outcome}
        machine.engine = Engine(lambda _: UTC, Cursor(NOON - 2, NOON - 2), done=done)
        machine.feed(TableLoaded(parse(CHAIN, Source("joe", "joe"), ReaderContext())))
        machine.tick(NOON + 1)
        assert machine.started == expected


def test_a_redrive_takes_its_followers_up() -> None:
    machine = Machine(
        "CRON_RETRIES=1 CRON_NAME=a 0 * * * * a\nCRON_NAME=b @after a b\n@after b c\n"
    )
    machine.tick(NOON + 1)
    machine.end("a", 127)  # not tried again, so it is a dead letter
    assert machine.ends["b"] == (Outcome.SKIPPED, "a failed")
    followers = tuple(SkippedFollower(machine.run(each), machine.jobs[each], {}) for each in "bc")
    machine.feed(Redriven(AttemptKey(machine.run("a"), 1), machine.jobs["a"], followers))
    taken = [each.run for each in machine.records if isinstance(each, RecordTakenUp)]
    assert taken == [machine.run("b"), machine.run("c")]
    attempt = AttemptKey(machine.run("a"), 2)
    machine.feed(Started(attempt, 8, machine.now))
    machine.feed(Ended(attempt, Ending(machine.now, 0, None, 0.1, 1, 0)))
    assert machine.started == ["a", "a", "b"]


def test_an_entry_that_goes_or_names_other_jobs() -> None:
    machine = Machine(TWO)
    machine.tick(NOON + 1)
    only_a = TWO.replace("@after a,b", "@after a")
    machine.feed(TableLoaded(parse(only_a, Source("joe", "joe"), ReaderContext())))
    machine.end("a")
    assert machine.started == ["a", "b", "c"]
    other = Machine(TWO)
    other.tick(NOON + 1)
    hourly = TWO.replace("@after a,b", "0 * * * *")
    other.feed(TableLoaded(parse(hourly, Source("joe", "joe"), ReaderContext())))
    assert other.ends["c"] == (Outcome.CANCELLED, "its entry is gone")
    gone = Machine(TWO)
    gone.tick(NOON + 1)
    gone.feed(TableLoaded(parse("@daily x\n", Source("joe", "joe"), ReaderContext())))
    assert gone.ends["c"] == (Outcome.CANCELLED, "its entry is gone")


# ---- why


def test_why_names_the_job_that_is_waited_for() -> None:
    schedule = read(CHAIN)[1].schedule
    local = local_time(AskedTime(NOON, wall=True), schedule, UTC)
    answer = diagnose(schedule, UTC, local, Evidence(NOON - 3600.0))
    assert answer.verdict is Verdict.WILL_BE_DUE
    assert answer.notes[-1] == "It runs for each fire time at which a succeeded, after that."
    assert answer.before == NOON - 3600
