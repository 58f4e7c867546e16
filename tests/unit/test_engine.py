"""The engine: which actions each event leads to, and the starts of a whole simulated year."""

import datetime
import random
from collections import defaultdict
from zoneinfo import ZoneInfo

import pytest

from pycron.crontab.reader import ReaderContext, parse
from pycron.crontab.table import Table
from pycron.engine.actions import (
    Action,
    Log,
    RecordAttempt,
    RecordBoot,
    RecordCursor,
    RecordEnded,
    RecordNotStarted,
    RecordRun,
    RecordStarted,
    Release,
    Start,
)
from pycron.engine.attempts import LONGEST_RELEASE_AHEAD, RELEASE_AHEAD
from pycron.engine.claim_ahead import CLAIM_AHEAD, CLAIM_AHEAD_PER_RUN, LONGEST_CLAIM_AHEAD
from pycron.engine.cursor import LATE, Cursor
from pycron.engine.deliveries import NO_DELIVERIES, DeliveryState
from pycron.engine.delivery_rules import DeliveryRules
from pycron.engine.engine import Engine
from pycron.engine.events import (
    Booted,
    ConfigChanged,
    Ended,
    InputEvent,
    Lost,
    NeverStarted,
    Now,
    PauseBegan,
    Refused,
    Resumed,
    Started,
    StopStarting,
    TableLoaded,
    TableRemoved,
    Tick,
    ZonesChanged,
)
from pycron.engine.limits import UNLIMITED, Limits, Pressure, PressureLimits
from pycron.engine.log_events import Event
from pycron.engine.states import TRANSITIONS, State, Step
from pycron.model.job import Source
from pycron.model.pause import ALL, Pause
from pycron.model.run import AttemptKey, Ending, Outcome, RunKey
from pycron.schedule.zone import UTC, Zone
from tests.support.thoroughness import number_of

ZONES: dict[str | None, Zone] = {None: UTC}


def zone_of(name: str | None) -> Zone:
    if name not in ZONES:
        assert name is not None
        ZONES[name] = Zone(name, ZoneInfo(name))
    return ZONES[name]


def utc(text: str) -> int:
    return int(datetime.datetime.fromisoformat(f"{text}+00:00").timestamp())


START = utc("2026-06-10T12:00")


def table(*lines: str, name: str = "alice") -> Table:
    found = parse("".join(f"{line}\n" for line in lines), Source(name, name), ReaderContext())
    assert not found.problems
    return found


class Sim:
    """An engine, and the two clocks that a test moves: the wall clock and the steady clock."""

    def __init__(
        self,
        *lines: str,
        limits: Limits = UNLIMITED,
        deliveries: DeliveryState = NO_DELIVERIES,
    ) -> None:
        self.wall = self.steady = float(START)
        self.engine = Engine(zone_of, Cursor(START, START), limits=limits, deliveries=deliveries)
        self.tell(TableLoaded(table(*lines)))
        self.tell(Tick())

    def tell(self, event: InputEvent, wait: float = 0) -> list[Action]:
        self.wall += wait
        self.steady += wait
        now = Now(self.wall, self.steady)
        actions = list(self.engine.handle(event, now))
        while self.engine.busy:
            actions += self.engine.handle(Tick(), now)
        return actions

    def state(self, run: RunKey) -> State:
        alive = [*self.engine.attempts, *self.engine.waiting]
        return {each.run: each.state for each in alive}[run]

    def due(self) -> AttemptKey:
        """Move the clocks to the next minute, in which one Run starts; its Attempt."""
        actions = self.tell(Tick(), 60 - self.wall % 60)
        (start,) = (action for action in actions if isinstance(action, Start))
        return start.attempt


def ending(
    exit_status: int | None = 0, signal: int | None = None, reason: str | None = None
) -> Ending:
    return Ending(START + 62.5, exit_status, signal, 0.25, 4096, 0, reason=reason)


