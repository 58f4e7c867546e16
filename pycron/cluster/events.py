"""What the coordinator hears (events), and what it wants done (actions). Pure: values only."""

from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

from pycron.cluster.calls import Answer, Call, Publication
from pycron.protocol.cluster_messages import (
    ClusterAgentMessage,
    ClusterDaemonMessage,
    DaemonHello,
)
from pycron.system.lease_file import Lease


class Now(NamedTuple):
    """Both clocks of this host: seconds of CLOCK_BOOTTIME, and UTC seconds."""

    boot: float
    wall: float


class Lane(Enum):
    """A connection to the database with a thread of its own; it performs one call at a time.

    So a claim that waits for a lock never delays a renewal.
    """

    RENEW = "renew"
    CLAIM = "claim"
    FINISH = "finish"


# ---- events


@dataclass(frozen=True, slots=True)
class Connected:
    """A daemon has said hello."""

    hello: DaemonHello


@dataclass(frozen=True, slots=True)
class Disconnected:
    """The connection to the daemon has ended."""


@dataclass(frozen=True, slots=True)
class Said:
    """A further message of the daemon, checked."""

    message: ClusterDaemonMessage


@dataclass(frozen=True, slots=True)
class Answered:
    """The call of this lane has this answer."""

    lane: Lane
    answer: Answer


@dataclass(frozen=True, slots=True)
class Failed:
    """Nobody knows whether the call of this lane was carried out."""

    lane: Lane
    reason: str


@dataclass(frozen=True, slots=True)
class Written:
    """The lease file says this now; or, with a `problem`, it could not be written."""

    lease: Lease
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class BrokerSaid:
    """Whether messages can be sent to the broker: what is in the way, in words; None: nothing."""

    problem: str | None


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed."""


Event = Connected | Disconnected | Said | Answered | Failed | Written | BrokerSaid | Tick

# ---- actions, to be carried out in their order


@dataclass(frozen=True, slots=True)
class Perform:
    """Perform a call in this lane, which is idle. The answer is an event."""

    lane: Lane
    call: Call


@dataclass(frozen=True, slots=True)
class Tell:
    """Send a message to the daemon, if one is connected."""

    message: ClusterAgentMessage


@dataclass(frozen=True, slots=True)
class Write:
    """Write the lease file, before anything else is done. Written is the next event."""

    lease: Lease


@dataclass(frozen=True, slots=True)
class Send:
    """Send messages to the broker. What cannot be sent is dropped: it will be published again."""

    publications: tuple[Publication, ...]


@dataclass(frozen=True, slots=True)
class Exit:
    """The agent is not needed any more."""

    reason: str


Action = Perform | Tell | Write | Send | Exit
