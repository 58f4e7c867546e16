"""What the agent of the cluster reports about shared Runs, as values."""

from dataclasses import dataclass

from pycron.model.run import Outcome
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

    `ended`: how the Attempt ended, if the history has it.
    """

    hold: Hold
    ended: Outcome | None = None


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
    ClusterReady | SharedHeld | SharedSettled | SharedLater | SharedOffered | SharedStopped
    | SharedReported
)  # fmt: skip
