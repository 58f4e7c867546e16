"""What the engine decides about shared Runs: records, and messages to the agent of the cluster."""

from dataclasses import dataclass

from pycron.model.job import Job
from pycron.model.run import AttemptKey
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
class Finish:
    """An Attempt has ended; the end is recorded."""

    end: SharedEnd


SharedAction = Ask | Accept | Finish
