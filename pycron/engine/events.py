"""What goes into the engine: events, as values."""

from dataclasses import dataclass

from pycron.crontab.table import Table
from pycron.model.job import Job
from pycron.model.pause import Pause, Scope
from pycron.model.run import AttemptKey, Cause, Ending, Outcome, Redrive, RunKey


@dataclass(frozen=True, slots=True)
class Now:
    """The two clocks. `wall`: UTC seconds. `steady`: seconds on a clock that nobody sets."""

    wall: float
    steady: float


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
    scope: Scope


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
