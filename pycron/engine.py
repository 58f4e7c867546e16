"""The engine: the one place where a Run changes its state.

Events go in, actions come out; nothing is read and nothing is done here. The caller performs the
actions in their order, so what is recorded is recorded before it is started.

    state      on             becomes
    (none)     due            WAITING    its Run is written to the store
    WAITING    ready          QUEUED     its time has come: it asks for a place
    QUEUED     put off        WAITING    a pause has come in between
    QUEUED     admitted       RECORDED   its Attempt is written, then handed to the runner
    QUEUED     claimed        HELD       the same ahead of its time; the runner waits for a word
    HELD       begun          RECORDED   that word: its time has come
    HELD       started, ended  as RECORDED: an earlier daemon had given that word
    HELD, RECORDED  withdrawn WAITING    it was not started, and need not be for now
    WAITING, QUEUED           (ended)    given up: too late, forbidden, paused, cancelled, gone
    HELD, RECORDED  refused   (ended)    it could not be started
    RECORDED   started        RUNNING    the runner has forked it
    RECORDED   ended          (ended)    it was over before anybody heard that it had started
    RUNNING    ended          (ended)
    RECORDED, RUNNING  lost   (ended)    nobody knows how it ended, or whether it began
    any of these  failed      WAITING    it did, in any of these ways, and is tried again later

Rule: everything that affects the state of a Run is in this file. Who gets a place, when there are
fewer than are wanted, is admission.py's to say.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from heapq import heappop, heappush
from itertools import count

from pycron import reports
from pycron.actions import (
    Action,
    Booted,
    CancelledByHand,
    Drop,
    Ended,
    Go,
    InputEvent,
    Log,
    Lost,
    Now,
    Order,
    PauseBegan,
    PauseEnded,
    Pressure,
    Record,
    RecordAttempt,
    RecordBoot,
    RecordCursor,
    RecordEnded,
    RecordGap,
    RecordNotStarted,
    RecordPause,
    RecordResume,
    RecordRevived,
    RecordRun,
    RecordStarted,
    RecordWithdrawn,
    Redriven,
    Refused,
    Resumed,
    Start,
    Started,
    StartedByHand,
    Stop,
    StopStarting,
    TableLoaded,
    TableRemoved,
    Tick,
    ZonesChanged,
)
from pycron.admission import UNLIMITED, Admission, Limits
from pycron.entries import Entries, Jobs, nothing
from pycron.model import AttemptKey, Ending, Job, Outcome, Pause, RunKey
from pycron.policy import (
    ALWAYS_OPEN,
    OUTCOME_OF_CAUSE,
    Gates,
    closed_gate,
    concurrency_of,
    failure_hook,
    is_hook,
    is_retryable,
    job_limit,
    outcome_of,
    past_retrying,
    retry_delay,
    scopes_of,
    start_delay,
    too_late,
)
from pycron.schedule import Reboot
from pycron.settings import CatchUp, Concurrency
from pycron.timetable import Cursor, Gap, Timetable
from pycron.zone import Zone


class State(StrEnum):
    WAITING = "waiting"
    QUEUED = "queued"
    HELD = "held"
    RECORDED = "recorded"
    RUNNING = "running"


class Step(StrEnum):
    """What can happen to a Run that is alive."""

    READY = "ready"
    PUT_OFF = "put off"
    ADMITTED = "admitted"
    CLAIMED = "claimed"
    BEGUN = "begun"
    WITHDRAWN = "withdrawn"
    GIVEN_UP = "given up"
    STARTED = "started"
    REFUSED = "refused"
    ENDED = "ended"
    LOST = "lost"
    FAILED = "failed"


# What a state becomes; None is the end. What isn't here can't happen and is refused.
TRANSITIONS: dict[tuple[State, Step], State | None] = {
    (State.WAITING, Step.READY): State.QUEUED,
    (State.WAITING, Step.GIVEN_UP): None,
    (State.QUEUED, Step.PUT_OFF): State.WAITING,
    (State.QUEUED, Step.ADMITTED): State.RECORDED,
    (State.QUEUED, Step.CLAIMED): State.HELD,
    (State.QUEUED, Step.GIVEN_UP): None,
    (State.HELD, Step.BEGUN): State.RECORDED,
    (State.HELD, Step.WITHDRAWN): State.WAITING,
    (State.HELD, Step.STARTED): State.RUNNING,
    (State.HELD, Step.ENDED): None,
    (State.HELD, Step.REFUSED): None,
    (State.HELD, Step.FAILED): State.WAITING,
    (State.RECORDED, Step.WITHDRAWN): State.WAITING,
    (State.RECORDED, Step.STARTED): State.RUNNING,
    (State.RECORDED, Step.REFUSED): None,
    (State.RECORDED, Step.ENDED): None,
    (State.RECORDED, Step.LOST): None,
    (State.RECORDED, Step.FAILED): State.WAITING,
    (State.RUNNING, Step.ENDED): None,
    (State.RUNNING, Step.LOST): None,
    (State.RUNNING, Step.FAILED): State.WAITING,
}

# Seconds before a fire time at which what will be due is recorded and handed to the runner. When
# both it and the daemon die in between, nobody can tell whether that began: it is lost.
LEAD = 0.3

_NOT_BEGUN = (State.WAITING, State.QUEUED, State.HELD)


@dataclass(slots=True)
class _Live:
    """A Run that has not ended, and the Attempt it is at (0: none yet).

    `planned`: when the Attempt that it waits for is to start. `last`: its last Attempt, after which
    no retry comes. `outcome`: how the Attempt before ended. `redriven`: it has been a dead letter.
    `gone`: its entry was no longer there when it was taken up.
    """

    job: Job
    planned: float
    last: int
    state: State = State.WAITING
    number: int = 0
    outcome: Outcome | None = None
    redriven: bool = False
    pid: int | None = None
    started: float | None = None
    gone: bool = False


@dataclass(frozen=True, slots=True)
class _End:
    """How an Attempt ended: the step it takes, and what is known."""

    step: Step
    outcome: Outcome
    ending: Ending | None
    reason: str | None


@dataclass(frozen=True, slots=True)
class _Plan:
    """What comes after it: a retry at an instant, or the end of the Run, maybe as a dead letter."""

    reason: str | None
    at: float | None = None
    dead: bool = False


@dataclass(slots=True)
class _Decisions:
    """What an event leads to. `first`: orders on what is on record already."""

    first: list[Order] = field(default_factory=list)
    records: list[Record] = field(default_factory=list)
    orders: list[Order] = field(default_factory=list)
    logs: list[Log] = field(default_factory=list)

    def in_order(self) -> list[Action]:
        return [*self.first, *self.records, *self.orders, *self.logs]


@dataclass(frozen=True, slots=True)
class LiveRun:
    """What an operator may see of a Run that has not ended; `why`: what it waits for."""

    run: RunKey
    job: Job
    state: State
    number: int
    planned: float
    pid: int | None
    started: float | None
    why: str | None

    @property
    def attempt(self) -> AttemptKey:
        return AttemptKey(self.run, self.number)


class Engine:
    """All Jobs, and the Runs that are alive."""

    def __init__(
        self,
        zone_of: Callable[[str | None], Zone],
        cursor: Cursor,
        gaps: Iterable[Gap] = (),
        host: str = "",
        limits: Limits = UNLIMITED,
        gates: Gates = ALWAYS_OPEN,
        pauses: Iterable[Pause] = (),
        done: Iterable[RunKey] = (),
    ) -> None:
        """`cursor` and `gaps`: where the timetable begins and what was passed over before it.

        `host`: what the delays of CRON_JITTER depend on, beside the Job. `pauses`: those that hold.
        `done`: Runs that have ended although their fire time comes after the cursor.
        """
        self.zone_of = zone_of
        self.stopping = False
        self._host = host
        self._gates = gates
        self._gaps = list(gaps)
        self._timetable = Timetable(zone_of, cursor, self._gaps)
        self._admission = Admission(limits)
        self._pauses = {pause.scope: pause for pause in pauses}
        self._ahead = set(done)  # Runs taken up before their fire time was handed out
        self._live: dict[RunKey, _Live] = {}
        self._of_job: dict[str, dict[RunKey, None]] = {}
        self._latest: dict[str, int] = {}  # the last fire time of Jobs with retries
        self._timers: list[tuple[float, int, RunKey]] = []
        self._serial: Iterator[int] = count()
        self._asked: list[RunKey] = []
        self._held: dict[RunKey, None] = {}
        self._put_off: dict[RunKey, None] = {}
        self._looked_ahead: int | None = None
        self._seen: Now | None = None
        self._now = Now(0.0, 0.0)
        self._out = _Decisions()

    def handle(self, event: InputEvent, now: Now) -> list[Action]:
        """What is to be done about an event, in order."""
        self._out = _Decisions()
        self._now = now
        self._take(event)
        if not self.stopping:
            self._admit()
        if self._seen or isinstance(event, Tick):
            self._seen = now
        return self._out.in_order()

    def _take(self, event: InputEvent) -> None:
        match event:
            case Tick():
                self._tick()
            case Booted():
                self._booted(event)
            case TableLoaded():
                self._up_to_now()
                self._timetable.put(event.table)
                self._follow_table(event.table.source.name, event.table.jobs)
            case TableRemoved():
                self._up_to_now()
                self._timetable.drop(event.name)
                self._follow_table(event.name, nothing())
            case ZonesChanged():
                self._up_to_now()
                self._timetable.zones_changed()
            case Resumed():
                self._resume(event)
            case Redriven():
                self._redrive(event)
            case StartedByHand():
                self._start_by_hand(event)
            case CancelledByHand():
                self._cancel(event)
            case PauseBegan():
                self._pause(event.pause)
            case PauseEnded():
                self._end_pause(event.scope)
            case Pressure():
                self._admission.closed = closed_gate(self._gates, event.load, event.free_memory)
            case Started():
                self._started(event)
            case Refused():
                outcome = OUTCOME_OF_CAUSE[event.cause] if event.cause else Outcome.FAILED
                self._close(event.attempt, _End(Step.REFUSED, outcome, None, event.reason))
            case Ended():
                ending = event.ending
                end = _End(Step.ENDED, outcome_of(ending), ending, ending.reason)
                self._close(event.attempt, end)
            case Lost():
                self._close(event.attempt, _End(Step.LOST, Outcome.LOST, None, event.reason))
            case StopStarting():
                self._stop_starting()

    # ---- what there is

    def next_wakeup(self) -> float | None:
        """The UTC second at which there is something to do; None when there is nothing, ever."""
        if self.stopping:
            return None
        fire = self._timetable.next_fire_time()
        times = [pause.until for pause in self._pauses.values() if pause.until is not None]
        if fire is not None:
            times.append(fire if fire == self._looked_ahead else fire - LEAD)
        if self._held:
            times.append(self._live[next(iter(self._held))].planned)
        if self._timers:
            times.append(self._timers[0][0])
        patience = self._admission.patience()
        if patience < math.inf:
            times.append(self._now.wall + patience)
        return min(times, default=None)

    @property
    def next_fire_time(self) -> int | None:
        return self._timetable.next_fire_time()

    @property
    def admission(self) -> Admission:
        """The limits and their use, to look at."""
        return self._admission

    @property
    def pauses(self) -> list[Pause]:
        return list(self._pauses.values())

    @property
    def attempts(self) -> list[LiveRun]:
        """The Runs whose Attempt is on record and has not ended, those that are held too."""
        states = (State.HELD, State.RECORDED, State.RUNNING)
        return [self._shown(run) for run, live in self._live.items() if live.state in states]

    @property
    def running(self) -> list[LiveRun]:
        """The Runs that have begun and not ended."""
        return [each for each in self.attempts if each.state is not State.HELD]

    @property
    def waiting(self) -> list[LiveRun]:
        """The Runs that are due, or tried again later, and have not begun."""
        states = (State.WAITING, State.QUEUED)
        return [self._shown(run) for run, live in self._live.items() if live.state in states]

    @property
    def alive(self) -> list[LiveRun]:
        """All Runs that have not ended."""
        return [self._shown(run) for run in self._live]

    def coming(self, most: int, wanted: Callable[[str], bool]) -> list[tuple[int, Job]]:
        """The next fire times of Jobs whose user is wanted, the first ones first."""
        return self._timetable.coming(most, wanted)

    def _shown(self, run: RunKey) -> LiveRun:
        live = self._live[run]
        return LiveRun(run, live.job, live.state, live.number, live.planned, live.pid, live.started,
                       self._why(run, live))  # fmt: skip

    def _why(self, run: RunKey, live: _Live) -> str | None:
        if live.state is State.QUEUED:
            return self._admission.why(run)
        pause = self._pause_of(live.job)
        if live.state is State.WAITING and pause is not None:
            return _in_words(pause)
        return None

    @property
    def idle(self) -> bool:
        return not self._live

    def is_alive(self, run: RunKey) -> bool:
        return run in self._live

    def jobs(self) -> Jobs:
        """All Jobs, in the order of table and line."""
        return self._timetable.jobs()

    # ---- time

    def _tick(self) -> None:
        if self.stopping:
            return
        now = self._now
        awake = now.steady - self._seen.steady if self._seen else 0.0
        if awake < 0:  # a faked clock takes the steady one along: then nothing is known
            awake = math.inf
        stepped = reports.clock_stepped(self._seen, now)
        if stepped:
            self._out.logs.append(stepped)
        if self._let_go():
            return  # at once; what else is due has its turn with the next tick, which is due, too
        why = "the clock was set forward" if self._seen else "the daemon was not running"
        for fire, turn, job in self._timetable.take_due(now.wall, awake):
            self._take_up(RunKey(job.id, fire, turn), job)
        self._ahead = {run for run in self._ahead if run.fire_time > now.wall}
        for gap in self._timetable.take_passed_over():
            self._out.records.append(RecordGap(gap, why))
        self._out.records.append(RecordCursor(self._timetable.cursor))
        self._end_pauses()
        self._take_timers()
        self._look_ahead()

    def _up_to_now(self) -> None:
        """What was due before a change of tables or zones, so that the new begins with now.

        Before the first tick there is nothing yet: the tables are what it is to look at.
        """
        if self._seen:
            self._tick()
        self._looked_ahead = None

    def _booted(self, event: Booted) -> None:
        if self.stopping:
            return
        second = int(self._now.wall)
        for job in self._timetable.reboot_jobs():
            self._take_up(RunKey(job.id, second, event.turn), job)
        self._out.records.append(RecordBoot(event.boot_id, second, event.turn))

    def _look_ahead(self) -> None:
        """Claim what will be due in a moment, so that its time has only to be said.

        Only what nothing can keep from starting as far as is known; the others are taken up when
        they are due.
        """
        now = self._now.wall
        fire = self._timetable.next_fire_time()
        if fire is None or fire == self._looked_ahead or not now < fire <= now + LEAD:
            return
        self._looked_ahead = fire
        for fire_time, turn, job in self._timetable.peek(fire):
            run = RunKey(job.id, fire_time, turn)
            if run not in self._ahead and run not in self._live and self._undisputed(job):
                self._ahead.add(run)
                self._out.records.append(RecordRun(run, job))
                self._ask(run, self._enter(run, job, float(fire_time)))

    def _undisputed(self, job: Job) -> bool:
        if start_delay(job, self._host) or self._pause_of(job):
            return False
        settings = job.settings
        free = concurrency_of(settings) is Concurrency.ALLOW and not settings.retries
        return free or job.id not in self._of_job

    def _let_go(self) -> bool:
        """Say the word for what is held, when its time has come.

        It may also have gone far away, with a clock that was set back.
        """
        for run in [run for run in self._held if self._live[run].planned > self._now.wall + LEAD]:
            self._withdraw(run, self._live[run])
            self._set_timer(self._live[run].planned, run)
        due = [run for run in self._held if self._live[run].planned <= self._now.wall]
        if not due:
            return False
        for run in due:
            del self._held[run]
            self._step(run, Step.BEGUN)
        self._out.first.append(Go(int(self._now.wall)))
        return True

    def _take_timers(self) -> None:
        """What waits until a time that has come: to begin, or to be too late for it."""
        while self._timers and self._timers[0][0] <= self._now.wall:
            when, _, run = heappop(self._timers)
            live = self._live.get(run)
            if live is None or (live.number and live.state is not State.WAITING):
                continue
            if live.state is State.WAITING and live.planned == when:
                self._arrive(run, live)
            elif live.state is State.QUEUED and when > live.planned:
                self._give_up_late(run, live)

    def _set_timer(self, when: float, run: RunKey) -> None:
        heappush(self._timers, (when, next(self._serial), run))

    # ---- Runs that come

    def _enter(self, run: RunKey, job: Job, planned: float) -> _Live:
        live = self._live[run] = _Live(job, planned, last=1 + job.settings.retries)
        self._of_job.setdefault(job.id, {})[run] = None
        return live

    def _leave(self, run: RunKey) -> None:
        live = self._live.pop(run)
        runs = self._of_job[live.job.id]
        del runs[run]
        if not runs:
            del self._of_job[live.job.id]
            self._latest.pop(live.job.id, None)

    def _take_up(self, run: RunKey, job: Job) -> None:
        """A fire time: its Run begins, or waits, or has been taken up ahead of its time."""
        if job.settings.retries:
            self._latest[job.id] = run.fire_time
        if run in self._ahead or run in self._live:
            return
        self._supersede(job)
        self._out.records.append(RecordRun(run, job))
        planned = float(run.fire_time + start_delay(job, self._host))
        live = self._enter(run, job, planned)
        if planned > self._now.wall:
            self._set_timer(planned, run)
        else:
            self._arrive(run, live)

    def _arrive(self, run: RunKey, live: _Live) -> None:
        """The time of an Attempt has come. A first one meets what its Job does already."""
        pause = self._pause_of(live.job)
        if pause is not None and not live.number and pause.covers(live.planned):
            self._give_up(run, Outcome.SKIPPED, _in_words(pause))
            return
        refusal = None if live.number else self._meet_others(run, live.job)
        if refusal is not None:
            self._give_up(run, Outcome.SKIPPED, refusal)
            return
        self._ask(run, live)

    def _meet_others(self, run: RunKey, job: Job) -> str | None:
        """The concurrency policy: why a Run may not begin beside its Job's others; None if it may.

        Retries that wait for their time hold no place.
        """
        most = job_limit(job.settings)
        others = [(other, self._live[other]) for other in self._of_job[job.id] if other != run]
        holding = [other for other, live in others if self._admission.holds(other)]
        asking = [other for other, live in others if self._admission.asks(other)]
        if most is None or len(holding) + len(asking) < most:
            return None
        match concurrency_of(job.settings):
            case Concurrency.FORBID:
                what = "runs" if holding else "waits"
                return f"an earlier run still {what} (CRON_CONCURRENCY=forbid)"
            case Concurrency.QUEUE if asking:
                return "one waits already (CRON_CONCURRENCY=queue)"
            case Concurrency.REPLACE:
                for other in asking:
                    self._make_way(other, "replaced by the next fire time")
                for other in holding[: len(holding) - most + 1]:
                    self._stop(other, "replaced by the next fire time")
        return None

    def _ask(self, run: RunKey, live: _Live) -> None:
        """Ask for a place, now or when the pause that holds its Job is over."""
        if self._pause_of(live.job):
            self._put_off[run] = None
            return
        self._step(run, Step.READY)
        self._admission.ask(run, live.job, live.planned)
        self._asked.append(run)
        deadline = live.job.settings.start_deadline
        if deadline is not None and not live.number:
            self._set_timer(math.nextafter(live.planned + deadline, math.inf), run)

    def _admit(self) -> None:
        """Begin those for which there is a place; of the others, as many wait as may."""
        while (run := self._admission.next(self._now.steady)) is not None:
            self._begin(run)
        asked, self._asked = self._asked, []
        for run in reversed(asked):
            if self._admission.asks(run) and not self._live[run].number:
                reason = self._admission.crowded_out(run)
                if reason is not None:
                    self._give_up(run, Outcome.MISSED, reason)

    def _begin(self, run: RunKey) -> None:
        """The next Attempt of a Run that has its place; or its end, where it is too late."""
        live = self._live[run]
        if self._give_up_late(run, live):
            return
        ahead = self._is_ahead(run, live.job)
        self._step(run, Step.CLAIMED if ahead else Step.ADMITTED)
        if ahead:
            self._held[run] = None
        live.number += 1
        attempt = AttemptKey(run, live.number)
        self._out.records.append(RecordAttempt(attempt))
        self._out.orders.append(Start(attempt, live.job, hold=ahead))

    def _give_up_late(self, run: RunKey, live: _Live) -> bool:
        late = None if live.number else too_late(live.job, live.planned, self._now.wall)
        if late is None:
            return False
        self._give_up(run, Outcome.MISSED, late)
        return True

    # ---- Runs that go

    def _give_up(self, run: RunKey, outcome: Outcome, reason: str, *, dead: bool = False) -> None:
        """End a Run that has not begun, or not begun again, without a further Attempt."""
        live = self._live[run]
        if live.state is State.HELD:
            self._withdraw(run, live)
        self._admission.withdraw(run)
        self._admission.release(run)
        self._step(run, Step.GIVEN_UP)
        self._out.records.append(RecordNotStarted(run, outcome, reason, dead))
        self._out.logs.append(reports.given_up(run, live.job, outcome, reason))

    def _withdraw(self, run: RunKey, live: _Live) -> None:
        """Take back an Attempt that the runner holds, or never had."""
        attempt = AttemptKey(run, live.number)
        self._held.pop(run, None)
        self._step(run, Step.WITHDRAWN)
        live.number -= 1
        self._admission.release(run)
        self._out.records.append(RecordWithdrawn(attempt))
        self._out.orders.append(Drop(attempt))

    def _stop(self, run: RunKey, reason: str, kill_after: int | None = None) -> None:
        """End an Attempt that runs; how, the runner will say."""
        live = self._live[run]
        if live.state is State.HELD:
            self._give_up(run, Outcome.CANCELLED, reason)
            return
        attempt = AttemptKey(run, live.number)
        seconds = live.job.settings.kill_after if kill_after is None else kill_after
        self._out.orders.append(Stop(attempt, reason, seconds))
        self._out.logs.append(reports.stopping(attempt, live.job, reason))

    def _supersede(self, job: Job) -> None:
        """A new fire time of a Job: the retry of an earlier one need not wait any more."""
        if job.settings.retry_until != "next":
            return
        for run in list(self._of_job.get(job.id, ())):
            live = self._live[run]
            if live.number and live.state in (State.WAITING, State.QUEUED):
                self._make_way(run, "the next fire time came before the retry")

    def _make_way(self, run: RunKey, reason: str) -> None:
        """Give up one that has not begun, or not begun again, for a later fire time of its Job."""
        live = self._live[run]
        self._give_up(run, live.outcome or Outcome.SKIPPED, reason)
        if live.outcome:
            self._run_hook(run, live, live.outcome, None)

    def _follow_table(self, name: str, entries: Entries) -> None:
        """Attempts that have not begun belong to entries: to what those say now, or to none."""
        theirs = [
            (run, live)
            for run, live in self._live.items()
            if live.job.source.name == name and not is_hook(live.job)
        ]
        if not theirs:
            return
        current = entries.find({live.job.id for _, live in theirs})
        for run, live in theirs:
            if live.job.id not in current:
                self._lose_entry(run, live)
            elif live.job != current[live.job.id]:
                self._change_job(run, live, current[live.job.id])

    def _change_job(self, run: RunKey, live: _Live, job: Job) -> None:
        """What has been asked for, or handed over, for the old entry is taken back."""
        live.job = job
        if live.state is State.HELD:
            self._withdraw(run, live)
        elif live.state is State.QUEUED:
            self._admission.withdraw(run)
            self._step(run, Step.PUT_OFF)
        elif run in self._put_off:
            del self._put_off[run]
        else:
            return
        self._ask(run, live)

    def _lose_entry(self, run: RunKey, live: _Live) -> None:
        if live.state in _NOT_BEGUN:
            self._give_up_entry_gone(run, live)
        else:
            live.last = live.number

    def _give_up_entry_gone(self, run: RunKey, live: _Live) -> None:
        outcome = live.outcome or Outcome.CANCELLED
        self._give_up(run, outcome, "its entry is gone", dead=live.outcome is not None)

    def _stop_starting(self) -> None:
        """Runs that wait go on waiting in the store, for the next daemon."""
        self.stopping = True
        self._timers.clear()
        for run in [run for run, live in self._live.items() if live.state in _NOT_BEGUN]:
            if self._live[run].state is State.HELD:
                self._withdraw(run, self._live[run])
            self._admission.withdraw(run)
            self._leave(run)

    # ---- what an operator wants

    def _start_by_hand(self, event: StartedByHand) -> None:
        run = RunKey(event.job.id, int(self._now.wall), event.turn)
        if self.stopping or run in self._live:
            return
        self._out.records.append(RecordRun(run, event.job, event.by))
        self._out.logs.append(reports.by_hand(run, event.job, event.by, force=event.force))
        live = self._enter(run, event.job, self._now.wall)
        if not event.force:
            self._arrive(run, live)
            return
        self._admission.take(run, event.job)
        self._step(run, Step.READY)
        self._begin(run)

    def _cancel(self, event: CancelledByHand) -> None:
        live = self._live.get(event.run)
        if live is None:
            return
        reason = f"cancelled by {event.by}"
        if live.state in _NOT_BEGUN:
            self._give_up(event.run, Outcome.CANCELLED, reason)
        else:
            self._stop(event.run, reason, event.kill_after)

    def _redrive(self, event: Redriven) -> None:
        """A dead letter begins anew, at once, with as many retries as it had."""
        run, number = event.attempt.run, event.attempt.number
        if run in self._live or self.stopping:
            return
        live = self._enter(run, event.job, self._now.wall)
        live.number, live.last = number, number + 1 + event.job.settings.retries
        live.outcome, live.redriven = Outcome.FAILED, True
        self._out.records.append(RecordRevived(run))
        self._ask(run, live)

    def _pause(self, pause: Pause) -> None:
        """Nothing in its scope begins; what asks, waits, and what is held was due in the pause."""
        self._pauses[pause.scope] = pause
        self._out.records.append(RecordPause(pause))
        self._out.logs.append(reports.paused(pause))
        for run, live in list(self._live.items()):
            if pause.scope not in scopes_of(live.job):
                continue
            if live.state is State.HELD:
                self._give_up(run, Outcome.SKIPPED, _in_words(pause))
            elif live.state is State.QUEUED:
                self._admission.withdraw(run)
                self._step(run, Step.PUT_OFF)
                self._put_off[run] = None

    def _end_pause(self, scope: str) -> None:
        if self._pauses.pop(scope, None) is None:
            return
        self._out.records.append(RecordResume(scope))
        self._out.logs.append(reports.resumed(scope))
        put_off, self._put_off = self._put_off, {}
        for run in put_off:
            live = self._live.get(run)
            if live is not None and live.state is State.WAITING:
                self._ask(run, live)

    def _end_pauses(self) -> None:
        """Those whose time is over."""
        now = self._now.wall
        for pause in self.pauses:
            if pause.until is not None and pause.until <= now:
                self._end_pause(pause.scope)

    def _pause_of(self, job: Job) -> Pause | None:
        if not self._pauses:
            return None
        found = (self._pauses.get(scope) for scope in scopes_of(job))
        return next((pause for pause in found if pause is not None), None)

    # ---- Attempts

    def _step(self, run: RunKey, step: Step) -> None:
        """Move a Run on. KeyError for a step that its state doesn't have."""
        live = self._live[run]
        state = TRANSITIONS[live.state, step]
        if state is None:
            self._leave(run)
        else:
            live.state = state

    def _can(self, attempt: AttemptKey, step: Step) -> bool:
        """Whether this is the Attempt that its Run is at, and in a state for this step."""
        live = self._live.get(attempt.run)
        return (
            live is not None and live.number == attempt.number and (live.state, step) in TRANSITIONS
        )

    def start_again(self, attempt: AttemptKey) -> list[Action]:
        """An Attempt that is on record, and of which is known that it was never started."""
        self._out = _Decisions()
        run = attempt.run
        live = self._live[run]
        late = None if live.number > 1 else too_late(live.job, live.planned, self._now.wall)
        if late or live.gone:
            self._withdraw(run, live)
        if live.gone:
            self._give_up_entry_gone(run, live)
        elif late:
            self._give_up(run, Outcome.MISSED, late)
        else:
            self._out.orders.append(Start(attempt, live.job, hold=live.state is State.HELD))
        return self._out.in_order()

    def _resume(self, event: Resumed) -> None:
        """Take up a Run where an earlier daemon has left it."""
        run, number, job = event.attempt.run, event.attempt.number, event.job
        self._ahead.add(run)  # whatever becomes of it before that time is handed out
        live = self._enter(run, job, float(run.fire_time + start_delay(job, self._host)))
        live.redriven = event.redriven
        live.number, live.last = number, max(number, live.last)
        live.gone = event.gone
        live.outcome, live.pid, live.started = event.outcome, event.pid, event.started
        if job.settings.retries:
            self._latest[job.id] = run.fire_time
        if number and event.outcome is None:
            self._admission.take(run, job)
            ahead = event.pid is None and self._is_ahead(run, job)
            live.state = State.HELD if ahead else State.RECORDED
            if ahead:
                self._held[run] = None
            elif event.pid is not None:
                live.state = State.RUNNING
            return
        live.planned = event.retry_at or live.planned
        if event.gone:
            self._give_up_entry_gone(run, live)
        elif not number and self._slept_through(live):
            self._give_up(run, Outcome.MISSED, "the daemon was not running")
        else:
            self._set_timer(live.planned, run)

    def _is_ahead(self, run: RunKey, job: Job) -> bool:
        """Whether the fire time of a Run is still to come.

        What was due before the clock was set back, was due.
        """
        if run.fire_time <= self._now.wall or isinstance(job.schedule, Reboot):
            return False
        return not self._timetable.has_passed(run.fire_time, run.turn)

    def _slept_through(self, live: _Live) -> bool:
        """Whether the time of a start that was put off has come and gone without a daemon."""
        if live.job.settings.catch_up is not CatchUp.NONE:
            return False
        return any(gap.after < live.planned <= gap.until for gap in self._gaps)

    def _started(self, event: Started) -> None:
        attempt = event.attempt
        if not self._can(attempt, Step.STARTED):
            return
        self._held.pop(attempt.run, None)
        self._step(attempt.run, Step.STARTED)
        live = self._live[attempt.run]
        live.pid, live.started = event.pid, event.started
        self._out.records.append(RecordStarted(attempt, event.pid, event.started))
        self._out.logs.append(reports.started(attempt, live.job, event.pid, event.started))

    def _close(self, attempt: AttemptKey, end: _End) -> None:
        """The end of an Attempt: of its Run as well, or the beginning of the wait for a retry."""
        if not self._can(attempt, end.step):
            return
        run = attempt.run
        live = self._live[run]
        if live.state is State.HELD:
            del self._held[run]
        plan = self._plan_retry(attempt, live, end)
        self._admission.release(run)
        self._out.logs.append(
            reports.ended(attempt, live.job, end.outcome, end.ending, live.started, plan.reason)
        )
        if plan.at is not None:
            self._wait_for_retry(attempt, live, end, plan.at)
            return
        self._step(run, end.step)
        self._out.records.append(
            RecordEnded(attempt, end.outcome, end.ending, plan.reason, end.outcome, dead=plan.dead)
        )
        if end.outcome not in (Outcome.SUCCEEDED, Outcome.CANCELLED):
            self._run_hook(run, live, end.outcome, end.ending)

    def _wait_for_retry(self, attempt: AttemptKey, live: _Live, end: _End, at: float) -> None:
        self._step(attempt.run, Step.FAILED)
        live.outcome, live.planned = end.outcome, at
        live.pid = live.started = None
        self._out.records.append(
            RecordEnded(attempt, end.outcome, end.ending, end.reason, None, at)
        )
        self._out.logs.append(reports.retry_planned(attempt, live.job, at - self._now.wall))
        if self.stopping:
            self._leave(attempt.run)  # it waits in the store, for the next daemon
        else:
            self._set_timer(at, attempt.run)

    def _plan_retry(self, attempt: AttemptKey, live: _Live, end: _End) -> _Plan:
        """What comes after an Attempt that has ended so."""
        settings = live.job.settings
        status = end.ending.exit_status if end.ending else None
        if end.outcome in (Outcome.SUCCEEDED, Outcome.CANCELLED) or not settings.retries:
            return _Plan(end.reason)
        if live.number >= live.last or not is_retryable(settings, end.outcome, status):
            return _Plan(end.reason, dead=True)
        if settings.retry_until == "next" and self._is_past(attempt.run):
            return _Plan(end.reason or "the next fire time has come: no retry")
        at = self._now.wall + retry_delay(settings, attempt.run, attempt.number)
        past = past_retrying(settings, attempt.run, at)
        return _Plan(end.reason or past, dead=True) if past else _Plan(end.reason, at)

    def _is_past(self, run: RunKey) -> bool:
        """Whether a later fire time of its Job has come."""
        return self._latest.get(run.job_id, run.fire_time) > run.fire_time

    def _run_hook(self, run: RunKey, live: _Live, outcome: Outcome, ending: Ending | None) -> None:
        """CRON_ON_FAILURE: a Run of its own, of which there can be one only.

        So a dead letter that fails again is not told of again.
        """
        hook = failure_hook(live.job, run, outcome, ending.exit_status if ending else None)
        if hook is None or live.redriven:
            return
        hook_run = RunKey(hook.id, run.fire_time, run.turn)
        self._out.records.append(RecordRun(hook_run, hook))
        if not self.stopping:  # else it waits in the store, for the next daemon
            self._ask(hook_run, self._enter(hook_run, hook, self._now.wall))


def _in_words(pause: Pause) -> str:
    return f"paused by {pause.by}" + (f": {pause.reason}" if pause.reason else "")