def begun(actions: list[Action]) -> list[Start]:
    return [action for action in actions if isinstance(action, Start)]


def may_start(actions: list[Action], held: set[AttemptKey]) -> list[AttemptKey]:
    """The Attempts that the runner may start now.

    `held`: the Attempts that the runner holds until a Release; this function updates the set.
    """
    at_once = []
    for action in actions:
        match action:
            case Start():
                held.add(action.attempt)
                if not action.hold:
                    at_once.append(action.attempt)
            case Release():
                at_once += [each for each in held if each.run.fire_time <= action.until]
    held.difference_update(at_once)
    return at_once


# ---- fire times


def test_all_due_runs_are_recorded_before_any_is_started() -> None:
    sim = Sim("* * * * * a", "* * * * * b")
    first, second = table("* * * * * a", "* * * * * b").jobs
    runs = RunKey(first.id, START + 60), RunKey(second.id, START + 60)
    attempts = AttemptKey(runs[0], 1), AttemptKey(runs[1], 1)
    assert sim.tell(Tick(), 60.25) == [
        RecordRun(runs[0], first),
        RecordRun(runs[1], second),
        RecordCursor(Cursor(START + 60, START + 60)),
        RecordAttempt(attempts[0]),
        RecordAttempt(attempts[1]),
        Start(attempts[0], first),
        Start(attempts[1], second),
    ]


def test_a_tick_without_due_runs_records_only_the_cursor() -> None:
    assert Sim("@daily a").tell(Tick(), 45) == [RecordCursor(Cursor(START + 45, START + 45))]


def test_the_engine_wakes_up_to_claim_then_to_release_then_at_the_fire_time() -> None:
    sim = Sim("*/5 * * * * a", "@every 90s b")
    assert sim.engine.next_wakeup() == START + 90 - CLAIM_AHEAD
    sim.tell(Tick(), 90 - CLAIM_AHEAD)
    assert sim.engine.next_wakeup() == START + 90 - RELEASE_AHEAD
    sim.tell(Tick(), CLAIM_AHEAD - RELEASE_AHEAD)
    assert sim.engine.next_wakeup() == START + 90
    sim.tell(TableRemoved("alice"))
    assert sim.engine.next_wakeup() is None


@pytest.mark.parametrize(
    ("count", "lead"),
    [
        (1, CLAIM_AHEAD),
        (600, CLAIM_AHEAD),
        (1000, 1000 * CLAIM_AHEAD_PER_RUN),
        pytest.param(20_000, LONGEST_CLAIM_AHEAD, marks=pytest.mark.slow),
    ],
)
def test_runs_are_claimed_earlier_when_more_of_them_are_due(count: int, lead: float) -> None:
    sim = Sim(*(f"1 12 * * * a{n}" for n in range(count)), "2 12 * * * b")
    assert sim.engine.next_wakeup() == START + 60 - lead
    holds = [action for action in sim.tell(Tick(), 60 - lead) if isinstance(action, Start)]
    assert len(holds) == count
    sim.tell(Tick(), lead)
    sim.tell(Tick())
    assert sim.engine.next_wakeup() == START + 120 - CLAIM_AHEAD


def test_runs_are_not_claimed_earlier_while_other_runs_wait_in_the_queue() -> None:
    many = [f"2 12 * * * a{n}" for n in range(1000)]
    sim = Sim("1 12 * * * b", "1 12 * * * c", *many, limits=Limits(running=1))
    sim.tell(Tick(), 60)
    assert [live.job.command for live in sim.engine.waiting] == ["c"]
    assert sim.engine.next_wakeup() == START + 120 - CLAIM_AHEAD


