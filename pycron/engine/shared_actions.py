"""What the engine decides about shared Runs: records, and messages to the agent of the cluster."""

from dataclasses import dataclass

from pycron.model.job import Job
from pycron.model.run import AttemptKey, Outcome, RunKey
from pycron.model.shared import Hold, SharedEnd, SharedKey, Terms


@dataclass(frozen=True, slots=True)
class RecordHold:
    """This host has an Attempt of a shared Run, which is about to start; the Run may be recorded.

    An earlier Attempt of the Run may have run here, and ended.
    """

    hold: Hold
    job: Job


@dataclass(frozen=True, slots=True)
class RecordSharedEnd:
    """An Attempt of a shared Run has ended, and the database is to hear of it."""

    end: SharedEnd


@dataclass(frozen=True, slots=True)
class RecordReported:
    """The database has heard of the end of an Attempt.

    `late`: what its row says instead; None if it took the report.
    """

    shared: SharedKey
    attempt: AttemptKey
    late: str | None = None


@dataclass(frozen=True, slots=True)
class RecordSharedCursor:
    """All fire times of shared Jobs up to this UTC second have their rows."""

    second: int


SharedRecord = RecordHold | RecordSharedEnd | RecordReported | RecordSharedCursor


@dataclass(frozen=True, slots=True)
class Ask:
    """Who has the Run of this fire time? This machine has room for it."""

    shared: SharedKey
    terms: Terms


@dataclass(frozen=True, slots=True)
class Accept:
    """This machine has room for the Attempt after Attempt `number`, which was offered."""

    shared: SharedKey
    number: int
    terms: Terms


@dataclass(frozen=True, slots=True)
class Take:
    """This machine has room for the Attempt after Attempt `number`, which waits in a queue."""

    shared: SharedKey
    number: int
    queue: str


@dataclass(frozen=True, slots=True)
class Finish:
    """An Attempt has ended; the end is recorded."""

    end: SharedEnd


# ---- what the worker is told that has heard of a Run: the one after Attempt `number`


@dataclass(frozen=True, slots=True)
class WorkTaken:
    """This host has the Attempt, and it is recorded."""

    run: RunKey
    number: int


@dataclass(frozen=True, slots=True)
class WorkDone:
    """The Attempt has ended."""

    run: RunKey
    number: int
    outcome: Outcome
    reason: str | None


@dataclass(frozen=True, slots=True)
class WorkRefused:
    """This host does not start it. `again`: only for now."""

    run: RunKey
    number: int
    reason: str
    again: bool = False


WorkAction = WorkTaken | WorkDone | WorkRefused
SharedAction = Ask | Accept | Take | Finish
