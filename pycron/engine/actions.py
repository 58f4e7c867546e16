"""The output of the engine: actions, as values.

A record is an action that changes what is on disk. The daemon performs the actions of one turn by
phase, in the order of `Decisions`; so everything is recorded before it is started.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from pycron.engine.cursor import Cursor, Gap
from pycron.engine.log_events import Event
from pycron.engine.refusals import RefusedRange
from pycron.engine.shared_actions import SharedAction, SharedRecord, WorkAction
from pycron.model.job import Job
from pycron.model.pause import Pause, Scope
from pycron.model.run import AttemptKey, Ending, Outcome, Redrive, RunKey

# ---- records


@dataclass(frozen=True, slots=True)
class RecordRun:
    """A Run has come to be; `by` is the user who started it by hand.

    `planned`: the UTC second at which it starts, if that does not follow from its fire time.
    """

    run: RunKey
    job: Job
    by: str | None = None
    planned: float | None = None


@dataclass(frozen=True, slots=True)
class RecordAttempt:
    """An Attempt is about to be handed to the runner."""

    attempt: AttemptKey


@dataclass(frozen=True, slots=True)
class RecordStarted:
    """The runner has started the Attempt at this UTC second."""

    attempt: AttemptKey
    pid: int
    started: float


@dataclass(frozen=True, slots=True)
class RecordEnded:
    """An Attempt has ended; with `run_outcome`, its Run has ended, too.

    Without `run_outcome`, the next Attempt of the Run is due at `retry_at`. `dead`: the Run has
    used up its retries.
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
    """The Attempt was not started and will not be: its record is removed."""

    attempt: AttemptKey


@dataclass(frozen=True, slots=True)
class RecordNotStarted:
    """The Run has ended without an Attempt, or without a further one."""

    run: RunKey
    outcome: Outcome
    reason: str
    dead: bool = False


@dataclass(frozen=True, slots=True)
class RecordDiscarded:
    """The Run is not needed: its record is removed."""

    run: RunKey


@dataclass(frozen=True, slots=True)
class RecordFailing:
    """The Job has turned from success to failure, or back."""

    job_id: str
    failing: bool


@dataclass(frozen=True, slots=True)
class RecordRevived:
    """A dead letter was redriven; its next Attempt is due at once."""

    run: RunKey
    redrive: Redrive


@dataclass(frozen=True, slots=True)
class RecordTakenUp:
    """A skipped Run of an @after Job waits again, because a Run that it waits for was redriven."""

    run: RunKey


@dataclass(frozen=True, slots=True)
class RecordCursor:
    """How far the timetable has come."""

    cursor: Cursor


@dataclass(frozen=True, slots=True)
class RecordGap:
    """Fire times that have no Run, and why."""

    gap: Gap
    reason: str


@dataclass(frozen=True, slots=True)
class RecordRefused:
    """Fire times of a user that have no Run. It replaces a record with the same beginning."""

    refused: RefusedRange


@dataclass(frozen=True, slots=True)
class RecordPause:
    """A pause holds from now on; it replaces a pause of the same scope."""

    pause: Pause


@dataclass(frozen=True, slots=True)
class RecordResume:
    """The pause of this scope is over."""

    scope: Scope


@dataclass(frozen=True, slots=True)
class RecordBoot:
    """The @reboot Jobs of this boot are recorded."""

    boot_id: str
    second: int
    pass_number: int


@dataclass(frozen=True, slots=True)
class RecordRunner:
    """Attempts will be handed to this runner process from now on."""

    instance: str


Record = (
    RecordRun | RecordAttempt | RecordStarted | RecordEnded | RecordWithdrawn | RecordNotStarted
    | RecordDiscarded | RecordFailing | RecordRevived | RecordTakenUp | RecordCursor | RecordGap
    | RecordRefused | RecordPause | RecordResume | RecordBoot | RecordRunner | SharedRecord
)  # fmt: skip


# ---- actions for the runner


@dataclass(frozen=True, slots=True)
class Start:
    """Hand an Attempt to the runner; with `hold`, the runner waits for Release or Withdraw.

    `incarnation`: of a shared Run: the Attempt may run only while the lease is that incarnation's.
    """

    attempt: AttemptKey
    job: Job
    hold: bool = False
    incarnation: str | None = None


@dataclass(frozen=True, slots=True)
class Release:
    """The runner starts all Attempts that it holds for fire times up to this UTC second.

    That second has come, or comes in a moment; the runner waits for it.
    """

    until: int


@dataclass(frozen=True, slots=True)
class Withdraw:
    """The runner is not to start an Attempt that it holds."""

    attempt: AttemptKey


@dataclass(frozen=True, slots=True)
class Stop:
    """End an Attempt: TERM to all its processes, and KILL `kill_after` seconds later."""

    attempt: AttemptKey
    reason: str
    kill_after: int


RunnerAction = Start | Release | Withdraw | Stop


# ---- entries of the log


class EntryLine(NamedTuple):
    """The entry that defines a Job: the name of its table, and the line, from 1."""

    table: str
    line: int


@dataclass(frozen=True, slots=True)
class Log:
    """One event of the log. `quiet`: do not write it; `bad`: write it as a warning.

    `entry`: that of the Job which the event is about; only the journal shows it.
    """

    event: Event
    fields: Mapping[str, object]
    quiet: bool = False
    bad: bool = False
    entry: EntryLine | None = None


@dataclass(frozen=True, slots=True)
class Printed:
    """Lines that a command has printed, for the log; the last one is without its newline.

    `stream`: stdout or stderr. `partial`: this is a piece of a long line, and is not the last one.
    """

    job: str
    run_id: str
    stream: str
    lines: bytes
    partial: bool = False


LogEntry = Log | Printed
Action = Record | RunnerAction | SharedAction | WorkAction | LogEntry


@dataclass(slots=True)
class Decisions:
    """The actions that events lead to, by phase; the daemon performs the phases in this order.

    `released`: the runner holds these Attempts already, so nothing has to be written first. Then
    `records` are written, in one transaction. Then the runner gets `actions` and the agent of the
    cluster gets `questions`, workers get `works`, then `logs` are written.
    """

    released: list[Release] = field(default_factory=list)
    records: list[Record] = field(default_factory=list)
    actions: list[RunnerAction] = field(default_factory=list)
    logs: list[LogEntry] = field(default_factory=list)
    questions: list[SharedAction] = field(default_factory=list)
    works: list[WorkAction] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(
            self.released or self.records or self.actions or self.questions or self.works
            or self.logs
        )  # fmt: skip

    def __iter__(self) -> Iterator[Action]:
        """All actions, in the order in which they are to be performed."""
        yield from self.released
        yield from self.records
        yield from self.actions
        yield from self.questions
        yield from self.works
        yield from self.logs

    def add(self, later: "Decisions") -> None:
        """Add what a later event of the same turn leads to.

        An Attempt that this turn hands to the runner, to be held, can be released only after that.
        """
        holds = bool(later.released) and any(
            isinstance(action, Start) and action.hold for action in self.actions
        )
        self.records += later.records
        self.actions += later.actions
        self.questions += later.questions
        self.works += later.works
        self.logs += later.logs
        if holds:
            self.actions += later.released
        else:
            self.released += later.released
