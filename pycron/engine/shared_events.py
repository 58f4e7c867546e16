"""What the agent of the cluster reports about shared Runs, as values."""

from dataclasses import dataclass

from pycron.model.job import Job
from pycron.model.run import Outcome, Redrive
from pycron.model.shared import Hold, SharedKey


@dataclass(frozen=True, slots=True)
class ClusterReady:
    """Whether the agent can be asked, and what is to be asked can be recorded.

    `again`: this is another connection: all questions are open anew.
    """

    ready: bool
    again: bool = False


@dataclass(frozen=True, slots=True)
class SharedHeld:
    """This host has the Attempt, by the word of the database.

    `ended`: how the Attempt ended, if the history has it. `job`: of a queue, if the database has
    told what it is; `problem`: why what it told is none. `redrive`: the last one of the Run.
    """

    hold: Hold
    ended: Outcome | None = None
    job: Job | None = None
    problem: str | None = None
    redrive: Redrive | None = None


@dataclass(frozen=True, slots=True)
class SharedSettled:
    """This host is not to start the Run: it has its row, or needs none.

    `number`: of the Attempt that was asked for: 0 for a fire time, otherwise the one before.
    """

    shared: SharedKey
    number: int
    reason: str


@dataclass(frozen=True, slots=True)
class SharedLater:
    """Nothing is decided: ask again in a second. `number`: as in SharedSettled."""

    shared: SharedKey
    number: int
    reason: str


@dataclass(frozen=True, slots=True)
class SharedUntaken:
    """This host is not to start a Run that a worker has heard of. `number`: as in WorkWanted."""

    shared: SharedKey
    number: int
    reason: str


@dataclass(frozen=True, slots=True)
class WorkWanted:
    """A worker of this host has heard that the Attempt after Attempt `number` waits in a queue.

    `resume`: it was taken before, and the worker has lost sight of it.
    """

    shared: SharedKey
    number: int
    queue: str
    resume: bool = False


@dataclass(frozen=True, slots=True)
class SharedOffered:
    """The next Attempt of a Run is due, after Attempt `number`, and any host may start it."""

    shared: SharedKey
    number: int


@dataclass(frozen=True, slots=True)
class SharedStopped:
    """An Attempt that this host has is to be cancelled."""

    shared: SharedKey
    number: int
    reason: str


@dataclass(frozen=True, slots=True)
class SharedReported:
    """The database has heard of the end of an Attempt.

    `late`: what its row says instead, if the end came too late.
    """

    shared: SharedKey
    number: int
    incarnation: str
    late: str | None = None


SharedEvent = (
    ClusterReady | SharedHeld | SharedSettled | SharedLater | SharedUntaken | SharedOffered
    | SharedStopped | SharedReported | WorkWanted
)  # fmt: skip