def test_a_table_that_lags_behind_does_not_keep_those_of_other_tables_from_being_claimed() -> None:
    engine = Engine(zone_of, Cursor(START, START), slice_runs=5)
    flood = table(*(f"@every 1s a{n}" for n in range(50)))
    for each in (flood, table("1 12 * * * b", name="bob")):
        engine.handle(TableLoaded(each), Now(START, START))
    engine.handle(Tick(), Now(START, START))
    before = START + 60 - CLAIM_AHEAD
    begun = [
        action
        for action in engine.handle(Tick(), Now(before, before))
        if isinstance(action, Start) and action.hold
    ]
    assert [start.job.command for start in begun] == ["b"]
    assert engine.busy
    ahead = START + 60 - LONGEST_RELEASE_AHEAD
    released = [
        [
            action.until
            for action in engine.handle(Tick(), Now(at, at))
            if isinstance(action, Release)
        ]
        for at in (ahead - 0.001, ahead)
    ]
    assert released == [[], [START + 60]]


def test_beside_many_commands_held_runs_are_released_earlier() -> None:
    """Each command has a share of the processors: the daemon may get none in time."""
    sim = Sim(*(f"1 12 * * * a{n}" for n in range(100)), "2 12 * * * b")
    sim.tell(Tick(), 60)
    sim.tell(Tick(), 60 - CLAIM_AHEAD)
    ahead = START + 120 - LONGEST_RELEASE_AHEAD
    assert sim.engine.next_wakeup() == ahead
    actions = sim.tell(Tick(), CLAIM_AHEAD - LONGEST_RELEASE_AHEAD)
    assert [each for each in actions if isinstance(each, Release)] == [Release(START + 120)]


def test_a_step_of_the_wall_clock_is_logged() -> None:
    sim = Sim("@daily a")
    sim.wall += 3600
    logs = [action for action in sim.tell(Tick(), 30) if isinstance(action, Log)]
    assert logs == [Log(Event.CLOCK_STEPPED, {"seconds": 3600}, bad=True)]


@pytest.mark.parametrize("drift", [-59, -1, 0, 1, 59])
def test_a_drift_of_less_than_a_minute_is_not_logged(drift: int) -> None:
    sim = Sim("@daily a")
    sim.wall += drift
    assert not [action for action in sim.tell(Tick(), 60) if isinstance(action, Log)]


def test_reboot_jobs_start_after_a_boot() -> None:
    sim = Sim("@reboot a", "@daily b")
    job = sim.engine.jobs()[0]
    attempt = AttemptKey(RunKey(job.id, START), 1)
    assert sim.tell(Booted("boot-1")) == [
        RecordRun(attempt.run, job),
        RecordBoot("boot-1", START, 0),
        RecordAttempt(attempt),
        Start(attempt, job),
    ]


def test_a_boot_without_reboot_jobs_is_recorded() -> None:
    (record,) = Sim("@daily a").tell(Booted("boot-1"))
    assert isinstance(record, RecordBoot)
    assert record.boot_id == "boot-1"


def test_reboot_jobs_that_another_cron_has_run_do_not_start() -> None:
    sim = Sim("@reboot a")
    assert sim.tell(Booted("boot-1", jobs_have_run=True)) == [RecordBoot("boot-1", START, 0)]


def test_a_changed_time_zone_moves_the_next_fire_time() -> None:
    rules: dict[str | None, Zone] = {None: UTC}
    engine = Engine(rules.__getitem__, Cursor(START, START))
    engine.handle(TableLoaded(table("0 18 * * * a")), Now(START, 0))
    rules[None] = zone_of("America/New_York")
    engine.handle(ZonesChanged(), Now(START, 0))
    assert engine.next_fire_time == START + 10 * 3600


@pytest.mark.parametrize(
    "event", [TableLoaded(table("0 13 * * * other")), TableRemoved("alice"), ZonesChanged()]
)
def test_held_and_delayed_runs_that_are_due_when_tables_change_are_not_lost(
    event: InputEvent,
) -> None:
    sim = Sim("1 12 * * * held", "CRON_JITTER=3m 1 12 * * * delayed")
    jobs = {job.command: job for job in sim.engine.jobs()}
    sim.tell(Tick(), 60 - CLAIM_AHEAD / 2)
    assert sim.state(RunKey(jobs["held"].id, START + 60)) is State.HELD
    go, *records = sim.tell(event, CLAIM_AHEAD / 2)
    assert isinstance(go, Release)
    assert RecordRun(RunKey(jobs["delayed"].id, START + 60), jobs["delayed"]) in records
    assert RecordCursor(Cursor(START + 60, START + 60)) in records


