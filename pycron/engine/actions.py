"""What goes into the engine, and what comes out of it: events and actions.

An event says what has happened, an action what is to be done; both are values. Records are actions
that change what is on disk; a caller performs them before it starts anything.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from pycron.engine.cursor import Cursor, Gap
from pycron.engine.log_events import Event
from pycron.model.job import Job
from pycron.model.pause import Pause, Scope
from pycron.model.run import AttemptKey, Ending, Outcome, Redrive, RunKey

# ---- events


# ---- actions


@dataclass(frozen=True, slots=True)
class RecordRun:
    """A Run has come to be; `by` is the user who has started it by hand."""

    run: RunKey
    job: Job
    by: str | None = None


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
    """The end of an Attempt and, with `run_outcome`, of its Run.

    Without, the Run goes on with another Attempt at `retry_at`. `dead`: its retries are used up.
    """

    attempt: AttemptKey
    outcome: Outcome
    ending: Ending | None
    reason: str | None
    run_outcome: Outcome | None
    retry_at: float | None = None
    dead: bool = False


@dataclass(frozen=True, slots=True)
class RecordWithdrawn:
    """The Attempt was not started and will not be: as if it had never been recorded."""

    attempt: AttemptKey


@dataclass(frozen=True, slots=True)
class RecordNotStarted:
    """The end of a Run of which no Attempt, or no further one, is started."""

    run: RunKey
    outcome: Outcome
    reason: str
    dead: bool = False


@dataclass(frozen=True, slots=True)
class RecordRevived:
    """A dead letter is a living Run again, whose next Attempt is due at once."""

    run: RunKey
    redrive: Redrive


@dataclass(frozen=True, slots=True)
class RecordCursor:
    cursor: Cursor


@dataclass(frozen=True, slots=True)
class RecordGap:
    """Fire times that have no Run, and why."""

    gap: Gap
    reason: str


@dataclass(frozen=True, slots=True)
class RecordPause:
    """A pause holds from now on; one of the same scope is replaced."""

    pause: Pause


@dataclass(frozen=True, slots=True)
class RecordResume:
    """The pause of this scope is over."""

    scope: Scope


@dataclass(frozen=True, slots=True)
class RecordBoot:
    boot_id: str
    second: int
    turn: int


@dataclass(frozen=True, slots=True)
class RecordRunner:
    """Written before anything is handed to this runner process."""

    instance: str


Record = (
    RecordRun | RecordAttempt | RecordStarted | RecordEnded | RecordWithdrawn | RecordNotStarted
    | RecordRevived | RecordCursor | RecordGap | RecordPause | RecordResume | RecordBoot
    | RecordRunner
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Start:
    """Hand the Attempt to the runner; with `hold`, it is to wait there for Go or Drop."""

    attempt: AttemptKey
    job: Job
    hold: bool = False


@dataclass(frozen=True, slots=True)
class Go:
    """What the runner holds until this UTC second may begin then; it has come, or is about to."""

    until: int


@dataclass(frozen=True, slots=True)
class Drop:
    """The runner is not to start an Attempt that it holds."""

    attempt: AttemptKey


@dataclass(frozen=True, slots=True)
class Stop:
    """End an Attempt: TERM to all its processes, KILL `kill_after` seconds later."""

    attempt: AttemptKey
    reason: str
    kill_after: int


@dataclass(frozen=True, slots=True)
class Log:
    event: Event
    fields: Mapping[str, object]
    quiet: bool = False
    bad: bool = False


RunnerAction = Start | Go | Drop | Stop
Action = Record | RunnerAction | Log


@dataclass(slots=True)
class Decisions:
    """What an event leads to. `first`: orders on what is on record already."""

    first: list[RunnerAction] = field(default_factory=list)
    records: list[Record] = field(default_factory=list)
    orders: list[RunnerAction] = field(default_factory=list)
    logs: list[Log] = field(default_factory=list)

    def in_order(self) -> list[Action]:
        return [*self.first, *self.records, *self.orders, *self.logs]
