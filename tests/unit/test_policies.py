"""How each event changes a Run, by concurrency policy and by state: tables of expected actions."""

from collections.abc import Callable
from dataclasses import dataclass
from heapq import heappop, heappush

import pytest

from pycron.engine.actions import (
    Action,
    RecordEnded,
    RecordNotStarted,
    RecordRun,
    RecordWithdrawn,
    Release,
    Start,
    Stop,
    Withdraw,
)
from pycron.engine.claim_ahead import CLAIM_AHEAD
from pycron.engine.cursor import Cursor
from pycron.engine.delivery_jobs import failure_hook_id
from pycron.engine.engine import Engine
from pycron.engine.events import (
    CancelledByHand,
    Ended,
    InputEvent,
    Lost,
    NeverStarted,
    PauseBegan,
    PauseEnded,
    Redriven,
    Refused,
    Resumed,
    Started,
    StartedByHand,
    StopStarting,
    TableLoaded,
    TableRemoved,
    Tick,
)
from pycron.engine.limits import UNLIMITED, Limits
from pycron.engine.states import State
from pycron.model.job import Job
from pycron.model.pause import ALL, Pause, Scope
from pycron.model.run import AttemptKey, Cause, Ending, Outcome, RunKey
from tests.unit.test_engine import START, Sim, begun, ending, table, zone_of

POLICIES = ("allow", "forbid", "replace", "queue")
ONE_AT_A_TIME = Limits(running=1)


def words(actions: list[Action]) -> list[str]:
    """One word for each action.

    Records of new Runs and Attempts, of starts and of cursors have no word, nor have log entries.
    """
    said = []
    for action in actions:
        match action:
            case Start():
                said.append("hold" if action.hold else "start")
            case Release():
                said.append("go")
            case Withdraw():
                said.append("drop")
            case Stop():
                said.append("stop")
            case RecordWithdrawn():
                said.append("withdrawn")
            case RecordNotStarted():
                said.append(action.outcome.value)
            case RecordEnded():
                said.append(action.outcome.value + (" retry" if action.retry_at else ""))
    return said


def reasons(actions: list[Action]) -> list[str]:
    return [action.reason for action in actions if isinstance(action, RecordNotStarted)]


@dataclass
class Case:
    """A Job that is due each minute, and another Job that a test starts to fill the limits."""

    sim: Sim
    job: Job
    other: Job

    def minute(self) -> list[Action]:
        return self.sim.tell(Tick(), 60 - self.sim.wall % 60)

    def wait(self, seconds: float) -> list[Action]:
        return self.sim.tell(Tick(), seconds)

    def block(self) -> AttemptKey:
        """Start the other Job, which counts against the limits until its Attempt ends."""
        (start,) = begun(self.sim.tell(StartedByHand(self.other, "alice", 1000, force=True)))
        return start.attempt

    def run_one(self) -> AttemptKey:
        (start,) = begun(self.minute())
        return start.attempt

    def fail(self, attempt: AttemptKey) -> list[Action]:
        return self.sim.tell(Ended(attempt, ending(1)))

    def succeed(self, attempt: AttemptKey) -> list[Action]:
        return self.sim.tell(Ended(attempt, ending(0)))

    def states(self) -> list[State]:
        return [live.state for live in self.sim.engine.alive if live.job.id == self.job.id]


RETRIES = "CRON_RETRIES=1 CRON_RETRY_UNTIL=never CRON_RETRY_JITTER=0"
OTHER = "0 0 1 1 * other"


def case(prefix: str = "", limits: Limits = UNLIMITED) -> Case:
    sim = Sim(f"{prefix} * * * * * a".strip(), OTHER, limits=limits)
    job, other = sim.engine.jobs()
    return Case(sim, job, other)


# ---- a fire time while earlier Runs of the Job are alive


def no_run(prefix: str) -> Case:
    return case(prefix)


def one_run_runs(prefix: str) -> Case:
    found = case(prefix)
    found.run_one()
    return found


def one_run_waits(prefix: str) -> Case:
    found = case(prefix, ONE_AT_A_TIME)
    found.block()
    assert begun(found.minute()) == []
    return found


def retry_waits_for_its_time(prefix: str) -> Case:
    found = case(f"{RETRIES} CRON_RETRY_DELAY=10m {prefix}")
    found.fail(found.run_one())
    return found


