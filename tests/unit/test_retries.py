"""Retries: when a failed Run is retried, when it becomes final, and dead letters."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pycron.crontab.reader import ReaderContext, parse
from pycron.engine.actions import Action, RecordEnded, RecordNotStarted, Start
from pycron.engine.cursor import Cursor
from pycron.engine.engine import Engine
from pycron.engine.events import (
    Ended,
    Lost,
    Now,
    Redriven,
    Resumed,
    Started,
    StopStarting,
    TableLoaded,
    TableRemoved,
    Tick,
)
from pycron.engine.retries import is_retryable, retry_delay, too_late_to_retry
from pycron.model.job import Source
from pycron.model.run import AttemptKey, Ending, Outcome, Redrive, RunKey
from pycron.model.settings import Settings
from pycron.schedule.zone import UTC
from pycron.storage.store import Store
from tests.support.operated_daemon import operated_daemon, waiting_for_gate
from tests.support.running_daemon import RunningDaemon, foreground, run
from tests.support.waiting import until

NOON = 1_772_971_200  # 2026-03-08T12:00:00Z
RUN = RunKey("0123456789abcdef", NOON)


# ---- which failures are retried


@pytest.mark.parametrize(
    ("settings", "outcome", "status", "retried"),
    [
        # By default: any failure except "not executable" and "not found"
        (Settings(), Outcome.FAILED, 1, True),
        (Settings(), Outcome.FAILED, 126, False),
        (Settings(), Outcome.FAILED, 127, False),
        (Settings(), Outcome.KILLED, None, True),
        (Settings(), Outcome.TIMED_OUT, None, True),
        (Settings(), Outcome.OUT_OF_MEMORY, None, True),
        (Settings(), Outcome.LOST, None, True),
        (Settings(), Outcome.FAILED, None, True),  # the command could not be forked
        (Settings(), Outcome.SUCCEEDED, 0, False),
        # By exit status and by range
        (Settings(retry_on=("3", "10-12")), Outcome.FAILED, 3, True),
        (Settings(retry_on=("3", "10-12")), Outcome.FAILED, 11, True),
        (Settings(retry_on=("3", "10-12")), Outcome.FAILED, 13, False),
        (Settings(retry_on=("3", "10-12")), Outcome.KILLED, None, False),
        # By kind
        (Settings(retry_on=("signal",)), Outcome.KILLED, None, True),
        (Settings(retry_on=("signal",)), Outcome.FAILED, 1, False),
        (Settings(retry_on=("timeout",)), Outcome.TIMED_OUT, None, True),
        (Settings(retry_on=("memory",)), Outcome.OUT_OF_MEMORY, None, True),
        (Settings(no_retry_on=("lost",)), Outcome.LOST, None, False),
        # CRON_NO_RETRY_ON overrides CRON_RETRY_ON; 75 (EX_TEMPFAIL) overrides both
        (Settings(retry_on=("any",), no_retry_on=("1-9",)), Outcome.FAILED, 5, False),
        (Settings(retry_on=("3",), no_retry_on=("any",)), Outcome.FAILED, 75, True),
    ],
)
def test_which_failures_are_retried(
    settings: Settings, outcome: Outcome, status: int | None, retried: bool
) -> None:
    assert is_retryable(settings, outcome, status) is retried


# ---- when a retry starts


def test_the_delay_doubles_up_to_its_cap() -> None:
    settings = Settings(retry_jitter=0.0)
    delays = [retry_delay(settings, RUN, number) for number in range(1, 8)]
    assert delays == [30, 60, 120, 240, 480, 900, 900]


@given(
    st.integers(1, 1000), st.floats(1, 100), st.integers(1, 86_400), st.floats(0, 1),
    st.integers(1, 1000), st.integers(0, 2**31),
)  # fmt: skip
def test_jitter_makes_a_delay_longer_also_beyond_its_cap_and_never_shorter(
    delay: int, backoff: float, most: int, jitter: float, number: int, fire_time: int
) -> None:
    settings = Settings(
        retry_delay=delay, retry_backoff=backoff, retry_delay_max=most, retry_jitter=jitter
    )
    run = RunKey(RUN.job_id, fire_time)
    plain = retry_delay(replace(settings, retry_jitter=0.0), run, number)
    assert min(delay, most) <= plain <= most
    assert plain <= retry_delay(settings, run, number) <= plain * (1 + jitter)
    assert retry_delay(settings, run, number) == retry_delay(settings, run, number)


def test_jitter_spreads_the_retries_of_many_runs() -> None:
    settings = Settings(retry_delay=100, retry_jitter=0.5)
    delays = [retry_delay(settings, RunKey(RUN.job_id, n), 1) for n in range(500)]
    assert 100 < min(delays) < 105
    assert 145 < max(delays) <= 150
    assert len(set(delays)) > 300


def test_a_duration_limits_the_retries() -> None:
    settings = Settings(retry_until=3600)
    assert too_late_to_retry(settings, NOON, NOON + 3600) is None
    assert too_late_to_retry(settings, NOON, NOON + 3601)
    assert too_late_to_retry(Settings(retry_until="never"), NOON, NOON + 10**6) is None


# ---- the engine


class Sim:
    """An engine with one table; the test moves the clock, which starts at 11:59:30 UTC."""

    def __init__(self, table: str) -> None:
        self.engine = Engine(lambda _: UTC, Cursor(NOON - 30, NOON - 30))
        self.source = Source("alice", "alice")
        self.load(table)
        self.now = NOON - 30.0
        self.tick(self.now)

    def load(self, table: str) -> list[Action]:
        parsed = parse(table, self.source, ReaderContext())
        assert not parsed.errors
        now = getattr(self, "now", NOON - 30.0)
        return list(self.engine.handle(TableLoaded(parsed), Now(now, now)))

    def tick(self, now: float) -> list[AttemptKey]:
        """Move the clock to this UTC second; return the Attempts that the engine starts."""
        self.now = now
        self.actions = list(self.engine.handle(Tick(), Now(now, now)))
        return [action.attempt for action in self.actions if isinstance(action, Start)]

    def end(self, attempt: AttemptKey, status: int) -> RecordEnded:
        """Let an Attempt start and end with this exit status; return the record of its end."""
        now = Now(self.now, self.now)
        self.engine.handle(Started(attempt, 42, self.now), now)
        ending = Ending(self.now, status, None, 0.0, 0, 0)
        self.actions = list(self.engine.handle(Ended(attempt, ending), now))
        (record,) = [action for action in self.actions if isinstance(action, RecordEnded)]
        return record

    def given_up(self) -> list[RecordNotStarted]:
        return [action for action in self.actions if isinstance(action, RecordNotStarted)]


PLAIN = "CRON_RETRIES=2 CRON_RETRY_DELAY=60s CRON_RETRY_JITTER=0 CRON_RETRY_UNTIL=never"


def test_a_failed_run_is_retried_and_succeeds() -> None:
    sim = Sim(f"{PLAIN} 0 12 * * * x\n")
    (first,) = sim.tick(NOON)
    record = sim.end(first, 1)
    assert (record.run_outcome, record.retry_at, record.dead) == (None, NOON + 60, False)
    assert sim.engine.next_wakeup() == NOON + 60
    assert not sim.engine.running  # a waiting retry does not count as running
    assert sim.tick(NOON + 59) == []
    (second,) = sim.tick(NOON + 60)
    assert second == AttemptKey(first.run, 2)
    record = sim.end(second, 0)
    assert (record.run_outcome, record.dead) == (Outcome.SUCCEEDED, False)
    assert sim.engine.idle


def test_a_run_that_has_used_up_its_retries_becomes_a_dead_letter() -> None:
    sim = Sim(f"{PLAIN} 0 12 * * * x\n")
    now = NOON
    for number in (1, 2, 3):
        (attempt,) = sim.tick(now)
        assert attempt.number == number
        record = sim.end(attempt, 1)
        now += 60 * 2 ** (number - 1)
    assert (record.run_outcome, record.retry_at, record.dead) == (Outcome.FAILED, None, True)
    assert sim.engine.idle


def test_a_failed_run_without_retries_is_no_dead_letter() -> None:
    sim = Sim("0 12 * * * x\n")
    (attempt,) = sim.tick(NOON)
    record = sim.end(attempt, 1)
    assert (record.run_outcome, record.dead) == (Outcome.FAILED, False)


def test_a_failure_that_is_not_retryable_makes_a_dead_letter_at_once() -> None:
    sim = Sim(f"{PLAIN} CRON_NO_RETRY_ON=7 0 12 * * * x\n")
    (attempt,) = sim.tick(NOON)
    assert sim.end(attempt, 7).dead


def test_the_next_fire_time_ends_a_waiting_retry() -> None:
    sim = Sim("CRON_RETRIES=5 CRON_RETRY_DELAY=10m CRON_RETRY_JITTER=0 */5 * * * * x\n")
    (first,) = sim.tick(NOON)
    assert sim.end(first, 3).retry_at == NOON + 600
    (second,) = sim.tick(NOON + 300)
    assert second.run != first.run
    (given_up,) = sim.given_up()
    assert (given_up.run, given_up.outcome, given_up.dead) == (first.run, Outcome.FAILED, False)
    assert "next fire time" in given_up.reason
    sim.end(second, 0)
    assert sim.tick(NOON + 600) != [AttemptKey(first.run, 2)]


def test_a_run_that_fails_after_the_next_fire_time_is_not_retried() -> None:
    sim = Sim("CRON_RETRIES=5 CRON_RETRY_DELAY=1s */5 * * * * x\n")
    (first,) = sim.tick(NOON)
    sim.tick(NOON + 300)
    record = sim.end(first, 3)
    assert (record.run_outcome, record.dead) == (Outcome.FAILED, False)
    assert "next fire time" in (record.reason or "")


@pytest.mark.parametrize(("latest", "is_retried"), [(NOON, True), (NOON + 300, False)])
def test_a_restarted_engine_knows_that_the_next_fire_time_has_come(
    latest: int, is_retried: bool
) -> None:
    sim = Sim("CRON_RETRIES=5 */5 * * * * x\n")
    (job,) = sim.engine.jobs()
    attempt = AttemptKey(RunKey(job.id, NOON), 1)
    sim.now = NOON + 310
    resumed = Resumed(attempt, job, 42, NOON + 0.5, latest=latest)
    sim.engine.handle(resumed, Now(sim.now, sim.now))
    record = sim.end(attempt, 3)
    assert (record.retry_at is not None) == is_retried
    assert (record.reason == "the next fire time has come: no retry") != is_retried


def test_with_retry_until_never_a_retry_waits_past_the_next_fire_time() -> None:
    sim = Sim(f"{PLAIN} CRON_RETRY_DELAY=7m */5 * * * * x\n")
    (first,) = sim.tick(NOON)
    sim.end(first, 3)
    (second,) = sim.tick(NOON + 300)
    sim.end(second, 0)
    assert sim.tick(NOON + 420) == [AttemptKey(first.run, 2)]


def test_a_lost_attempt_is_retried() -> None:
    sim = Sim(f"{PLAIN} 0 12 * * * x\n")
    (first,) = sim.tick(NOON)
    (record, *_) = sim.engine.handle(Lost(first, "power"), Now(NOON, NOON))
    assert isinstance(record, RecordEnded)
    assert (record.outcome, record.run_outcome) == (Outcome.LOST, None)
    assert sim.tick(NOON + 60) == [AttemptKey(first.run, 2)]


@pytest.mark.parametrize("change", [
    lambda sim: sim.load("0 13 * * * y\n"),
    lambda sim: sim.engine.handle(TableRemoved("alice"), Now(sim.now, sim.now)),
])  # fmt: skip
def test_removing_the_entry_ends_a_waiting_retry(change: Callable[[Sim], list[Action]]) -> None:
    sim = Sim(f"{PLAIN} 0 12 * * * x\n")
    (first,) = sim.tick(NOON)
    sim.end(first, 1)
    (record,) = [a for a in change(sim) if isinstance(a, RecordNotStarted)]
    assert (record.outcome, record.reason, record.dead) == (
        Outcome.FAILED, "its entry is gone", True,
    )  # fmt: skip
    assert sim.engine.idle


def test_a_waiting_retry_has_the_new_settings_of_its_entry() -> None:
    sim = Sim(f"{PLAIN} 0 12 * * * x\n")
    (first,) = sim.tick(NOON)
    sim.end(first, 1)
    sim.load("CRON_NICE=5 0 12 * * * x\n")
    sim.tick(NOON + 60)
    (start,) = [action for action in sim.actions if isinstance(action, Start)]
    assert (start.attempt.number, start.job.settings.nice) == (2, 5)


def test_a_restart_keeps_the_time_of_a_retry() -> None:
    sim = Sim(f"{PLAIN} 0 12 * * * x\n")
    (job,) = sim.engine.jobs()
    attempt = AttemptKey(RunKey(job.id, NOON - 3600), 1)
    event = Resumed(attempt, job, 42, 1.0, NOON + 5.5, Outcome.FAILED)
    assert not sim.engine.handle(event, Now(NOON - 20, 0))
    assert sim.engine.next_fire_time == NOON
    assert sim.tick(NOON + 5) == [AttemptKey(RunKey(job.id, NOON), 1)]


def test_a_stopping_daemon_leaves_retries_to_the_next_daemon() -> None:
    sim = Sim(f"{PLAIN} 0 12 * * * x\n")
    (first,) = sim.tick(NOON)
    sim.engine.handle(StopStarting(), Now(NOON, NOON))
    assert sim.end(first, 1).retry_at == NOON + 60
    assert sim.engine.idle


def test_a_dead_letter_is_redriven_with_all_its_retries() -> None:
    sim = Sim(f"{PLAIN} 0 12 * * * x\n")
    (job,) = sim.engine.jobs()
    run = RunKey(job.id, NOON - 86_400)
    actions = sim.engine.handle(Redriven(AttemptKey(run, 3), job), Now(NOON - 10, 0))
    assert [a.attempt.number for a in actions if isinstance(a, Start)] == [4]
    sim.now = NOON - 10
    assert sim.end(AttemptKey(run, 4), 1).retry_at == NOON - 10 + 480  # the delay continues to grow


@pytest.mark.parametrize("until", ["1h", "next"])
def test_retry_until_counts_from_the_redrive(until: str) -> None:
    """The retries of a redriven Run do not end because a later Run of its Job was recorded."""
    settings = f"{PLAIN} CRON_RETRY_UNTIL={until} CRON_CONCURRENCY=allow"
    sim = Sim(f"{settings} 0 12,20 * * * x\n")
    (job,) = sim.engine.jobs()
    sim.tick(NOON)
    run = RunKey(job.id, NOON - 86_400)
    sim.engine.handle(Redriven(AttemptKey(run, 1), job), Now(NOON + 10, NOON + 10))
    sim.now = NOON + 10
    assert sim.end(AttemptKey(run, 2), 1).retry_at == NOON + 130
    sim.tick(NOON + 130)
    sim.tick(NOON + 8 * 3600)
    record = sim.end(AttemptKey(run, 3), 1)
    assert (record.run_outcome, record.dead) == (Outcome.FAILED, until == "1h")


@pytest.mark.parametrize("outcome", [None, Outcome.FAILED])
def test_a_redriven_run_keeps_all_its_retries_over_a_restart(outcome: Outcome | None) -> None:
    """The last daemon recorded the start of Attempt 4 (`outcome` None), or also its failure."""
    sim = Sim(f"{PLAIN} CRON_RETRY_BACKOFF=1 0 20 * * * x\n")
    (job,) = sim.engine.jobs()
    run = RunKey(job.id, NOON - 86_400)
    retry_at = NOON + 5.5 if outcome else None
    redrive = Redrive(3, NOON - 60)
    resumed = Resumed(AttemptKey(run, 4), job, 42, 1.0, retry_at, outcome, redrive=redrive)
    sim.engine.handle(resumed, Now(NOON - 20, 0))
    if outcome is None:
        sim.end(AttemptKey(run, 4), 1)
    for number, now in ((5, NOON + 60), (6, NOON + 120)):
        assert sim.tick(now) == [AttemptKey(run, number)]
        record = sim.end(AttemptKey(run, number), 1)
    assert (record.run_outcome, record.dead) == (Outcome.FAILED, True)


# ---- with a real daemon


@pytest.mark.slow
def test_a_retry_waits_across_a_kill_of_the_daemon(tmp_path: Path) -> None:
    """One Run fails twice, waits across a SIGKILL of the daemon, and succeeds."""
    table = (
        "CRON_NAME=third CRON_RETRIES=3 CRON_RETRY_DELAY=2s CRON_RETRY_BACKOFF=1"
        f" CRON_RETRY_UNTIL=never @reboot echo $CRON_ATTEMPT $CRON_RUN_ID >> {tmp_path}/marks;"
        " [ $CRON_ATTEMPT = 3 ]\n"
        "CRON_NAME=never CRON_RETRIES=1 CRON_RETRY_DELAY=1s @reboot exit 9\n"
    )
    state = tmp_path / "state"
    with foreground(table, tmp_path) as daemon:
        daemon.wait_for("retry_planned", job="third")
        daemon.wait_for("attempt_ended", job="never", count=2)
        daemon.kill()
        (tmp_path / "table2").write_text(table.replace("@reboot", "@every 10h"))
        again = RunningDaemon(
            ["--foreground", "--table", tmp_path / "table", "--state-dir", state],
            tmp_path / "log2",
        )
        try:
            again.wait_for("attempt_ended", job="third", outcome="succeeded", attempt=3)
            dead = _dead(state)
            assert {row["job"] for row in dead} == {"never"}
            run_id = str(dead[0]["run_id"])
            assert run("pycron", "--state-dir", state, "dead", "redrive", run_id).returncode == 0
            again.wait_for("attempt_ended", run_id=run_id, attempt=3)
            again.wait_for(
                "attempt_ended", run_id=run_id, attempt=4
            )  # the one retry after the redrive
            until(lambda: run_id in {row["run_id"] for row in _dead(state)})
            assert run("pycron", "--state-dir", state, "dead", "drop", run_id).returncode == 0
            assert run_id not in {row["run_id"] for row in _dead(state)}
            refused = run("pycron", "--state-dir", state, "dead", "drop", run_id)
            assert (refused.returncode, refused.stderr) == (
                1, f"pycron: {run_id} is no dead letter\n",
            )  # fmt: skip
        finally:
            again.stop()
    marks = (tmp_path / "marks").read_text().splitlines()
    assert len(marks) == len(set(marks))  # no Attempt of a Run was started twice


@pytest.mark.slow
def test_a_redriven_run_keeps_its_retry_over_a_kill_of_the_daemon(tmp_path: Path) -> None:
    settings = "CRON_NAME=bad CRON_RETRIES=1 CRON_RETRY_DELAY=1s CRON_RETRY_UNTIL=never"
    command = f"[ $CRON_ATTEMPT = 3 ] && {waiting_for_gate(tmp_path)}; exit 3"
    with operated_daemon(tmp_path, f"{settings} @yearly {command}\n") as op:
        run_id = op.start("bad")
        op.daemon.wait_for("attempt_ended", run_id=run_id, attempt=2)
        op.rows("dead", "redrive", run_id)
        op.daemon.wait_for("attempt_started", run_id=run_id, attempt=3)
        op.kill_daemon()
        op.open_gate()
        op.daemon.wait_for("retry_planned", run_id=run_id, attempt=3)
        op.daemon.wait_for("attempt_ended", run_id=run_id, attempt=4)
        assert [row["run_id"] for row in op.rows("dead", "list")] == [run_id]


@pytest.mark.slow
def test_a_fire_time_before_a_kill_of_the_daemon_still_ends_the_retries(tmp_path: Path) -> None:
    table = f"CRON_NAME=long CRON_RETRIES=9 @every 5s {waiting_for_gate(tmp_path)}; exit 3\n"
    with operated_daemon(tmp_path, table) as op:
        first = op.daemon.wait_for("attempt_started", job="long")["run_id"]
        op.daemon.wait_for("run_given_up", job="long")
        op.kill_daemon()
        op.open_gate()
        ended = op.daemon.wait_for("attempt_ended", run_id=first)
        assert ended["reason"] == "the next fire time has come: no retry"


def _dead(state: Path) -> list[dict[str, object]]:
    listed = run("pycron", "--state-dir", state, "dead", "list", "--json")
    assert listed.returncode == 0, listed.stderr
    return [json.loads(line) for line in listed.stdout.splitlines()]


def test_the_store_keeps_what_a_retry_needs(tmp_path: Path) -> None:
    sim = Sim(f"{PLAIN} 0 12 * * * x\n")
    store = Store(tmp_path / "db")
    try:
        (first,) = sim.tick(NOON)
        store.write(a for a in sim.actions if not isinstance(a, Start))  # type: ignore[misc]
        record = sim.end(first, 1)
        store.write([record])
        (left,) = store.unfinished()
        assert (left.attempt, left.outcome, left.retry_at) == (first, Outcome.FAILED, NOON + 60)
    finally:
        store.close()