# ---- every pair of state and step: those in TRANSITIONS, and all others


ATTEMPT_STEPS = (Step.STARTED, Step.REFUSED, Step.ENDED, Step.LOST)


def step_event(step: Step, attempt: AttemptKey) -> InputEvent:
    events: dict[Step, InputEvent] = {
        Step.STARTED: Started(attempt, 42, START + 60.5),
        Step.REFUSED: Refused(attempt, "no such user"),
        Step.ENDED: Ended(attempt, ending()),
        Step.LOST: Lost(attempt, "the runner died"),
    }
    return events[step]


def in_state(state: State) -> tuple[Sim, AttemptKey]:
    sim = Sim("* * * * * a")
    run = RunKey(sim.engine.jobs()[0].id, START + 60)
    if state is State.WAITING:
        sim = Sim("RANDOM_DELAY=10", "* * * * * a")
        sim.tell(Tick(), 60)
    elif state is State.QUEUED:
        sim = Sim("* * * * * b", "* * * * * a", limits=Limits(running=1))
        run = RunKey(sim.engine.jobs()[1].id, START + 60)
        sim.tell(Tick(), 60)
    elif state is State.HELD:
        sim.tell(Tick(), 60 - CLAIM_AHEAD)
    if state in (State.WAITING, State.QUEUED, State.HELD):
        assert sim.state(run) is state
        return sim, AttemptKey(run, 1)
    assert sim.due() == AttemptKey(run, 1)
    if state is State.RUNNING:
        sim.tell(Started(AttemptKey(run, 1), 42, START + 60.5))
    return sim, AttemptKey(run, 1)


@pytest.mark.parametrize(
    ("state", "step"),
    # The other steps depend on time and on other Runs: see test_delays, test_retries, test_limits
    [row for row in TRANSITIONS if row[1] in ATTEMPT_STEPS],
)
def test_a_possible_step_ends_the_run_or_leads_to_the_next_state(state: State, step: Step) -> None:
    sim, attempt = in_state(state)
    actions = sim.tell(step_event(step, attempt))
    assert actions
    stays_alive = TRANSITIONS[state, step] is not None
    assert sim.engine.idle is not stays_alive
    assert any(isinstance(action, RecordEnded) for action in actions) is not stays_alive


@pytest.mark.parametrize(
    ("state", "step"),
    [
        (state, step)
        for state in State
        for step in ATTEMPT_STEPS
        if (state, step) not in TRANSITIONS
    ],
)
def test_an_impossible_step_changes_nothing(state: State, step: Step) -> None:
    sim, attempt = in_state(state)
    before = sim.engine.running, sim.engine.waiting
    assert sim.tell(step_event(step, attempt)) == []
    assert (sim.engine.running, sim.engine.waiting) == before


@pytest.mark.parametrize("step", ATTEMPT_STEPS)
def test_reports_on_ended_or_unknown_attempts_change_nothing(step: Step) -> None:
    sim, attempt = in_state(State.RUNNING)
    sim.tell(Ended(attempt, ending()))
    assert sim.tell(step_event(step, attempt)) == []
    unknown = AttemptKey(RunKey("0123456789abcdef", START), 1)
    assert sim.tell(step_event(step, unknown)) == []
    assert sim.engine.idle


@pytest.mark.parametrize("step", ATTEMPT_STEPS)
def test_a_report_on_another_attempt_number_changes_nothing(step: Step) -> None:
    sim, attempt = in_state(State.RUNNING)
    assert sim.tell(step_event(step, AttemptKey(attempt.run, 2))) == []
    assert not sim.engine.idle