def retry_waits_in_the_queue(prefix: str) -> Case:
    found = case(f"{RETRIES} CRON_RETRY_DELAY=20s {prefix}", ONE_AT_A_TIME)
    found.fail(found.run_one())
    found.block()
    assert begun(found.wait(25)) == []
    assert found.states() == [State.QUEUED]
    return found


@pytest.mark.parametrize(
    ("before", "most", "expected"),
    [
        # expected: with allow, forbid, replace, queue; "" if the new Run waits in the queue
        (no_run, None, ["start", "start", "start", "start"]),
        (no_run, 2, ["start", "start", "start", "start"]),
        (one_run_runs, None, ["start", "skipped", "stop", ""]),
        (one_run_runs, 1, ["", "skipped", "stop", ""]),
        (one_run_runs, 2, ["start", "start", "start", "start"]),
        (one_run_waits, None, ["", "skipped", "skipped", "skipped"]),
        (one_run_waits, 2, ["", "", "", ""]),
        (retry_waits_for_its_time, None, ["start", "start", "start", "start"]),
        (retry_waits_for_its_time, 2, ["start", "start", "start", "start"]),
        (retry_waits_in_the_queue, None, ["", "skipped", "failed", "skipped"]),
        (retry_waits_in_the_queue, 2, ["", "", "", ""]),
    ],
)
@pytest.mark.parametrize("policy", POLICIES)
def test_the_policy_decides_at_a_fire_time_if_other_runs_are_alive(
    before: Callable[[str], Case], most: int | None, expected: list[str], policy: str
) -> None:
    prefix = f"CRON_CONCURRENCY={policy}" + (f" CRON_MAX_RUNNING={most}" if most else "")
    found = before(prefix)
    actions = found.minute()
    assert " ".join(words(actions)) == expected[POLICIES.index(policy)]
    new = RunKey(found.job.id, int(found.sim.wall))
    ends = [action for action in actions if isinstance(action, RecordNotStarted)]
    if policy in ("forbid", "queue"):
        assert all(end.run == new for end in ends)
    else:
        assert all(end.run != new for end in ends)


@pytest.mark.parametrize(
    ("before", "policy", "reason"),
    [
        (one_run_runs, "forbid", "an earlier run still runs (CRON_CONCURRENCY=forbid)"),
        (one_run_waits, "forbid", "an earlier run still waits (CRON_CONCURRENCY=forbid)"),
        (one_run_waits, "queue", "one waits already (CRON_CONCURRENCY=queue)"),
        (one_run_waits, "replace", "replaced by the next fire time"),
    ],
)
def test_a_skipped_run_has_a_reason(
    before: Callable[[str], Case], policy: str, reason: str
) -> None:
    found = before(f"CRON_CONCURRENCY={policy}")
    assert reasons(found.minute()) == [reason]


def test_queue_lets_one_run_wait_while_another_runs() -> None:
    found = case("CRON_CONCURRENCY=queue")
    first = found.run_one()
    assert words(found.minute()) == []
    assert words(found.minute()) == ["skipped"]
    assert words(found.succeed(first)) == ["succeeded", "start"]
    assert words(found.minute()) == []


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("most", [1, 3])
def test_no_policy_exceeds_max_running(policy: str, most: int) -> None:
    found = case(f"CRON_CONCURRENCY={policy} CRON_MAX_RUNNING={most}")
    for _ in range(8):
        found.minute()
        assert len(found.sim.engine.running) <= most
    ends = [live.attempt for live in found.sim.engine.running]
    for attempt in ends:
        found.succeed(attempt)
        assert len(found.sim.engine.running) <= most


def cancelled() -> Ending:
    return Ending(START + 62.5, None, 15, 0.25, 4096, 0, cause=Cause.CANCELLED)


@pytest.mark.parametrize("retries", ["", f"{RETRIES} CRON_ON_FAILURE=oops "])
def test_replace_stops_the_running_run_and_starts_after_its_end(retries: str) -> None:
    found = case(f"{retries}CRON_CONCURRENCY=replace")
    first = found.run_one()
    assert words(found.minute()) == ["stop"]
    # The command of the first Run ignores TERM, and the second Run waits.
    assert words(found.minute()) == ["skipped", "stop"]
    actions = found.sim.tell(Ended(first, cancelled()))
    assert words(actions) == ["cancelled", "start"]
    (start,) = begun(actions)
    assert start.attempt.run == RunKey(found.job.id, START + 180)
    assert found.states() == [State.RECORDED]


