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

Rule: everything that affects the state of a Run is in this file.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from heapq import heappop, heappush
from itertools import count

from pycron.events import Event
from pycron.model import AttemptKey, Ending, Job, Outcome, RunKey, Table, rfc3339
from pycron.policy import outcome_of, start_delay, too_late
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
}


@dataclass(frozen=True, slots=True)
class Now:
    """The two clocks. `wall`: UTC seconds. `steady`: seconds on a clock that nobody sets."""

    wall: float
    steady: float


# ---- events


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed."""


@dataclass(frozen=True, slots=True)
class Booted:
    """The daemon has read its tables for the first time since the machine started."""

    boot_id: str


@dataclass(frozen=True, slots=True)
class TableLoaded:
    table: Table


@dataclass(frozen=True, slots=True)
class TableRemoved:
    name: str


@dataclass(frozen=True, slots=True)
class ZonesChanged:
    """Zone data or the machine's zone are others now."""


@dataclass(frozen=True, slots=True)
class Resumed:
    """A Run that an earlier daemon left behind; Attempt 0 when none was begun."""

    attempt: AttemptKey
    job: Job
    pid: int | None
    started: float | None


@dataclass(frozen=True, slots=True)
class Started:
    attempt: AttemptKey
    pid: int
    started: float


@dataclass(frozen=True, slots=True)
class Refused:
    """The runner could not start the command."""

    attempt: AttemptKey
    reason: str


@dataclass(frozen=True, slots=True)
class Ended:
    attempt: AttemptKey
    ending: Ending


@dataclass(frozen=True, slots=True)
class Lost:
    """Nobody knows how the Attempt ended: the runner died, or the machine."""

    attempt: AttemptKey
    reason: str


@dataclass(frozen=True, slots=True)
class StopStarting:
    """From now on no Run is begun; those that run go on."""


InputEvent = (
    Tick | Booted | TableLoaded | TableRemoved | ZonesChanged | Resumed | Started | Refused
    | Ended | Lost | StopStarting
)  # fmt: skip


# ---- actions


@dataclass(frozen=True, slots=True)
class RecordRun:
    run: RunKey
    job: Job


@dataclass(frozen=True, slots=True)
class RecordAttempt:
    """Written before the Attempt is started."""

    attempt: AttemptKey


@dataclass(frozen=True, slots=True)
class RecordStarted:
    attempt: AttemptKey
    pid: int
    started: float


@dataclass(frozen=True, slots=True)
class RecordEnded:
    """The end of an Attempt and, with `run_outcome`, of its Run."""

    attempt: AttemptKey
    outcome: Outcome
    ending: Ending | None
    reason: str | None
    run_outcome: Outcome | None


@dataclass(frozen=True, slots=True)
class RecordNotStarted:
    """The end of a Run that had no Attempt."""

    run: RunKey
    outcome: Outcome
    reason: str


@dataclass(frozen=True, slots=True)
class RecordCursor:
    cursor: Cursor


@dataclass(frozen=True, slots=True)
class RecordBoot:
    boot_id: str


@dataclass(frozen=True, slots=True)
class RecordRunner:
    """Written before anything is handed to this runner process."""

    instance: str


