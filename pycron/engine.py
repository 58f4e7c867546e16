"""The engine: the one place where a Run changes its state.

Events go in, actions come out; nothing is read and nothing is done here. The caller performs the
actions in their order, so what is recorded is recorded before it is started.

    state      on             becomes
    (none)     due            WAITING    its Run is written to the store; the start is put off
    (none)     due            RECORDED   Run and Attempt are written, then handed to the runner
    WAITING    begun          RECORDED   the time of its start has come
    WAITING    given up       (ended)    it has: but too late, or the Job is gone
    RECORDED   started        RUNNING    the runner has forked it
    RECORDED   refused        (ended)    it could not be started
    RECORDED   ended          (ended)    it was over before anybody heard that it had started
    RUNNING    ended          (ended)
    either     lost           (ended)    nobody knows how it ended, or whether it began
    either     failed         WAITING    it did, in any of these ways, and is tried again later

Rule: everything that affects the state of a Run is in this file.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from heapq import heappop, heappush
from itertools import count

from pycron.actions import (
    Action,
    Booted,
    Ended,
    InputEvent,
    Log,
    Lost,
    Now,
    RecordAttempt,
    RecordBoot,
    RecordCursor,
    RecordEnded,
    RecordNotStarted,
    RecordRevived,
    RecordRun,
    RecordStarted,
    Redriven,
    Refused,
    Resumed,
    Start,
    Started,
    StopStarting,
    TableLoaded,
    TableRemoved,
    Tick,
    ZonesChanged,
)
from pycron.events import Event
from pycron.model import AttemptKey, Ending, Job, Outcome, RunKey, rfc3339
from pycron.policy import (
    is_retryable,
    outcome_of,
    past_retrying,
    retry_delay,
    start_delay,
    too_late,
)
from pycron.timetable import Cursor, Gap, Timetable
from pycron.zone import Zone


class State(StrEnum):
    WAITING = "waiting"
    RECORDED = "recorded"
    RUNNING = "running"


class Step(StrEnum):
    """What can happen to a Run that is alive."""

    BEGUN = "begun"
    GIVEN_UP = "given up"
    STARTED = "started"
    REFUSED = "refused"
    ENDED = "ended"
    LOST = "lost"
    FAILED = "failed"


# What a state becomes; None is the end. What isn't here can't happen and is refused.
TRANSITIONS: dict[tuple[State, Step], State | None] = {
    (State.WAITING, Step.BEGUN): State.RECORDED,
    (State.WAITING, Step.GIVEN_UP): None,
    (State.RECORDED, Step.STARTED): State.RUNNING,
    (State.RECORDED, Step.REFUSED): None,
    (State.RECORDED, Step.ENDED): None,
    (State.RECORDED, Step.LOST): None,
    (State.RUNNING, Step.ENDED): None,
    (State.RUNNING, Step.LOST): None,
    (State.RECORDED, Step.FAILED): State.WAITING,
    (State.RUNNING, Step.FAILED): State.WAITING,
}


_Actions = list[Action]


@dataclass(slots=True)
class _Live:
    """A Run that has not ended, and the Attempt it is at (0: none yet).

    `planned`: when the Attempt that it waits for is to start. `last`: its last Attempt, after which
    no retry comes. `outcome`: how the Attempt before ended.
    """

    job: Job
    state: State
    number: int = 0
    planned: float = 0.0
    last: int = 0
    outcome: Outcome | None = None
    pid: int | None = None
    started: float | None = None


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


@dataclass(frozen=True, slots=True)
class RunningAttempt:
    """What an operator may see of an Attempt that has not ended."""

    attempt: AttemptKey
    job: Job
    pid: int | None
    started: float | None


@dataclass(slots=True)
class Engine:
    """All Jobs, and the Runs that are alive.

    `cursor` and `gaps`: where the timetable begins and what was passed over before it; `host`: what
    the delays of CRON_JITTER depend on, beside the Job.
    """

    zone_of: Callable[[str | None], Zone]
    cursor: Cursor
    gaps: Iterable[Gap] = ()
    host: str = ""
    stopping: bool = False
    _seen: Now | None = None
    _live: dict[RunKey, _Live] = field(default_factory=dict)
    _delayed: list[tuple[float, int, RunKey]] = field(default_factory=list)
    _latest: dict[str, RunKey] = field(default_factory=dict)
    _serial: Iterator[int] = field(default_factory=count)
    _timetable: Timetable = field(init=False)

    def __post_init__(self) -> None:
        self._timetable = Timetable(self.zone_of, self.cursor, self.gaps)

    def handle(self, event: InputEvent, now: Now) -> list[Action]:
        """What is to be done about an event, in order."""
        actions = self._handle(event, now)
        if self._seen or isinstance(event, Tick):
            self._seen = now
        return actions

    def _handle(self, event: InputEvent, now: Now) -> list[Action]:
        match event:
            case Tick():
                return self._tick(now)
            case Booted():
                return self._booted(event, now)
            case TableLoaded():
                due = self._up_to(now)
                self._timetable.put(event.table)
                return due + self._follow_table(event.table.source.name, event.table.jobs)
            case TableRemoved():
                due = self._up_to(now)
                self._timetable.drop(event.name)
                return due + self._follow_table(event.name, ())
            case ZonesChanged():
                due = self._up_to(now)
                self._timetable.zones_changed()
                return due
            case Resumed():
                return self._resume(event)
            case Redriven():
                return self._redrive(event, now)
            case Started():
                return self._started(event)
            case Refused():
                return self._refused(event, now)
            case Ended():
                return self._ended(event, now)
            case Lost():
                return self._lost(event, now)
            case StopStarting():
                return self._stop_starting()
        return []

    def next_wakeup(self) -> float | None:
        """The UTC second at which the next start is due; None when there is none, ever."""
        if self.stopping:
            return None
        times = [self._timetable.next_fire_time(), self._delayed[0][0] if self._delayed else None]
        return min((time for time in times if time is not None), default=None)

    @property
    def next_fire_time(self) -> int | None:
        return self._timetable.next_fire_time()

    @property
    def running(self) -> list[RunningAttempt]:
        """The Attempts that have begun and not ended."""
        return [
            RunningAttempt(AttemptKey(run, live.number), live.job, live.pid, live.started)
            for run, live in self._live.items()
            if live.state is not State.WAITING
        ]

    @property
    def waiting(self) -> int:
        """How many Runs are due, but not begun."""
        return sum(1 for live in self._live.values() if live.state is State.WAITING)

    @property
    def idle(self) -> bool:
        return not self._live

    def jobs(self) -> list[Job]:
        return list(self._timetable.jobs())

    # ---- time

    def _tick(self, now: Now) -> list[Action]:
        if self.stopping:
            return []
        awake = now.steady - self._seen.steady if self._seen else 0.0
        if awake < 0:  # a faked clock takes the steady one along: then nothing is known
            awake = math.inf
        stepped = self._clock_step(now)
        due = [
            (RunKey(job.id, fire, turn), job)
            for fire, turn, job in self._timetable.take_due(now.wall, awake)
        ]
        records, starts = self._take_up(due, now)
        records += [RecordCursor(self._timetable.cursor)]
        more_records, more_starts = self._begin_delayed(now)
        return [*stepped, *records, *more_records, *starts, *more_starts]

    def _up_to(self, now: Now) -> list[Action]:
        """What was due before a change of tables or zones, so that the new begins with now.

        Before the first tick there is nothing yet: the tables are what it is to look at.
        """
        return self._tick(now) if self._seen else []

    def _clock_step(self, now: Now) -> list[Action]:
        """Say when the clock was set, by more than anybody would call drift."""
        if self._seen is None:
            return []
        step = (now.wall - self._seen.wall) - (now.steady - self._seen.steady)
        if abs(step) < 60:
            return []
        return [Log(Event.CLOCK_STEPPED, {"seconds": round(step)}, bad=True)]

    def _booted(self, event: Booted, now: Now) -> list[Action]:
        if self.stopping:
            return []
        second = int(now.wall)
        runs = [(RunKey(job.id, second, event.turn), job) for job in self._timetable.reboot_jobs()]
        records, starts = self._take_up(runs, now)
        return [*records, RecordBoot(event.boot_id, second, event.turn), *starts]

    # ---- Runs

    def _take_up(self, due: list[tuple[RunKey, Job]], now: Now) -> tuple[_Actions, _Actions]:
        """Record the Runs that are due; what is to be recorded, and then what to start.

        Those whose start is put off wait; all others begin.
        """
        records: _Actions = []
        starts: _Actions = []
        for run, job in due:
            records += self._supersede(job)
            records.append(RecordRun(run, job))
            planned = run.fire_time + start_delay(job, self.host)
            last = 1 + job.settings.retries
            self._live[run] = _Live(job, State.WAITING, planned=planned, last=last)
            if job.settings.retries:
                self._latest[job.id] = run
            if planned > now.wall:
                heappush(self._delayed, (planned, next(self._serial), run))
                continue
            more_records, more_starts = self._begin(run, now)
            records += more_records
            starts += more_starts
        return records, starts

    def _begin_delayed(self, now: Now) -> tuple[_Actions, _Actions]:
        """Begin the Runs whose time to wait is over."""
        records: _Actions = []
        starts: _Actions = []
        while self._delayed and self._delayed[0][0] <= now.wall:
            planned, _, run = heappop(self._delayed)
            live = self._live.get(run)
            if live is None or live.state is not State.WAITING or live.planned != planned:
                continue  # it was given up, or put off once more
            more_records, more_starts = self._begin(run, now)
            records += more_records
            starts += more_starts
        return records, starts

    def _begin(self, run: RunKey, now: Now) -> tuple[_Actions, _Actions]:
        """The next Attempt of a waiting Run, or its end where it is too late for one."""
        live = self._live[run]
        late = too_late(live.job, live.planned, now.wall) if not live.number else None
        if late is not None:
            return self._give_up(run, Outcome.MISSED, late), []
        self._step(run, Step.BEGUN)
        live.number += 1
        attempt = AttemptKey(run, live.number)
        return [RecordAttempt(attempt)], [Start(attempt, live.job)]

    def _give_up(
        self, run: RunKey, outcome: Outcome, reason: str, *, dead: bool = False
    ) -> _Actions:
        """End a Run that waits, without a further Attempt."""
        live = self._live[run]
        self._step(run, Step.GIVEN_UP)
        fields = {
            "job": live.job.name,
            "run_id": str(run),
            "user": live.job.user,
            "fire_time": rfc3339(run.fire_time),
            "outcome": outcome.value,
            "reason": reason,
        }
        return [
            RecordNotStarted(run, outcome, reason, dead),
            Log(Event.RUN_GIVEN_UP, fields, bad=True),
        ]

    def _supersede(self, job: Job) -> _Actions:
        """A new fire time of a Job: the retry of an earlier one need not wait any more."""
        earlier = self._latest.get(job.id)
        live = self._live.get(earlier) if earlier else None
        if earlier is None or live is None or live.state is not State.WAITING or not live.number:
            return []
        if job.settings.retry_until != "next":
            return []
        assert live.outcome
        reason = "the next fire time came before the retry"
        return self._give_up(earlier, live.outcome, reason)

    def _follow_table(self, name: str, jobs: Iterable[Job]) -> _Actions:
        """Runs that wait belong to entries: to what those say now, or to nothing any more."""
        waiting = [
            (run, live)
            for run, live in self._live.items()
            if live.state is State.WAITING and live.job.source.name == name
        ]
        if not waiting:
            return []
        current = {job.id: job for job in jobs}
        actions: _Actions = []
        for run, live in waiting:
            if live.job.id in current:
                live.job = current[live.job.id]
            else:
                actions += self._give_up_entry_gone(run, live)
        return actions

    def _give_up_entry_gone(self, run: RunKey, live: _Live) -> _Actions:
        outcome = live.outcome or Outcome.CANCELLED
        return self._give_up(run, outcome, "its entry is gone", dead=live.outcome is not None)

    def _stop_starting(self) -> list[Action]:
        """Runs that wait go on waiting in the store, for the next daemon."""
        self.stopping = True
        self._delayed.clear()
        for run in [run for run, live in self._live.items() if live.state is State.WAITING]:
            del self._live[run]
        return []

    # ---- Attempts

    def _step(self, run: RunKey, step: Step) -> _Live | None:
        """Move a Run on; None for one that is unknown or can't take the step."""
        live = self._live.get(run)
        if live is None or (live.state, step) not in TRANSITIONS:
            return None
        state = TRANSITIONS[live.state, step]
        if state is None:
            del self._live[run]
        else:
            live.state = state
        return live

    def _step_attempt(self, attempt: AttemptKey, step: Step) -> _Live | None:
        """The same for an event of an Attempt, which has to be the one that the Run is at."""
        live = self._live.get(attempt.run)
        if live is None or live.number != attempt.number:
            return None
        return self._step(attempt.run, step)

    def start_again(self, attempt: AttemptKey) -> list[Action]:
        """For an Attempt that was recorded, and of which the runner has never heard."""
        return [Start(attempt, self._live[attempt.run].job)]

    def _resume(self, event: Resumed) -> list[Action]:
        run, number, job = event.attempt.run, event.attempt.number, event.job
        live = self._live[run] = _Live(
            job,
            State.RECORDED if event.pid is None else State.RUNNING,
            number,
            last=max(number, 1 + job.settings.retries),
            outcome=event.outcome,
            pid=event.pid,
            started=event.started,
        )
        if job.settings.retries:
            self._latest[job.id] = run
        if number and event.outcome is None:
            return []
        live.state = State.WAITING
        live.planned = event.retry_at or run.fire_time + start_delay(job, self.host)
        if event.gone:
            return self._give_up_entry_gone(run, live)
        heappush(self._delayed, (live.planned, next(self._serial), run))
        return []

    def _redrive(self, event: Redriven, now: Now) -> list[Action]:
        """A dead letter begins anew, at once, with as many retries as it had."""
        run, number = event.attempt.run, event.attempt.number
        if run in self._live or self.stopping:
            return []
        self._live[run] = _Live(
            event.job, State.WAITING, number, now.wall, number + 1 + event.job.settings.retries
        )
        records, starts = self._begin(run, now)
        return [RecordRevived(run), *records, *starts]

    def _started(self, event: Started) -> list[Action]:
        live = self._step_attempt(event.attempt, Step.STARTED)
        if live is None:
            return []
        live.pid, live.started = event.pid, event.started
        fields = _fields(
            event.attempt,
            live.job,
            command=live.job.command,
            lateness_ms=lateness_ms(event.attempt.run, event.started),
            pid=event.pid,
        )
        return [
            RecordStarted(event.attempt, event.pid, event.started),
            Log(Event.ATTEMPT_STARTED, fields, quiet="q" in live.job.flags),
        ]

    def _refused(self, event: Refused, now: Now) -> list[Action]:
        end = _End(Step.REFUSED, Outcome.FAILED, None, event.reason)
        return self._close(event.attempt, end, now)

    def _ended(self, event: Ended, now: Now) -> list[Action]:
        ending = event.ending
        end = _End(Step.ENDED, outcome_of(ending), ending, ending.reason)
        return self._close(event.attempt, end, now)

    def _lost(self, event: Lost, now: Now) -> list[Action]:
        return self._close(event.attempt, _End(Step.LOST, Outcome.LOST, None, event.reason), now)

    def _close(self, attempt: AttemptKey, end: _End, now: Now) -> list[Action]:
        """The end of an Attempt: of its Run as well, or the beginning of the wait for a retry."""
        live = self._live.get(attempt.run)
        if (
            live is None
            or live.number != attempt.number
            or (live.state, end.step) not in (TRANSITIONS)
        ):
            return []
        plan = self._plan_retry(attempt, live, end, now)
        log = self._ended_log(attempt, live, end, plan.reason)
        if plan.at is None:
            self._step(attempt.run, end.step)
            record = RecordEnded(
                attempt, end.outcome, end.ending, plan.reason, end.outcome, dead=plan.dead
            )
            return [record, log]
        self._step(attempt.run, Step.FAILED)
        live.outcome, live.planned = end.outcome, plan.at
        live.pid = live.started = None
        heappush(self._delayed, (plan.at, next(self._serial), attempt.run))
        if self.stopping:
            del self._live[attempt.run]  # it waits in the store, for the next daemon
        fields = _fields(attempt, live.job, seconds=round(plan.at - now.wall, 1))
        return [
            RecordEnded(attempt, end.outcome, end.ending, plan.reason, None, plan.at),
            log,
            Log(Event.RETRY_PLANNED, fields, quiet="q" in live.job.flags),
        ]

    def _plan_retry(self, attempt: AttemptKey, live: _Live, end: _End, now: Now) -> _Plan:
        """What comes after an Attempt that has ended so."""
        settings = live.job.settings
        status = end.ending.exit_status if end.ending else None
        if end.outcome is Outcome.SUCCEEDED or not settings.retries:
            return _Plan(end.reason)
        if live.number >= live.last or not is_retryable(settings, end.outcome, status):
            return _Plan(end.reason, dead=True)
        latest = self._latest.get(live.job.id, attempt.run)
        if settings.retry_until == "next" and latest != attempt.run:
            return _Plan(end.reason or "the next fire time has come: no retry")
        at = now.wall + retry_delay(settings, attempt.run, attempt.number)
        past = past_retrying(settings, attempt.run, at)
        return _Plan(end.reason or past, dead=True) if past else _Plan(end.reason, at)

    def _ended_log(self, attempt: AttemptKey, live: _Live, end: _End, reason: str | None) -> Log:
        outcome, ending = end.outcome, end.ending
        what: dict[str, object] = {"outcome": outcome.value}
        if ending is not None:
            what |= {"exit_status": ending.exit_status, "signal": ending.signal}
            if live.started is not None:
                what["duration"] = round(ending.ended - live.started, 3)
            what["cpu_seconds"] = round(ending.cpu_seconds, 3)
        if reason is not None:
            what["reason"] = reason
        fields = _fields(attempt, live.job, **what)
        event = Event.ATTEMPT_LOST if outcome is Outcome.LOST else Event.ATTEMPT_ENDED
        bad = outcome is not Outcome.SUCCEEDED
        return Log(event, fields, quiet="q" in live.job.flags and not bad, bad=bad)


def lateness_ms(run: RunKey, started: float) -> int:
    """How long after its fire time a Run's command was started, in milliseconds."""
    return round((started - run.fire_time) * 1000)


def _fields(attempt: AttemptKey, job: Job, **what: object) -> dict[str, object]:
    """The keys of an event of an Attempt: what happened first, on which Run last."""
    return {
        "job": job.name,
        **what,
        "run_id": str(attempt.run),
        "attempt": attempt.number,
        "user": job.user,
        "fire_time": rfc3339(attempt.run.fire_time),
    }