def test_replace_starts_after_the_running_run_has_ended_by_itself() -> None:
    found = case("CRON_CONCURRENCY=replace")
    first = found.run_one()
    found.minute()
    assert words(found.succeed(first)) == ["succeeded", "start"]


def test_replace_stops_only_as_many_runs_as_necessary() -> None:
    found = case("CRON_CONCURRENCY=replace CRON_MAX_RUNNING=2")
    first = found.run_one()
    found.run_one()
    actions = found.minute()
    assert [stop.attempt for stop in actions if isinstance(stop, Stop)] == [first]


def test_a_replacing_run_keeps_the_queue_position_of_the_replaced_run() -> None:
    """Otherwise no Run would ever start if the wait is longer than from fire time to fire time."""
    sim = Sim("* * * * * a", "CRON_CONCURRENCY=replace * * * * * b", OTHER, limits=ONE_AT_A_TIME)
    _, replacing, other = sim.engine.jobs()
    found = Case(sim, replacing, other)
    running = found.block()
    said = [words(found.minute()) for _ in range(3)]
    assert said == [[], ["skipped"], ["skipped"]]
    order = []
    for _ in range(4):
        (start,) = begun(found.succeed(running))
        running = start.attempt
        order.append((start.job.command, (running.run.fire_time - START) // 60))
    assert order == [("a", 1), ("b", 3), ("a", 2), ("a", 3)]


def test_a_run_that_is_replaced_before_its_retry_ends_as_failed() -> None:
    found = retry_waits_in_the_queue("CRON_CONCURRENCY=replace CRON_ON_FAILURE=oops")
    actions = found.minute()
    assert words(actions) == ["failed"]
    hooks = [a.run.job_id for a in actions if isinstance(a, RecordRun)]
    assert hooks == [found.job.id, failure_hook_id(found.job.id)]


# ---- Runs started and cancelled by hand


@pytest.mark.parametrize(
    ("policy", "start", "forced"),
    [
        ("allow", ["start"], ["start"]),
        ("forbid", ["skipped"], ["start"]),
        ("replace", ["stop"], ["start"]),
        ("queue", [], ["start"]),
    ],
)
def test_the_policy_applies_to_a_start_by_hand_unless_forced(
    policy: str, start: list[str], forced: list[str]
) -> None:
    for force, expected in ((False, start), (True, forced)):
        found = case(f"CRON_CONCURRENCY={policy}")
        found.run_one()
        event = StartedByHand(found.job, "alice", 1000, force)
        assert words(found.sim.tell(event, 5)) == expected


@pytest.mark.parametrize("policy", ["forbid", "queue", "replace"])
def test_a_forced_run_counts_for_the_policy(policy: str) -> None:
    found = case(f"CRON_CONCURRENCY={policy}")
    (start,) = begun(found.sim.tell(StartedByHand(found.job, "alice", 1000, force=True)))
    assert begun(found.minute()) == []
    ended = found.succeed(start.attempt)
    assert words(ended) == ["succeeded"] + (["start"] if policy != "forbid" else [])


@pytest.mark.parametrize(("force", "expected"), [(False, []), (True, ["start"])])
def test_a_start_by_hand_waits_for_the_limits_unless_forced(
    force: bool, expected: list[str]
) -> None:
    found = case(limits=ONE_AT_A_TIME)
    blocker = found.block()
    assert words(found.sim.tell(StartedByHand(found.job, "alice", 1000, force))) == expected
    assert words(found.succeed(blocker)) == ["succeeded"] + ([] if force else ["start"])


@pytest.mark.parametrize(("force", "expected"), [(False, ["skipped"]), (True, ["start"])])
def test_a_start_by_hand_in_a_pause_is_skipped_unless_forced(
    force: bool, expected: list[str]
) -> None:
    found = case()
    found.sim.tell(PauseBegan(Pause(ALL, START, None, "root")))
    assert words(found.sim.tell(StartedByHand(found.job, "alice", 1000, force), 1)) == expected


def in_state(state: State, prefix: str = "") -> tuple[Case, RunKey]:
    """A case whose Job has a Run in this state, and that Run, which is of the first minute."""
    if state is State.WAITING:
        found = case(f"CRON_JITTER=10m {prefix}")
        found.minute()
    elif state is State.QUEUED:
        found = case(prefix, ONE_AT_A_TIME)
        found.block()
        found.minute()
    elif state is State.HELD:
        found = case(prefix)
        found.wait(60 - CLAIM_AHEAD)
    else:
        found = case(prefix)
        attempt = found.run_one()
        if state is State.RUNNING:
            found.sim.tell(Started(attempt, 42, START + 60.5))
    assert found.states() == [state]
    return found, RunKey(found.job.id, START + 60)


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (State.WAITING, ["cancelled"]),
        (State.QUEUED, ["cancelled"]),
        (State.HELD, ["withdrawn", "cancelled", "drop"]),
        (State.RECORDED, ["stop"]),
        (State.RUNNING, ["stop"]),
    ],
)
def test_a_run_cancelled_by_hand_ends_without_a_failure_hook(
    state: State, expected: list[str]
) -> None:
    found, run = in_state(state, "CRON_ON_FAILURE=oops")
    actions = found.sim.tell(CancelledByHand(run, "alice"))
    assert words(actions) == expected
    if expected == ["stop"]:
        actions = found.sim.tell(Ended(AttemptKey(run, 1), cancelled()))
        assert words(actions) == ["cancelled"]
    assert not [action for action in actions if isinstance(action, RecordRun)]
    assert found.states() == []


