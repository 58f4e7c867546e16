"""Recorded Runs: records for reading, and the filter that selects them.

Instants are UTC seconds, sizes are bytes.
"""

from collections.abc import Collection
from dataclasses import dataclass

from pycron.model.delivery import Delivery
from pycron.model.job import Job
from pycron.model.run import AttemptKey, Outcome, Redrive, RunKey


@dataclass(frozen=True, slots=True)
class AttemptRecord:
    """One Attempt of a Run; a field is None while its value is not known yet.

    `memory_peak` is in bytes. `output_bytes` were printed, `output_kept` of them are stored.
    """

    number: int
    pid: int | None = None
    started: float | None = None
    ended: float | None = None
    outcome: Outcome | None = None
    exit_status: int | None = None
    signal: int | None = None
    cpu_seconds: float | None = None
    memory_peak: int | None = None
    output_bytes: int | None = None
    output_kept: int | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class RunRecord:
    """One Run with its Attempts, oldest first, and what its entry said when it was last due.

    `number` orders the Runs as they were recorded; a page of a list continues from it. `dead`: the
    Run is a dead letter. `retry_at`: when the next Attempt is due. `started_by`: the user who
    started the Run by hand. `delivery`: what the Run tells about another Run.
    """

    number: int
    key: RunKey
    job: str
    table: str
    line: int
    user: str
    schedule: str
    zone: str | None
    command: str
    outcome: Outcome | None
    reason: str | None
    dead: bool
    retry_at: float | None
    started_by: str | None
    delivery: Delivery | None = None
    attempts: tuple[AttemptRecord, ...] = ()

    @property
    def run_id(self) -> str:
        return str(self.key)

    def attempt(self, number: int) -> AttemptRecord | None:
        """The Attempt of this number, if it is recorded."""
        return next((each for each in self.attempts if each.number == number), None)

    @property
    def about(self) -> RunKey | None:
        """For a delivery: the Run that it tells about."""
        return None if self.delivery is None else self.key._replace(job_id=self.delivery.job_id)


@dataclass(frozen=True, slots=True)
class LastRun:
    """One of the last Runs of a Job; the other fields are those of its last Attempt."""

    key: RunKey
    outcome: Outcome | None
    started: float | None
    ended: float | None
    exit_status: int | None
    signal: int | None


@dataclass(frozen=True, slots=True)
class RunFilter:
    """Which Runs to list, newest first, at most `limit`; None means any.

    `job` is a name or an id; the Jobs of `job_ids` are meant, too: those that have the name now,
    and were recorded with another one. `since` (inclusive) and `until` (exclusive) limit the fire
    time. `before`: continue a list after the Run of this number.
    """

    limit: int
    job: str | None = None
    user: str | None = None
    outcomes: Collection[Outcome] | None = None
    since: float | None = None
    until: float | None = None
    before: int | None = None
    dead: bool | None = None
    delivery: bool | None = None
    job_ids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RunSample:
    """What statistics need of a Run that has ended.

    `started`: its first Attempt. `duration`: seconds of its last Attempt. None: it had none.
    """

    fire_time: int
    pass_number: int
    outcome: Outcome
    started: float | None
    duration: float | None


@dataclass(frozen=True, slots=True)
class JobSample:
    """A recorded Job and its newest Runs that have ended, the oldest first.

    `number` orders the recorded Jobs: a list continues from it.
    """

    number: int
    id: str
    name: str
    table: str
    line: int
    user: str
    runs: tuple[RunSample, ...]


@dataclass(frozen=True, slots=True)
class SampleFilter:
    """Of which Runs statistics are made: the newest `limit` of each Job; None means any.

    `job` is an id. `since` (inclusive) and `until` (exclusive) limit the fire time.
    """

    limit: int
    job: str | None = None
    user: str | None = None
    since: int | None = None
    until: int | None = None


@dataclass(frozen=True, slots=True)
class UnfinishedRun:
    """A Run that has not ended, as an earlier daemon left it in the store.

    `attempt` is its last Attempt (number 0: none was recorded). If that Attempt has ended,
    `outcome`, `exit_status` and `printed` (bytes) say how, and `retry_at` is when the next one is
    due. `job` has only what was recorded of it. `redrive`: the last redrive, if the Run was a dead
    letter. `latest`: the last fire time of its Job that has come.
    """

    attempt: AttemptKey
    job: Job
    pid: int | None
    started: float | None
    outcome: Outcome | None
    retry_at: float | None
    redrive: Redrive | None
    latest: int | None
    exit_status: int | None
    printed: int = 0


@dataclass(frozen=True, slots=True)
class RefusedFilter:
    """Which ranges of fire times without a Run are wanted: those of a user, or of a time.

    `since` (inclusive) and `until` (exclusive): UTC seconds.
    """

    limit: int
    user: str | None = None
    since: int | None = None
    until: int | None = None
