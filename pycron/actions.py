"""What goes into the engine, and what comes out of it: events and actions.

An event says what has happened, an action what is to be done; both are values. Records are actions
that change what is on disk; a caller performs them before it starts anything.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from pycron.entries import Table
from pycron.events import Event
from pycron.model import AttemptKey, Cause, Ending, Job, Outcome, Pause, Redrive, RunKey
from pycron.timetable import Cursor, Gap


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
    """The daemon has read its tables for the first time since the machine started.

    `turn` tells the boots of one second apart.
    """

    boot_id: str
    turn: int = 0


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
    """A Run that an earlier daemon left behind; Attempt 0 when none was begun.

    `retry_at`: when the next Attempt is due, where the last one has ended as `outcome`, with
    `exit_status`. `gone`: the entry is no longer there, so no Attempt can be begun. `redrive`: the
    last one, of a Run that has been a dead letter. `latest`: the last fire time of its Job that has
    come.
    """

    attempt: AttemptKey
    job: Job
    pid: int | None
    started: float | None
    retry_at: float | None = None
    outcome: Outcome | None = None
    gone: bool = False
    redrive: Redrive | None = None
    latest: int | None = None
    exit_status: int | None = None


@dataclass(frozen=True, slots=True)
class Redriven:
    """An operator puts a dead letter back: one more round of Attempts, after this one."""

    attempt: AttemptKey
    job: Job


@dataclass(frozen=True, slots=True)
class StartedByHand:
    """A user starts a Job now; with `force`, whatever limits and pauses say.

    `turn` makes an identity that no other Run has.
    """

    job: Job
    by: str
    turn: int
    force: bool = False


@dataclass(frozen=True, slots=True)
class CancelledByHand:
    """A user ends a Run: TERM, and KILL after so many seconds; None is the setting of the Job."""

    run: RunKey
    by: str
    kill_after: int | None = None


@dataclass(frozen=True, slots=True)
class PauseBegan:
    pause: Pause


@dataclass(frozen=True, slots=True)
class PauseEnded:
    scope: str


@dataclass(frozen=True, slots=True)
class Pressure:
    """How busy the machine is: its load of the last minute, and its free memory in bytes."""

    load: float
    free_memory: int


@dataclass(frozen=True, slots=True)
class Started:
    attempt: AttemptKey
    pid: int
    started: float


@dataclass(frozen=True, slots=True)
class Refused:
    """The command was not started: it could not be, or it was cancelled before."""

    attempt: AttemptKey
    reason: str
    cause: Cause | None = None


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
    Tick | Booted | TableLoaded | TableRemoved | ZonesChanged | Resumed | Redriven | StartedByHand
    | CancelledByHand | PauseBegan | PauseEnded | Pressure | Started | Refused | Ended | Lost
    | StopStarting
)  # fmt: skip


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

    scope: str


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


Order = Start | Go | Drop | Stop
Action = Record | Order | Log


@dataclass(slots=True)
class Decisions:
    """What an event leads to. `first`: orders on what is on record already."""

    first: list[Order] = field(default_factory=list)
    records: list[Record] = field(default_factory=list)
    orders: list[Order] = field(default_factory=list)
    logs: list[Log] = field(default_factory=list)

    def in_order(self) -> list[Action]:
        return [*self.first, *self.records, *self.orders, *self.logs]