def test_a_held_run_that_is_cancelled_does_not_start_at_its_fire_time() -> None:
    found, run = in_state(State.HELD)
    found.sim.tell(CancelledByHand(run, "alice"))
    assert words(found.minute()) == []
    assert words(found.minute()) == ["start"]


# ---- pauses


@pytest.mark.parametrize("scope", ["all", "user:alice", "pool:db", "job"])
def test_a_run_due_in_a_pause_is_skipped(scope: str) -> None:
    found = case("CRON_POOL=db")
    scope = f"job:{found.job.id}" if scope == "job" else scope
    found.sim.tell(PauseBegan(Pause(Scope.parse(scope), START, None, "root", "repairs")))
    actions = found.minute()
    assert (words(actions), reasons(actions)) == (["skipped"], ["paused by root: repairs"])
    found.sim.tell(PauseEnded(Scope.parse(scope)))
    assert words(found.minute()) == ["start"]


@pytest.mark.parametrize("scope", ["user:bob", "pool:net", "job:0123456789abcdef"])
def test_a_pause_with_another_scope_changes_nothing(scope: str) -> None:
    found = case("CRON_POOL=db")
    found.sim.tell(PauseBegan(Pause(Scope.parse(scope), START, None, "root")))
    assert words(found.minute()) == ["start"]


@pytest.mark.parametrize(
    ("state", "at_once", "later", "resumed"),
    [
        (State.WAITING, [], ["skipped"], []),
        (State.QUEUED, [], [], ["start"]),
        (State.HELD, ["withdrawn", "skipped", "drop"], [], []),
        (State.RECORDED, [], [], []),
        (State.RUNNING, [], [], []),
    ],
)
def test_the_begin_of_a_pause_skips_held_runs_and_keeps_queued_runs_waiting(
    state: State, at_once: list[str], later: list[str], resumed: list[str]
) -> None:
    """A Run due before the pause waits for its end; a Run due during the pause is skipped.

    Attempts handed to the runner are not affected, unless they are only held.
    """
    found, run = in_state(state)
    pause = Pause(Scope.of_job(found.job.id), found.sim.wall, None, "root")
    assert words(found.sim.tell(PauseBegan(pause))) == at_once
    skipped = [
        action.run
        for action in found.sim.tell(Tick(), 700)
        if isinstance(action, RecordNotStarted) and action.run == run
    ]
    assert len(skipped) == len(later)
    for live in found.sim.engine.running:
        if live.job.id == found.other.id:
            found.succeed(live.attempt)
    begins = [start.attempt.run for start in begun(found.sim.tell(PauseEnded(pause.scope)))]
    assert begins == ([run] if resumed else [])


def test_a_retry_waits_for_the_end_of_a_pause() -> None:
    found = case(f"{RETRIES} CRON_RETRY_DELAY=20s")
    attempt = found.run_one()
    found.fail(attempt)
    found.sim.tell(PauseBegan(Pause(ALL, found.sim.wall, found.sim.wall + 50, "root")))
    assert words(found.wait(30)) == []
    (start,) = begun(found.wait(20))
    assert start.attempt == AttemptKey(attempt.run, 2)


def test_a_run_waits_for_the_end_of_both_pauses() -> None:
    found, _ = in_state(State.QUEUED)
    for scope in ("all", "user:alice"):
        found.sim.tell(PauseBegan(Pause(Scope.parse(scope), found.sim.wall, None, "root")))
    found.succeed(found.sim.engine.running[0].attempt)
    assert words(found.sim.tell(PauseEnded(ALL))) == []
    assert words(found.sim.tell(PauseEnded(Scope.of_user("alice")))) == ["start"]