def test_a_recorded_or_running_attempt_can_end_or_be_lost() -> None:
    for state in (State.RECORDED, State.RUNNING):
        assert TRANSITIONS[state, Step.LOST] is None
        assert TRANSITIONS[state, Step.ENDED] is None


# ---- delays and deadlines


def test_a_delayed_run_is_recorded_at_its_fire_time_and_started_later() -> None:
    sim = Sim("CRON_JITTER=10m CRON_NAME=a 1 12 * * * a")
    due = sim.tell(Tick(), 60)
    assert [type(action) for action in due] == [RecordRun, RecordCursor]
    start = sim.engine.next_wakeup()
    assert start is not None
    assert START + 60 < start <= START + 660
    assert begun(sim.tell(Tick(), start - sim.wall - 1)) == []
    later = sim.tell(Tick(), 1)
    assert [type(action) for action in later] == [RecordCursor, RecordAttempt, Start]
    assert not sim.engine.waiting


def test_a_run_is_missed_once_its_start_deadline_has_passed() -> None:
    sim = Sim("CRON_START_DEADLINE=30s 1 12 * * * a")
    actions = sim.tell(Tick(), 60 + 31)
    run = RunKey(sim.engine.jobs()[0].id, START + 60)
    missed = [action for action in actions if isinstance(action, RecordNotStarted)]
    assert [(action.run, action.outcome) for action in missed] == [(run, Outcome.MISSED)]
    assert begun(actions) == []
    assert sim.engine.idle
    assert begun(Sim("CRON_START_DEADLINE=30s 1 12 * * * a").tell(Tick(), 60 + 30))


# ---- the records of an Attempt


def recorded(actions: list[Action]) -> list[Action]:
    return [action for action in actions if not isinstance(action, Log)]


def test_a_reported_start_is_recorded() -> None:
    sim = Sim("* * * * * a")
    attempt = sim.due()
    assert recorded(sim.tell(Started(attempt, 42, START + 60.5))) == [
        RecordStarted(attempt, 42, START + 60.5)
    ]
    (running,) = sim.engine.running
    assert (running.attempt, running.pid, running.started) == (attempt, 42, START + 60.5)


@pytest.mark.parametrize(
    ("end", "outcome"),
    [
        (ending(0), Outcome.SUCCEEDED),
        (ending(1), Outcome.FAILED),
        (ending(127, reason="no such file"), Outcome.FAILED),
        (ending(None, signal=9), Outcome.KILLED),
    ],
)
def test_a_reported_end_is_recorded_and_logged_with_its_outcome(
    end: Ending, outcome: Outcome
) -> None:
    sim, attempt = in_state(State.RUNNING)
    actions = sim.tell(Ended(attempt, end))
    assert recorded(actions) == [RecordEnded(attempt, outcome, end, end.reason, outcome)]
    (log,) = (action for action in actions if isinstance(action, Log))
    assert (log.event, log.fields["outcome"], log.fields["duration"]) == (
        Event.ATTEMPT_ENDED,
        outcome.value,
        2.0,
    )
    assert log.bad is (outcome is not Outcome.SUCCEEDED)


def test_an_end_reported_without_a_start_ends_the_run() -> None:
    sim = Sim("* * * * * a")
    attempt = sim.due()
    actions = sim.tell(Ended(attempt, ending()))
    assert recorded(actions) == [
        RecordEnded(attempt, Outcome.SUCCEEDED, ending(), None, Outcome.SUCCEEDED)
    ]
    assert sim.tell(Started(attempt, 42, START + 60.5)) == []


@pytest.mark.parametrize("state", [State.RECORDED, State.RUNNING])
def test_a_lost_attempt_ends_its_run_as_lost(state: State) -> None:
    sim, attempt = in_state(state)
    actions = sim.tell(Lost(attempt, "the machine went down"))
    assert recorded(actions) == [
        RecordEnded(attempt, Outcome.LOST, None, "the machine went down", Outcome.LOST)
    ]
    assert [action.event for action in actions if isinstance(action, Log)] == [Event.ATTEMPT_LOST]


