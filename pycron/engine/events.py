"""The input of the engine: events, as values. An event says what has happened."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from pycron.crontab.table import Table
from pycron.engine.delivery_rules import DeliveryRules
from pycron.engine.limits import Limits, Pressure, PressureLimits
from pycron.engine.shared_events import SharedEvent
from pycron.model.job import Job
from pycron.model.pause import Pause, Scope
from pycron.model.run import AttemptKey, Cause, Ending, Outcome, Redrive, RunKey


@dataclass(frozen=True, slots=True)
class Now:
    """The two clocks. `wall`: UTC seconds. `steady`: seconds of a clock that is never set."""

    wall: float
    steady: float


# ---- time, tables, machine


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed."""


@dataclass(frozen=True, slots=True)
class Booted:
    """The daemon has read its tables for the first time since the machine started.

    `pass_number` distinguishes several boots within one second. `jobs_have_run`: another cron has
    run the @reboot Jobs of this boot.
    """

    boot_id: str
    pass_number: int = 0
    jobs_have_run: bool = False


@dataclass(frozen=True, slots=True)
class TableLoaded:
    """A table is new or has changed."""

    table: Table


@dataclass(frozen=True, slots=True)
class TableRemoved:
    """The table of this name is gone."""

    name: str


@dataclass(frozen=True, slots=True)
class ZonesChanged:
    """The zone data, or the machine's zone, has changed."""


@dataclass(frozen=True, slots=True)
class ConfigChanged:
    """The configuration was read again; the tables, which depend on it, are loaded after this.

    `pressure`: how busy the machine is; None if no limit of `gates` asks for that.
    """

    limits: Limits
    gates: PressureLimits
    deliveries: DeliveryRules
    pressure: Pressure | None = None


@dataclass(frozen=True, slots=True)
class MailTransport:
    """Whether mail can be sent: the reason why not, or None."""

    no_mail: str | None


@dataclass(frozen=True, slots=True)
class StopStarting:
    """The daemon stops: no Run starts from now on; running commands go on.

    `delivers`: mails, notifications and pings that are due in a moment still start.
    """

    delivers: bool = False


# ---- what an earlier daemon left


@dataclass(frozen=True, slots=True)
class Resumed:
    """A Run that an earlier daemon left unfinished; Attempt 0 if none was recorded.

    If the last Attempt has ended, `outcome`, `exit_status` and `printed` (bytes) say how. The next
    one is due at `retry_at`. `gone`: the entry was removed, so no further Attempt starts.
    `redrive`: the last redrive, if the Run was a dead letter. `latest`: the last fire time of its
    Job that has come. `awaited`: by id, how the Runs ended that the Run of an @after Job waits for.
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
    printed: int = 0
    awaited: Mapping[str, Outcome] = field(default_factory=dict)


# ---- what users and operators want


@dataclass(frozen=True, slots=True)
class SkippedFollower:
    """A Run of an @after Job that was skipped because of another Run.

    `ended`: by id, how the Runs of the Jobs that it waits for have ended, as far as they have.
    """

    run: RunKey
    job: Job
    ended: Mapping[str, Outcome]


@dataclass(frozen=True, slots=True)
class Redriven:
    """An operator redrives a dead letter: one more round of Attempts, after this one.

    `followers`: the Runs that were skipped because of it, each behind those that it waits for.
    """

    attempt: AttemptKey
    job: Job
    followers: tuple[SkippedFollower, ...] = ()


@dataclass(frozen=True, slots=True)
class StartedByHand:
    """A user starts a Job now; with `force`, regardless of limits and pauses.

    `pass_number` makes an identity that no other Run has.
    """

    job: Job
    by: str
    pass_number: int
    force: bool = False


@dataclass(frozen=True, slots=True)
class RunOnce:
    """A Run is to begin now, whatever its fire time, its delay and the timetable say."""

    run: RunKey
    job: Job


@dataclass(frozen=True, slots=True)
class CancelledByHand:
    """A user ends a Run: TERM, then KILL after `kill_after` seconds (None: the Job's setting)."""

    run: RunKey
    by: str
    kill_after: int | None = None


@dataclass(frozen=True, slots=True)
class PauseBegan:
    """A user pauses a scope."""

    pause: Pause


@dataclass(frozen=True, slots=True)
class PauseEnded:
    """A user resumes a scope."""

    scope: Scope


# ---- what the runner reports


@dataclass(frozen=True, slots=True)
class RunnerMet:
    """The daemon is connected to this runner process; Attempts are handed to it from now on."""

    instance: str


@dataclass(frozen=True, slots=True)
class NeverStarted:
    """An Attempt is recorded, and the runner is known never to have started it."""

    attempt: AttemptKey


@dataclass(frozen=True, slots=True)
class Started:
    """The runner has started the Attempt at this UTC second."""

    attempt: AttemptKey
    pid: int
    started: float


@dataclass(frozen=True, slots=True)
class Refused:
    """The command was not started: it could not be, or it was cancelled before.

    `final`: a retry would be refused, too.
    """

    attempt: AttemptKey
    reason: str
    cause: Cause | None = None
    final: bool = False


@dataclass(frozen=True, slots=True)
class Ended:
    """The Attempt has ended."""

    attempt: AttemptKey
    ending: Ending


@dataclass(frozen=True, slots=True)
class Lost:
    """Nobody knows how the Attempt ended: the runner died, or the machine."""

    attempt: AttemptKey
    reason: str


_Event = (
    Tick | Booted | TableLoaded | TableRemoved | ZonesChanged | Pressure | ConfigChanged
    | MailTransport | StopStarting | Resumed | Redriven | StartedByHand | RunOnce | CancelledByHand
    | PauseBegan | PauseEnded | RunnerMet | NeverStarted | Started | Refused | Ended | Lost
)  # fmt: skip
InputEvent = _Event | SharedEvent