def test_a_paused_run_starts_when_its_entry_leaves_the_paused_pool() -> None:
    found = case("CRON_POOL=db", Limits(running=1))
    blocker = found.block()
    found.minute()
    found.sim.tell(PauseBegan(Pause(Scope.of_pool("db"), found.sim.wall, None, "root")))
    found.succeed(blocker)
    assert found.states() == [State.WAITING]
    assert words(found.sim.tell(TableLoaded(table("* * * * * a", OTHER)))) == ["start"]


# ---- edited tables


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (State.WAITING, ["cancelled"]),
        (State.QUEUED, ["cancelled"]),
        (State.HELD, ["withdrawn", "cancelled", "drop"]),
        (State.RECORDED, []),
        (State.RUNNING, []),
    ],
)
@pytest.mark.parametrize("event", [TableRemoved("alice"), TableLoaded(table(OTHER))])
def test_removing_an_entry_cancels_its_runs_that_have_not_started(
    state: State, expected: list[str], event: InputEvent
) -> None:
    found, run = in_state(state, RETRIES)
    assert words(found.sim.tell(event)) == expected
    if expected:
        assert found.states() == []
    else:  # the Run goes on running, but without its entry there is no retry
        (end,) = (a for a in found.fail(AttemptKey(run, 1)) if isinstance(a, RecordEnded))
        assert (end.run_outcome, end.dead) == (Outcome.FAILED, True)


def test_removing_an_entry_ends_a_waiting_retry_as_a_dead_letter() -> None:
    found = retry_waits_for_its_time("")
    actions = found.sim.tell(TableRemoved("alice"))
    (end,) = (action for action in actions if isinstance(action, RecordNotStarted))
    assert (end.outcome, end.reason, end.dead) == (Outcome.FAILED, "its entry is gone", True)


def test_a_run_is_retried_if_its_entry_was_removed_and_comes_back() -> None:
    found, run = in_state(State.RUNNING, RETRIES)
    found.sim.tell(TableRemoved("alice"))
    found.sim.tell(TableLoaded(table(f"{RETRIES} * * * * * a")))
    assert words(found.fail(AttemptKey(run, 1))) == ["failed retry"]


EDITED = "CRON_PRIORITY=7"


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (State.WAITING, []),
        (State.QUEUED, []),
        (State.HELD, ["withdrawn", "drop", "hold"]),
        (State.RECORDED, []),
        (State.RUNNING, []),
    ],
)
def test_changed_settings_apply_to_live_runs_without_changing_their_state(
    state: State, expected: list[str]
) -> None:
    found, run = in_state(state)
    jitter = "CRON_JITTER=10m " if state is State.WAITING else ""
    edited = table(f"{jitter}{EDITED} * * * * * a", OTHER)
    assert words(found.sim.tell(TableLoaded(edited))) == expected
    assert found.states() == [state]
    (live,) = (live for live in found.sim.engine.alive if live.run == run)
    assert live.job.settings.priority == 7


def test_a_retry_starts_with_the_new_settings_of_its_entry() -> None:
    found = case(f"{RETRIES} CRON_RETRY_DELAY=20s")
    attempt = found.run_one()
    found.sim.tell(
        TableLoaded(table(f"{RETRIES} CRON_RETRY_DELAY=20s {EDITED} * * * * * a", OTHER))
    )
    found.fail(attempt)
    (start,) = begun(found.wait(25))
    assert (start.attempt.number, start.job.settings.priority) == (2, 7)


def test_loading_an_unchanged_table_again_changes_nothing() -> None:
    for state in State:
        found, _ = in_state(state)
        jitter = "CRON_JITTER=10m " if state is State.WAITING else ""
        again = TableLoaded(table(f"{jitter}* * * * * a", OTHER))
        assert words(found.sim.tell(again)) == []
        assert found.states() == [state]


# ---- the daemon stops


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (State.WAITING, []),
        (State.QUEUED, []),
        (State.HELD, ["withdrawn", "drop"]),
        (State.RECORDED, []),
        (State.RUNNING, []),
    ],
)
def test_a_stopping_daemon_withdraws_held_attempts_and_keeps_waiting_runs(
    state: State, expected: list[str]
) -> None:
    """Runs that have not started do not end: they wait in the store for the next daemon."""
    found, run = in_state(state, RETRIES)
    assert words(found.sim.tell(StopStarting())) == expected
    assert words(found.sim.tell(StopStarting())) == []
    if state in (State.RECORDED, State.RUNNING):
        assert words(found.fail(AttemptKey(run, 1))) == ["failed retry"]
    assert found.states() == []
    assert found.sim.engine.next_wakeup() is None