def test_a_refused_attempt_ends_its_run_as_failed() -> None:
    sim = Sim("* * * * * a")
    attempt = sim.due()
    actions = sim.tell(Refused(attempt, "no such user"))
    assert recorded(actions) == [
        RecordEnded(attempt, Outcome.FAILED, None, "no such user", Outcome.FAILED)
    ]


@pytest.mark.parametrize("final", [False, True])
def test_an_attempt_that_is_refused_for_good_is_not_retried(final: bool) -> None:
    """Such as that of an account which has expired: its Run becomes a dead letter."""
    sim = Sim("CRON_RETRIES=2 * * * * * a")
    attempt = sim.due()
    [record] = recorded(sim.tell(Refused(attempt, "PAM has refused it", final=final)))
    assert isinstance(record, RecordEnded)
    assert record.dead is final
    assert (record.run_outcome is None) is not final


@pytest.mark.parametrize(
    ("line", "exit_status", "quiet"),
    [("* * * * * a", 0, False), ("* * * * * -q a", 0, True), ("* * * * * -q a", 1, False)],
)
def test_a_quiet_job_is_logged_only_when_it_fails(line: str, exit_status: int, quiet: bool) -> None:
    sim = Sim(line)
    attempt = sim.due()
    sim.tell(Started(attempt, 42, START + 60.5))
    (log,) = (a for a in sim.tell(Ended(attempt, ending(exit_status))) if isinstance(a, Log))
    assert log.quiet is quiet


def test_a_run_whose_table_was_removed_still_runs_to_its_end() -> None:
    sim, attempt = in_state(State.RUNNING)
    sim.tell(TableRemoved("alice"))
    assert not sim.engine.idle
    assert recorded(sim.tell(Ended(attempt, ending())))


# ---- after a restart, and while the daemon stops


@pytest.mark.parametrize(("pid", "state"), [(None, State.RECORDED), (42, State.RUNNING)])
def test_an_attempt_of_an_earlier_daemon_takes_the_steps_of_its_state(
    pid: int | None, state: State
) -> None:
    for step in ATTEMPT_STEPS:
        sim = Sim("* * * * * a")
        job = sim.engine.jobs()[0]
        attempt = AttemptKey(RunKey(job.id, START - 60), 1)
        sim.tell(Resumed(attempt, job, pid, None if pid is None else START - 59.5))
        assert [live.attempt for live in sim.engine.running] == [attempt]
        assert bool(sim.tell(step_event(step, attempt))) is ((state, step) in TRANSITIONS)


def test_an_attempt_that_the_runner_does_not_know_is_handed_over_again() -> None:
    sim = Sim("* * * * * a")
    job = sim.engine.jobs()[0]
    attempt = AttemptKey(RunKey(job.id, START - 60), 1)
    sim.tell(Resumed(attempt, job, None, None))
    assert sim.tell(NeverStarted(attempt)) == [Start(attempt, job)]


# ---- the configuration


def config_of(
    limits: Limits = UNLIMITED,
    gates: PressureLimits = PressureLimits(),  # noqa: B008  it is a value
    load: float = 0.0,
) -> ConfigChanged:
    return ConfigChanged(limits, gates, DeliveryRules(), Pressure(load, 2**30))


def test_a_raised_limit_starts_what_waits_at_once() -> None:
    sim = Sim("CRON_POOL=db", "* * * * * a", "* * * * * b", limits=Limits(pools={"db": 1}))
    sim.due()
    (waiting,) = sim.engine.waiting
    (start,) = begun(sim.tell(config_of(Limits(pools={"db": 2}))))
    assert start.attempt.run == waiting.run