Record = (
    RecordRun | RecordAttempt | RecordStarted | RecordEnded | RecordNotStarted | RecordCursor
    | RecordBoot | RecordRunner
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Start:
    """Hand the Attempt to the runner."""

    attempt: AttemptKey
    job: Job


@dataclass(frozen=True, slots=True)
class Log:
    event: Event
    fields: Mapping[str, object]
    quiet: bool = False
    bad: bool = False


Action = Record | Start | Log
_Actions = list[Action]


# ---- the engine


@dataclass(slots=True)
class _Live:
    """A Run that has not ended, and the Attempt it is at (0: none yet)."""

    job: Job
    state: State
    number: int = 0
    planned: float = 0.0
    pid: int | None = None
    started: float | None = None


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
                return due
            case TableRemoved():
                due = self._up_to(now)
                self._timetable.drop(event.name)
                return due
            case ZonesChanged():
                due = self._up_to(now)
                self._timetable.zones_changed()
                return due
            case Resumed():
                self._resume(event)
            case Started():
                return self._started(event)
            case Refused():
                return self._refused(event)
            case Ended():
                return self._ended(event)
            case Lost():
                return self._lost(event)
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
        runs = [(RunKey(job.id, int(now.wall)), job) for job in self._timetable.reboot_jobs()]
        records, starts = self._take_up(runs, now)
        return [*records, RecordBoot(event.boot_id), *starts]

    # ---- Runs

    def _take_up(self, due: list[tuple[RunKey, Job]], now: Now) -> tuple[_Actions, _Actions]:
        """Record the Runs that are due; what is to be recorded, and then what to start.

        Those whose start is put off wait; all others begin.
        """
        records: _Actions = []
        starts: _Actions = []
        for run, job in due:
            records.append(RecordRun(run, job))
            planned = run.fire_time + start_delay(job, self.host)
            self._live[run] = _Live(job, State.WAITING, planned=planned)
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
            _, _, run = heappop(self._delayed)
            more_records, more_starts = self._begin(run, now)
            records += more_records
            starts += more_starts
        return records, starts

    def _begin(self, run: RunKey, now: Now) -> tuple[_Actions, _Actions]:
        """The next Attempt of a waiting Run, or its end where it is too late for one."""
        live = self._live[run]
        late = too_late(live.job, live.planned, now.wall)
        if late is not None:
            return self._give_up(run, Outcome.MISSED, late), []
        self._step(run, Step.BEGUN)
        live.number += 1
        attempt = AttemptKey(run, live.number)
        return [RecordAttempt(attempt)], [Start(attempt, live.job)]

    def _give_up(self, run: RunKey, outcome: Outcome, reason: str) -> _Actions:
        """End a Run that waits, without an Attempt."""
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
            RecordNotStarted(run, outcome, reason),
            Log(Event.RUN_NOT_STARTED, fields, bad=True),
        ]

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

    def _resume(self, event: Resumed) -> None:
        run, number = event.attempt.run, event.attempt.number
        if not number:
            planned = run.fire_time + start_delay(event.job, self.host)
            self._live[run] = _Live(event.job, State.WAITING, planned=planned)
            heappush(self._delayed, (planned, next(self._serial), run))
            return
        state = State.RECORDED if event.pid is None else State.RUNNING
        self._live[run] = _Live(event.job, state, number, 0.0, event.pid, event.started)

    def _started(self, event: Started) -> list[Action]:
        live = self._step_attempt(event.attempt, Step.STARTED)
        if live is None:
            return []
        live.pid, live.started = event.pid, event.started
        fields = _fields(event.attempt, live.job) | {
            "pid": event.pid,
            "lateness_ms": lateness_ms(event.attempt.run, event.started),
            "command": live.job.command,
        }
        return [
            RecordStarted(event.attempt, event.pid, event.started),
            Log(Event.ATTEMPT_STARTED, fields, quiet="q" in live.job.flags),
        ]

    def _refused(self, event: Refused) -> list[Action]:
        live = self._step_attempt(event.attempt, Step.REFUSED)
        if live is None:
            return []
        return self._close(event.attempt, live, Outcome.FAILED, None, event.reason)

    def _ended(self, event: Ended) -> list[Action]:
        live = self._step_attempt(event.attempt, Step.ENDED)
        if live is None:
            return []
        outcome = outcome_of(event.ending)
        return self._close(event.attempt, live, outcome, event.ending, event.ending.error)

    def _lost(self, event: Lost) -> list[Action]:
        live = self._step_attempt(event.attempt, Step.LOST)
        if live is None:
            return []
        return self._close(event.attempt, live, Outcome.LOST, None, event.reason)

    def _close(
        self,
        attempt: AttemptKey,
        live: _Live,
        outcome: Outcome,
        ending: Ending | None,
        reason: str | None,
    ) -> list[Action]:
        fields = _fields(attempt, live.job) | {"outcome": outcome.value}
        if ending is not None:
            fields |= {
                "exit_status": ending.exit_status,
                "signal": ending.signal,
                "cpu_seconds": round(ending.cpu_seconds, 3),
            }
            if live.started is not None:
                fields["duration"] = round(ending.ended - live.started, 3)
        if reason is not None:
            fields["reason"] = reason
        event = Event.ATTEMPT_LOST if outcome is Outcome.LOST else Event.ATTEMPT_ENDED
        bad = outcome is not Outcome.SUCCEEDED
        return [
            RecordEnded(attempt, outcome, ending, reason, run_outcome=outcome),
            Log(event, fields, quiet="q" in live.job.flags and not bad, bad=bad),
        ]


def lateness_ms(run: RunKey, started: float) -> int:
    """How long after its fire time a Run's command was started, in milliseconds."""
    return round((started - run.fire_time) * 1000)


def _fields(attempt: AttemptKey, job: Job) -> dict[str, object]:
    return {
        "job": job.name,
        "run_id": str(attempt.run),
        "attempt": attempt.number,
        "user": job.user,
        "fire_time": rfc3339(attempt.run.fire_time),
    }