# ---- the start deadline


@pytest.mark.parametrize("policy", POLICIES)
def test_a_run_is_missed_if_its_deadline_passes_in_the_queue(policy: str) -> None:
    found, _ = in_state(State.QUEUED, f"CRON_START_DEADLINE=30s CRON_CONCURRENCY={policy}")
    assert words(found.wait(30)) == []
    deadline = found.sim.engine.next_wakeup()
    assert deadline == pytest.approx(START + 90)
    actions = found.wait(0.001)
    assert words(actions) == ["missed"]
    assert reasons(actions) == ["30 seconds late; CRON_START_DEADLINE is 30"]


def test_the_deadline_counts_from_the_planned_start() -> None:
    found, run = in_state(State.WAITING, "CRON_START_DEADLINE=30s")
    (live,) = (live for live in found.sim.engine.waiting if live.run == run)
    actions = found.wait(live.planned + 30 - found.sim.wall)
    assert run in [start.attempt.run for start in begun(actions)]


def test_a_run_is_missed_if_its_deadline_passes_in_a_pause() -> None:
    found, _ = in_state(State.QUEUED, "CRON_START_DEADLINE=30s")
    found.sim.tell(PauseBegan(Pause(ALL, found.sim.wall, found.sim.wall + 40, "root")))
    found.succeed(found.sim.engine.running[0].attempt)
    assert words(found.wait(40)) == ["missed"]


@pytest.mark.parametrize("state", [State.HELD, State.RECORDED, State.RUNNING])
def test_the_deadline_does_not_affect_a_run_with_an_attempt(state: State) -> None:
    found, _ = in_state(state, "CRON_START_DEADLINE=5s CRON_CONCURRENCY=forbid")
    actions = found.wait(50)
    assert words(actions) == (["go"] if state is State.HELD else [])


def test_a_retry_has_no_deadline() -> None:
    found = retry_waits_in_the_queue("CRON_START_DEADLINE=1s CRON_CONCURRENCY=allow")
    assert words(found.wait(10)) == []
    assert State.QUEUED in found.states()


# ---- Attempts recorded by an earlier daemon


def engine_with(*lines: str) -> tuple[Sim, Job]:
    sim = Sim(*lines)
    return sim, sim.engine.jobs()[0]


@pytest.mark.parametrize(
    ("late", "gone", "expected"),
    [
        (10, False, ["start"]),
        (31, False, ["withdrawn", "missed", "drop"]),
        (10, True, ["withdrawn", "cancelled", "drop"]),
    ],
)
def test_a_recorded_attempt_that_was_never_started_starts_now(
    late: int, gone: bool, expected: list[str]
) -> None:
    """The Attempt starts now, unless its start deadline has passed or its entry is gone."""
    sim, job = engine_with("CRON_START_DEADLINE=30s 0 12 * * * a")
    attempt = AttemptKey(RunKey(job.id, START), 1)
    sim.tell(Resumed(attempt, job, None, None, gone=gone), late)
    assert words(sim.tell(NeverStarted(attempt))) == expected
    assert sim.engine.idle is gone or late > 30


def restarted_before_fire_time(seconds: float) -> tuple[Sim, AttemptKey]:
    """A daemon that starts `seconds` before a fire time whose Attempt is recorded already."""
    sim = Sim("1 12 * * * a")
    sim.wall = START + 60 - seconds
    job = sim.engine.jobs()[0]
    cursor = Cursor(START, START)
    sim.engine = Engine(zone_of, cursor)
    sim.tell(TableLoaded(table("1 12 * * * a")))
    attempt = AttemptKey(RunKey(job.id, START + 60), 1)
    sim.tell(Resumed(attempt, job, None, None))
    assert sim.state(attempt.run) is State.HELD
    return sim, attempt


def test_a_held_attempt_reported_as_started_after_a_clock_step_is_running() -> None:
    sim, attempt = restarted_before_fire_time(0.5)
    sim.tell(Started(attempt, 42, START + 60.0))
    assert sim.state(attempt.run) is State.RUNNING
    assert words(sim.tell(Tick(), 1)) == []
    assert words(sim.tell(Ended(attempt, ending()))) == ["succeeded"]
    assert sim.engine.idle