def test_a_lowered_limit_ends_nothing() -> None:
    sim = Sim("* * * * * a", "* * * * * b", "* * * * * c", limits=Limits(running=2))
    sim.tell(Tick(), 60)
    first, second = (live.attempt for live in sim.engine.running)
    assert sim.tell(config_of(Limits(running=1))) == []
    assert [live.attempt for live in sim.engine.running] == [first, second]
    assert not begun(sim.tell(Ended(first, ending())))
    assert len(begun(sim.tell(Ended(second, ending())))) == 1


def test_a_load_limit_holds_at_once_and_ends_with_its_option() -> None:
    sim = Sim("* * * * * a")
    sim.tell(config_of(gates=PressureLimits(load=4), load=9))
    assert not begun(sim.tell(Tick(), 60))
    (start,) = begun(sim.tell(config_of(load=9)))
    assert start.job.command == "a"


def test_a_retry_and_a_pause_survive_a_change() -> None:
    sim = Sim("CRON_RETRIES=1 CRON_RETRY_DELAY=30s CRON_RETRY_JITTER=0 * * * * * a")
    attempt = sim.due()
    sim.tell(Started(attempt, 4242, sim.wall))
    sim.tell(Ended(attempt, ending(1)))
    sim.tell(PauseBegan(Pause(ALL, sim.wall, sim.wall + 20, "alice")))
    before = sim.engine.waiting, sim.engine.pauses
    assert sim.tell(config_of(Limits(running=9))) == []
    assert (sim.engine.waiting, sim.engine.pauses) == before
    (start,) = begun(sim.tell(Tick(), 30))
    assert start.attempt == AttemptKey(attempt.run, 2)


def test_a_stopping_daemon_starts_nothing_after_a_change() -> None:
    sim = Sim("* * * * * a", limits=Limits(running=0))
    sim.tell(Tick(), 60)
    sim.tell(StopStarting())
    assert not begun(sim.tell(config_of()))


def test_a_stopping_daemon_starts_no_runs() -> None:
    sim = Sim("* * * * * a", "@reboot b")
    attempt = sim.due()
    sim.tell(StopStarting())
    assert sim.engine.next_wakeup() is None
    assert sim.tell(Tick(), 60) == []
    assert sim.tell(Booted("boot-1")) == []
    assert recorded(sim.tell(Ended(attempt, ending())))
    assert sim.engine.idle


# ---- a year of fire times

YEAR = utc("2026-01-01T00:00"), utc("2027-01-01T00:00")
YEAR_ZONES = (
    "UTC", "America/New_York", "Europe/Berlin", "Australia/Lord_Howe", "Antarctica/Troll",
    "Africa/Cairo", "Europe/Dublin", "Pacific/Chatham", "America/Santiago", "Africa/Casablanca",
)  # fmt: skip


def entries(count: int, seed: int) -> list[tuple[str, tuple[str, ...]]]:
    """Random pairs (zone, fields). Most fire rarely, and half of them when clocks are shifted."""
    dice = random.Random(seed)

    def one() -> tuple[str, ...]:
        minute = dice.choice(["0", "30", "59", "*/30", "5,35", "7"])
        hour = dice.choice(["2", "1-3", "0", "23", "*/6", "*/3", "4,16"])
        day_of_month = dice.choice(["*", "*", "*", "1", "*/9", "25-31", "29"])
        month = dice.choice(["*", "*", "3,10", "*/4", "4-9"])
        day_of_week = dice.choice(["*", "*", "*", "0", "1-5", "*/3", "7"])
        return minute, hour, day_of_month, month, day_of_week

    return [(YEAR_ZONES[n % len(YEAR_ZONES)], one()) for n in range(count)]


def expand(field: str, low: int, high: int) -> set[int]:
    found: set[int] = set()
    for element in field.split(","):
        span, _, step = element.partition("/")
        first, _, last = span.replace("*", f"{low}-{high}").partition("-")
        found |= set(range(int(first), int(last or first) + 1, int(step or 1)))
    return found


