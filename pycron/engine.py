"""The engine: the one place where a Run changes its state.

Events go in, actions come out; nothing is read and nothing is done here. The caller performs the
actions in their order, so what is recorded is recorded before it is started.

    state      on             becomes
    (none)     due            RECORDED   written to the store, then handed to the runner
    RECORDED   started        RUNNING    the runner has forked it
    RECORDED   refused        (ended)    it could not be started
    RECORDED   ended          (ended)    it was over before anybody heard that it had started
    RUNNING    ended          (ended)
    either     lost           (ended)    nobody knows how it ended, or whether it began

Rule: everything that affects the state of a Run is in this file.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from pycron.events import Event
from pycron.model import AttemptKey, Ending, Job, Outcome, RunKey, Table, rfc3339
from pycron.policy import outcome_of
from pycron.timetable import Cursor, Timetable
from pycron.zone import Zone


class State(StrEnum):
    RECORDED = "recorded"
    RUNNING = "running"


class Step(StrEnum):
    """What can happen to an Attempt that is alive."""

    STARTED = "started"
    REFUSED = "refused"
    ENDED = "ended"
    LOST = "lost"


# What a state becomes; None is the end. What isn't here can't happen and is refused.
TRANSITIONS: dict[tuple[State, Step], State | None] = {
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
    """An Attempt that an earlier daemon left behind."""

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
    RecordRun | RecordAttempt | RecordStarted | RecordEnded | RecordCursor | RecordBoot
    | RecordRunner
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


# ---- the engine


@dataclass(slots=True)
class _Live:
    """An Attempt that has not ended."""

    job: Job
    state: State = State.RECORDED
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
    """All Jobs, and the Attempts that are alive."""

    zone_of: Callable[[str | None], Zone]
    cursor: Cursor
    stopping: bool = False
    _last: Now | None = None
    _live: dict[AttemptKey, _Live] = field(default_factory=dict)
    _timetable: Timetable = field(init=False)

    def __post_init__(self) -> None:
        self._timetable = Timetable(self.zone_of, self.cursor)

    def handle(self, event: InputEvent, now: Now) -> list[Action]:
        """What is to be done about an event, in order."""
        match event:
            case Tick():
                return self._tick(now)
            case Booted():
                return self._booted(event, now)
            case TableLoaded():
                self._timetable.put(event.table)
            case TableRemoved():
                self._timetable.drop(event.name)
            case ZonesChanged():
                self._timetable.zones_changed()
            case Resumed():
                self._resume(event)
            case Started():
                return self._started(event)
            case Refused():
                return self._refused(event, now)
            case Ended():
                return self._ended(event)
            case Lost():
                return self._lost(event)
            case StopStarting():
                self.stopping = True
        return []

    def next_wakeup(self) -> float | None:
        """The UTC second at which the next fire time comes; None when nothing is due, ever."""
        return None if self.stopping else self._timetable.next_fire_time()

    @property
    def running(self) -> list[RunningAttempt]:
        return [
            RunningAttempt(key, live.job, live.pid, live.started)
            for key, live in self._live.items()
        ]

    @property
    def idle(self) -> bool:
        return not self._live

    def jobs(self) -> list[Job]:
        return list(self._timetable.jobs())

    # ---- time

    def _tick(self, now: Now) -> list[Action]:
        if self.stopping:
            return []
        second = int(now.wall)
        awake = now.steady - self._last.steady if self._last else 0.0
        stepped = self._clock_step(now)
        self._last = now
        due = self._timetable.take_due(second, awake)
        runs = [(RunKey(job.id, fire, turn), job) for fire, turn, job in due]
        return [
            *stepped,
            *self._begin(runs, [RecordCursor(self._timetable.cursor)]),
        ]

    def _clock_step(self, now: Now) -> list[Action]:
        """Say when the clock was set, by more than anybody would call drift."""
        if self._last is None:
            return []
        step = (now.wall - self._last.wall) - (now.steady - self._last.steady)
        if abs(step) < 60:
            return []
        return [Log(Event.CLOCK_STEPPED, {"seconds": round(step)}, bad=True)]

    def _booted(self, event: Booted, now: Now) -> list[Action]:
        jobs = self._timetable.reboot_jobs()
        runs = [(RunKey(job.id, int(now.wall)), job) for job in jobs]
        return self._begin(runs, [RecordBoot(event.boot_id)])

    def _begin(self, runs: list[tuple[RunKey, Job]], also: list[Action]) -> list[Action]:
        """Record all of them, and only then start them."""
        records: list[Action] = []
        starts: list[Action] = []
        for run, job in runs:
            attempt = AttemptKey(run, 1)
            self._live[attempt] = _Live(job)
            records += [RecordRun(run, job), RecordAttempt(attempt)]
            starts.append(Start(attempt, job))
        return [*records, *also, *starts]

    # ---- Attempts

    def _step(self, attempt: AttemptKey, step: Step) -> _Live | None:
        """Move an Attempt on; None for one that is unknown or can't take the step."""
        live = self._live.get(attempt)
        if live is None or (live.state, step) not in TRANSITIONS:
            return None
        state = TRANSITIONS[live.state, step]
        if state is None:
            del self._live[attempt]
        else:
            live.state = state
        return live

    def start_again(self, attempt: AttemptKey) -> list[Action]:
        """For an Attempt that was recorded, and of which the runner has never heard."""
        return [Start(attempt, self._live[attempt].job)]

    def _resume(self, event: Resumed) -> None:
        state = State.RECORDED if event.pid is None else State.RUNNING
        self._live[event.attempt] = _Live(event.job, state, event.pid, event.started)

    def _started(self, event: Started) -> list[Action]:
        live = self._step(event.attempt, Step.STARTED)
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

    def _refused(self, event: Refused, now: Now) -> list[Action]:
        live = self._step(event.attempt, Step.REFUSED)
        if live is None:
            return []
        return self._close(event.attempt, live, Outcome.FAILED, None, event.reason)

    def _ended(self, event: Ended) -> list[Action]:
        live = self._step(event.attempt, Step.ENDED)
        if live is None:
            return []
        outcome = outcome_of(event.ending)
        return self._close(event.attempt, live, outcome, event.ending, event.ending.error)

    def _lost(self, event: Lost) -> list[Action]:
        live = self._step(event.attempt, Step.LOST)
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