def test_a_held_attempt_reported_as_ended_after_a_clock_step_has_ended() -> None:
    sim, attempt = restarted_before_fire_time(0.5)
    assert words(sim.tell(Ended(attempt, ending()))) == ["succeeded"]
    assert words(sim.tell(Tick(), 1)) == []
    assert sim.engine.idle


def test_a_run_that_ends_before_the_first_tick_is_not_due_again() -> None:
    """The fire time of the lost Run lies between the last recorded cursor and now."""
    sim = Sim()
    engine = sim.engine = Engine(zone_of, Cursor(START, START))
    sim.tell(TableLoaded(table("* * * * * a")))
    (job,) = engine.jobs()
    attempt = AttemptKey(RunKey(job.id, START + 60), 1)
    sim.tell(Resumed(attempt, job, None, None), 70)
    sim.tell(Lost(attempt, "the runner died"))
    actions = sim.tell(Tick())
    assert not [action for action in actions if isinstance(action, RecordRun)]


# ---- the clock is set back


def test_a_held_attempt_is_withdrawn_if_the_clock_is_set_far_back() -> None:
    sim = Sim("1 12 * * * a", "CRON_CONCURRENCY=forbid 30 11 * * * b", limits=ONE_AT_A_TIME)
    assert words(sim.tell(Tick(), 60 - CLAIM_AHEAD / 2)) == ["hold"]
    sim.wall -= 3000
    assert words(sim.tell(Tick())) == ["withdrawn", "drop"]
    wakeup = sim.engine.next_wakeup()
    assert wakeup is not None
    assert wakeup > sim.wall
    (start,) = begun(sim.tell(Tick(), START + 60 - sim.wall))
    assert start.attempt.run.fire_time == START + 60
    assert sim.wall == START + 60


def test_a_queued_run_starts_although_the_clock_was_set_before_its_fire_time() -> None:
    found, run = in_state(State.QUEUED)
    found.sim.wall -= 3000
    actions = found.succeed(found.sim.engine.running[0].attempt)
    assert [(start.attempt.run, start.hold) for start in begun(actions)] == [(run, False)]


# ---- CRON_ON_FAILURE


@pytest.mark.parametrize(
    ("prefix", "event", "hooked"),
    [
        ("", "fails", True),
        ("", "succeeds", False),
        ("", "is cancelled", False),
        ("", "is lost", True),
        ("", "is refused", True),
        (RETRIES, "fails", False),
        (f"{RETRIES} CRON_NO_RETRY_ON=any", "fails", True),
        (RETRIES, "is cancelled", False),
    ],
)
def test_the_hook_runs_after_a_failure_that_is_not_retried(
    prefix: str, event: str, hooked: bool
) -> None:
    found = case(f"{prefix} CRON_ON_FAILURE=oops".strip())
    attempt = found.run_one()
    events: dict[str, InputEvent] = {
        "fails": Ended(attempt, ending(1)),
        "succeeds": Ended(attempt, ending(0)),
        "is cancelled": Ended(attempt, cancelled()),
        "is lost": Lost(attempt, "the runner died"),
        "is refused": Refused(attempt, "cannot fork"),
    }
    actions = found.sim.tell(events[event])
    hooks = [start.job.command for start in begun(actions)]
    assert hooks == (["oops"] if hooked else [])


def test_the_hook_runs_once_after_the_last_retry_and_has_no_hook_itself() -> None:
    found = case(f"{RETRIES} CRON_RETRY_DELAY=20s CRON_ON_FAILURE=oops CRON_CONCURRENCY=forbid")
    attempt = found.run_one()
    assert begun(found.fail(attempt)) == []
    (retry,) = begun(found.wait(25))
    (hook,) = begun(found.fail(retry.attempt))
    env = dict(hook.job.environment)
    assert hook.attempt.run.fire_time == attempt.run.fire_time
    assert (env["CRON_FAILED_RUN_ID"], env["CRON_EXIT_STATUS"]) == (str(attempt.run), "1")
    assert words(found.fail(hook.attempt)) == ["failed"]
    assert begun(found.fail(retry.attempt)) == []