class Calendar:
    """The expected fire times of a zone, by plain counting.

    `quarters`: for each quarter of an hour of local time (in quarters since 1970), the UTC seconds
    at which it begins. In this year, no zone shifts its clocks within a quarter of an hour.
    """

    def __init__(self, name: str) -> None:
        self.quarters: dict[int, list[int]] = defaultdict(list)
        for start in range(YEAR[0] - 2 * 86_400, YEAR[1] + 2 * 86_400, 900):
            offset = datetime.datetime.fromtimestamp(start, ZoneInfo(name)).utcoffset()
            assert offset is not None
            self.quarters[(start + int(offset.total_seconds())) // 900].append(start)
        self.days = [datetime.date(2025, 12, 31) + datetime.timedelta(days=n) for n in range(367)]

    def fires(self, fields: tuple[str, ...]) -> list[int]:
        wildcard = fields[0][0] == "*" or fields[1][0] == "*"
        found: set[int] = set()
        for wall in self.matching(fields):
            quarter, minute = divmod(wall, 15)
            instants = [start + minute * 60 for start in self.quarters.get(quarter, [])]
            if wildcard:
                found |= set(instants)
            elif instants:
                found.add(instants[0])
            else:  # this local time is skipped: the first local minute that exists after it
                after = next(q for q in range(quarter, quarter + 12) if q in self.quarters)
                found.add(self.quarters[after][0])
        return sorted(fire for fire in found if YEAR[0] <= fire < YEAR[1])

    def matching(self, fields: tuple[str, ...]) -> list[int]:
        minutes, hours = expand(fields[0], 0, 59), expand(fields[1], 0, 23)
        dates, months = expand(fields[2], 1, 31), expand(fields[3], 1, 12)
        weekdays = {day % 7 for day in expand(fields[4], 0, 7)}
        both = fields[2][0] == "*" or fields[4][0] == "*"
        found = []
        for day in self.days:
            chosen = [day.day in dates, day.isoweekday() % 7 in weekdays]
            if day.month in months and (all(chosen) if both else any(chosen)):
                midnight = (day - datetime.date(1970, 1, 1)).days * 1440
                found += [midnight + hour * 60 + minute for hour in hours for minute in minutes]
        return found


@pytest.mark.slow
def test_a_hundred_entries_in_ten_zones_fire_correctly_for_a_year() -> None:
    """A run that is not thorough takes six of them."""
    plan = entries(number_of(6, 100), seed=20)
    lines = [f"CRON_TZ={zone} {' '.join(fields)} n{n}" for n, (zone, fields) in enumerate(plan)]
    engine = Engine(zone_of, Cursor(YEAR[0] - 1, YEAR[0] - 1))
    engine.handle(TableLoaded(table(*lines)), Now(YEAR[0] - 1, YEAR[0] - 1))
    found: dict[str, list[int]] = defaultdict(list)
    commands: dict[AttemptKey, str] = {}
    held: set[AttemptKey] = set()
    now = float(YEAR[0] - 1)
    while (wakeup := engine.next_wakeup()) is not None and wakeup < YEAR[1] - RELEASE_AHEAD:
        now = min(wakeup, now + LATE)  # the engine would take a longer sleep for a clock step
        actions = list(engine.handle(Tick(), Now(now, now)))
        commands |= {start.attempt: start.job.command for start in begun(actions)}
        for attempt in may_start(actions, held):
            assert attempt.run.fire_time == now + RELEASE_AHEAD
            found[commands.pop(attempt)].append(attempt.run.fire_time)
            engine.handle(Ended(attempt, ending()), Now(now, now))
    assert not engine.running
    calendars = {zone: Calendar(zone) for zone in YEAR_ZONES}
    for number, (zone, fields) in enumerate(plan):
        assert found[f"n{number}"] == calendars[zone].fires(fields), (zone, fields)
    assert sum(map(len, found.values())) > 100 * len(plan)
