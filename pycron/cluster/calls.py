"""The calls of the database: what the agent asks of it, and what it answers.

Each call is one transaction. The items of `Claims`, `Gates` and `Finishes` are decided one by one,
as if each were alone; there are at most BATCH of them, sorted by their keys. Every call may be
repeated: if its answer is unknown, the agent calls again and believes the second answer.

"Now" is the database's clock. Instants are UTC seconds, durations are seconds. The table of states
and conditions is in the design; the functions themselves are in schema/.

Pure: values only.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from pycron.cluster.values import Claim as Claim
from pycron.cluster.values import Concurrency as Concurrency
from pycron.cluster.values import HostFacts as HostFacts
from pycron.cluster.values import Limits as Limits
from pycron.cluster.values import Publication as Publication
from pycron.cluster.values import QueueJob as QueueJob
from pycron.cluster.values import Refusal as Refusal
from pycron.cluster.values import WorkerFacts as WorkerFacts
from pycron.model.run import Redrive
from pycron.model.shared import RetryTerms as RetryTerms
from pycron.model.shared import SharedKey as SharedKey

OLDEST_CLAIM = 7 * 86_400  # seconds: an older fire time is never claimed
ROWS_ARE_KEPT = 8 * 86_400  # seconds
BATCH = 100  # items of a call at most
EARLY = 1.0  # seconds by which a fire time may be ahead of the database's clock


class CallFailed(Exception):
    """Nobody knows whether the call was carried out. Call again; the message says what happened."""


# ---- calls


@dataclass(frozen=True, slots=True)
class Register:
    """Make the incarnation live, if the name is free. A repeated call finds it live: accepted."""

    host: str
    incarnation: str
    facts: HostFacts


@dataclass(frozen=True, slots=True)
class Renew:
    """Set a new beat where incarnation = mine, and read what the agent has to know.

    The database makes the beat, so a late duplicate of the call writes no old one again.
    `ahead`: waiting rows that will be due within so many seconds are named, too.
    """

    host: str
    incarnation: str
    facts: HostFacts
    ahead: float


@dataclass(frozen=True, slots=True)
class Fence:
    """Clear the incarnation of a host, where its incarnation and its beat are those seen."""

    host: str
    incarnation: str
    beat: str


@dataclass(frozen=True, slots=True)
class Goodbye:
    """Clear the own incarnation, if it holds no row."""

    host: str
    incarnation: str


@dataclass(frozen=True, slots=True)
class Claims:
    """Claims of one host. The answer is ClaimsDecided."""

    host: str
    incarnation: str
    claims: tuple[Claim, ...]


@dataclass(frozen=True, slots=True)
class Gate:
    """Start the next Attempt of a waiting row: where attempt = this one, and it is due.

    A repeated call finds the row held by this incarnation with attempt + 1: held. `queue`: a worker
    has heard of the row in this queue; its limits are in the row. `version`: of the newest QueueJob
    that this host can read.
    """

    key: SharedKey
    attempt: int
    limits: Limits = field(default_factory=Limits)
    queue: str | None = None
    version: int = 0


@dataclass(frozen=True, slots=True)
class Gates:
    """Gates of one host. The answer is ClaimsDecided."""

    host: str
    incarnation: str
    gates: tuple[Gate, ...]


@dataclass(frozen=True, slots=True)
class Finish:
    """An Attempt has ended: where attempt = this one and holder = this incarnation.

    `retry_in`: None if no retry is due; the row is then ended. A row with `stop` is ended, too. A
    repeated call is answered like the first one, as long as the row can tell. `result`: what is
    known of the Attempt, `output`: the end of what it has printed (base64); both for people.
    """

    key: SharedKey
    attempt: int
    incarnation: str
    outcome: str
    reason: str | None
    retry_in: float | None
    result: Mapping[str, object] | None = None
    output: str | None = None


@dataclass(frozen=True, slots=True)
class Finishes:
    """Ended Attempts, of any incarnations. The answer is AllFinished."""

    finishes: tuple[Finish, ...]


@dataclass(frozen=True, slots=True)
class Reap:
    """Held rows whose incarnation is in no row of hosts: lost; waiting or ended. At most `most`."""

    most: int = 200


@dataclass(frozen=True, slots=True)
class Expire:
    """End waiting rows that have expired: missed (attempt 0), or the last outcome.

    `problem`: what keeps this host from publishing, for the reason.
    """

    most: int = 200
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Publish:
    """Note that waiting rows of queues are published now; the agent sends them after the answer."""

    most: int = 100


@dataclass(frozen=True, slots=True)
class Refuse:
    """Note refusals in their rows. The answer is Changed."""

    host: str
    refusals: tuple[Refusal, ...]


@dataclass(frozen=True, slots=True)
class Kill:
    """Somebody wants a Run to end, wherever it is. The answer is Changed: 0 if it has ended."""

    key: SharedKey
    by: str


@dataclass(frozen=True, slots=True)
class Prune:
    """Delete ended rows whose fire time is older than ROWS_ARE_KEPT."""

    most: int = 1000


Call = (
    Register | Renew | Fence | Goodbye | Claims | Gates | Finishes | Reap | Expire | Prune
    | Publish | Refuse | Kill
)  # fmt: skip

# ---- answers


@dataclass(frozen=True, slots=True)
class HostBeat:
    """A row of hosts. `incarnation`: None if the name is free."""

    host: str
    incarnation: str | None
    beat: str
    drained: bool = False


@dataclass(frozen=True, slots=True)
class Registered:
    """`accepted`: this incarnation is live now. `hosts`: all rows, this one included."""

    accepted: bool
    hosts: tuple[HostBeat, ...]


@dataclass(frozen=True, slots=True)
class HeldRow:
    """A row that the calling incarnation holds. `stop`: None, or why the Attempt is to end.

    `queue`: through which a worker has got it. `redrive`: the last one, if there was one.
    """

    key: SharedKey
    attempt: int
    stop: str | None = None
    queue: str | None = None
    redrive: Redrive | None = None


@dataclass(frozen=True, slots=True)
class DueRow:
    """A waiting row. `due_in`: seconds from now; at most 0.0 if it is due."""

    key: SharedKey
    attempt: int
    due_in: float


@dataclass(frozen=True, slots=True)
class Renewed:
    """`live`: False if no row was updated: this incarnation was fenced; the rest is then empty.

    `held`: all rows that this incarnation holds. `due`: the waiting rows that are due first.
    `orphans`, `expired`: whether Reap, or Expire, has something to do. `clock`: the database's.
    `publish_in`: seconds until Publish has something to do; None: not as far as is known. `served`:
    the queues that workers of live hosts serve.
    """

    live: bool
    drained: bool = False
    hosts: tuple[HostBeat, ...] = ()
    held: tuple[HeldRow, ...] = ()
    due: tuple[DueRow, ...] = ()
    orphans: bool = False
    expired: bool = False
    clock: float = 0.0
    publish_in: float | None = None
    served: tuple[str, ...] = ()


class Decision(StrEnum):
    """HELD: the Attempt is this host's. SETTLED: it is not, for good. LATER: nothing was changed.

    With LATER the same question can be asked again (for a claim: there is no row).
    """

    HELD = "held"
    SETTLED = "settled"
    LATER = "later"


@dataclass(frozen=True, slots=True)
class Decided:
    """The answer to a Claim or a Gate.

    `attempt`: of a held row the number of the Attempt to start, else the row's or 0. `holder`: the
    name of the host that holds the row, if one does. `outcome`: of a row that has ended. `reason`:
    a sentence for `pycron why`, without a full stop. `queue` and `spec`: of a held row of a queue.
    `redrive`: the last one of a held row.
    """

    key: SharedKey
    decision: Decision
    attempt: int = 0
    holder: str | None = None
    outcome: str | None = None
    reason: str = ""
    queue: str | None = None
    spec: str | None = None
    redrive: Redrive | None = None

    @property
    def row(self) -> HeldRow:
        """A held row."""
        return HeldRow(self.key, self.attempt, queue=self.queue, redrive=self.redrive)


@dataclass(frozen=True, slots=True)
class ClaimsDecided:
    """One answer for each Claim or Gate, in their order. `publish_in`: as in Renewed."""

    decided: tuple[Decided, ...]
    publish_in: float | None = None


@dataclass(frozen=True, slots=True)
class Finished:
    """`taken`: False if the row says otherwise; `reason` says what ("lost", "attempt 2")."""

    taken: bool
    reason: str = ""


@dataclass(frozen=True, slots=True)
class AllFinished:
    """One answer for each Finish, in their order. `publish_in`: as in Renewed."""

    finished: tuple[Finished, ...]
    publish_in: float | None = None


@dataclass(frozen=True, slots=True)
class Published:
    """What is to be sent now. `publish_in`: as in Renewed."""

    publications: tuple[Publication, ...]
    publish_in: float | None = None


@dataclass(frozen=True, slots=True)
class Changed:
    """How many rows Fence, Goodbye, Reap, Expire, Prune, Refuse or Kill has changed."""

    rows: int


Answer = Registered | Renewed | ClaimsDecided | AllFinished | Published | Changed


class Caller(Protocol):
    """A connection to the database, made when it is first used, and again after a failure."""

    def perform(self, call: Call) -> Answer:
        """The answer of the type that belongs to the call. Raises CallFailed."""

    def close(self) -> None: ...