@pytest.mark.parametrize("why", ["forbid", "deadline", "pause"])
def test_no_hook_runs_for_a_run_that_was_never_started(why: str) -> None:
    found = case(
        "CRON_ON_FAILURE=oops CRON_CONCURRENCY=forbid CRON_START_DEADLINE=9s", ONE_AT_A_TIME
    )
    if why == "pause":
        found.sim.tell(PauseBegan(Pause(ALL, START, None, "root")))
        assert words(found.minute()) == ["skipped"]
    elif why == "forbid":
        found.run_one()
        assert words(found.minute()) == ["skipped"]
    else:
        found.block()
        found.minute()
        assert words(found.wait(20)) == ["missed"]


def test_the_hook_runs_when_the_next_fire_time_ends_a_waiting_retry() -> None:
    found = case("CRON_RETRIES=3 CRON_RETRY_DELAY=10m CRON_ON_FAILURE=oops")
    found.fail(found.run_one())
    assert sorted(start.job.command for start in begun(found.minute())) == ["a", "oops"]


@pytest.mark.parametrize("event", [TableRemoved("alice"), TableLoaded(table(OTHER))])
def test_the_hook_runs_when_the_entry_of_a_waiting_retry_is_removed(event: InputEvent) -> None:
    found = retry_waits_for_its_time("CRON_ON_FAILURE=oops")
    (hook,) = begun(found.sim.tell(event))
    env = dict(hook.job.environment)
    assert (env["CRON_OUTCOME"], env["CRON_EXIT_STATUS"]) == ("failed", "1")


def test_the_hook_gets_the_exit_status_that_an_earlier_daemon_recorded() -> None:
    found = case(f"{RETRIES} CRON_ON_FAILURE=oops")
    attempt = AttemptKey(RunKey(found.job.id, START - 60), 1)
    retry_at = START + 600.0
    found.sim.tell(Resumed(attempt, found.job, 42, 1.0, retry_at, Outcome.FAILED, exit_status=3))
    (hook,) = begun(found.sim.tell(TableRemoved("alice")))
    assert dict(hook.job.environment)["CRON_EXIT_STATUS"] == "3"


def test_the_hook_runs_after_a_failed_run_whose_entry_was_removed() -> None:
    found = case(f"{RETRIES} CRON_ON_FAILURE=oops")
    attempt = found.run_one()
    found.sim.tell(TableRemoved("alice"))
    assert [start.job.command for start in begun(found.fail(attempt))] == ["oops"]


def test_no_hook_runs_when_an_entry_is_removed_before_its_run_starts() -> None:
    found = case("CRON_JITTER=20s CRON_ON_FAILURE=oops")
    found.minute()
    assert words(found.sim.tell(TableRemoved("alice"))) == ["cancelled"]


def test_the_hook_does_not_run_again_after_a_redrive() -> None:
    found = case(f"CRON_ON_FAILURE=oops {RETRIES} CRON_NO_RETRY_ON=any")
    attempt = found.run_one()
    assert len(begun(found.fail(attempt))) == 1
    (again,) = begun(found.sim.tell(Redriven(attempt, found.job), 5))
    assert words(found.fail(again.attempt)) == ["failed"]


# ---- many Runs at once


def test_ten_thousand_due_jobs_start_in_order_and_do_not_delay_another_user() -> None:
    """Two users share the limits fairly: bob's only Job is one of the first two to start.

    Alice's Jobs start in the order of her table, and none misses its deadline: 200 commands run at
    a time, each for one to three minutes, so 10,000 of them take less than the 8000 s.
    """
    sim = Sim(limits=Limits(running=200))
    line = "CRON_START_DEADLINE=8000s 1 12 * * * "
    sim.tell(TableLoaded(table(*(f"{line}x{number}" for number in range(10_000)))))
    sim.tell(TableLoaded(table(f"{line}single", name="bob")))
    order: list[str] = []
    ends: list[tuple[float, str, AttemptKey]] = []

    def take(actions: list[Action]) -> None:
        assert not reasons(actions)
        for start in begun(actions):
            order.append(start.job.command)
            length = 60 + int(start.job.id, 16) % 120
            heappush(ends, (sim.wall + length, str(start.attempt), start.attempt))

    take(sim.tell(Tick(), 60))
    assert "single" in order[:2]
    while ends:
        # As many commands run as the limit allows; 25 places are kept for bob.
        assert min(175, sim.engine.admission.waiting + len(ends)) <= len(ends) <= 200
        ended, _, attempt = heappop(ends)
        take(sim.tell(Ended(attempt, ending()), ended - sim.wall))
    assert sim.engine.idle
    assert [name for name in order if name != "single"] == [f"x{n}" for n in range(10_000)]
