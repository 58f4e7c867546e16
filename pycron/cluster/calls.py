"""The calls of the database: what the agent asks of it, and what it answers.

Each call is one transaction. The items of `Claims`, `Gates` and `Finishes` are decided one by one,
as if each were alone; there are at most BATCH of them, sorted by their keys. Every call may be
repeated: if its answer is unknown, the agent calls again and believes the second answer.

"Now" is the database's clock. Instants are UTC seconds, durations are seconds. The table of states
and conditions is in the design; the functions themselves are in schema/.

Pure: values only.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple, Protocol

OLDEST_CLAIM = 7 * 86_400  # seconds: an older fire time is never claimed
ROWS_ARE_KEPT = 8 * 86_400  # seconds
BATCH = 100  # items of a call at most
EARLY = 1.0  # seconds by which a fire time may be ahead of the database's clock


class CallFailed(Exception):
    """Nobody knows whether the call was carried out. Call again; the message says what happened."""


class SharedKey(NamedTuple):
    """The identity of a shared Run in its cluster. Calls with several keys sort them."""

    owner: str
    name: str
    fire_time: int


class Concurrency(StrEnum):
    """What a claim does while an earlier Run of its Job is held or waiting."""

    ALLOW = "allow"
    FORBID = "forbid"
    REPLACE = "replace"
    QUEUE = "queue"


@dataclass(frozen=True, slots=True)
class RetryTerms:
    """The claimant's retry setting, which is copied into the row.

    `most`: further Attempts after the first. `lost`: whether a lost Attempt is retried. The delay
    after Attempt n is min(delay * backoff**(n-1), delay_max), and up to `jitter` times that longer.
    `until`: no retry from this UTC second on; None: as long as the row is kept.
    """

    most: int = 0
    lost: bool = True
    delay: float = 30.0
    backoff: float = 2.0
    delay_max: float = 900.0
    jitter: float = 0.5
    until: float | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """What is counted under the locks of the Job and of its pool before an Attempt is held.

    `pool_limit`: of the calling host's configuration; None without a pool.
    """

    concurrency: Concurrency = Concurrency.ALLOW
    max_running: int | None = None
    pool: str | None = None
    pool_limit: int | None = None


@dataclass(frozen=True, slots=True)
class Claim:
    """A question for one fire time.

    `window`: how late the first Attempt may start, unless `catch_up`. `after`: names of Jobs of the
    same owner whose Runs of the same fire time have to succeed first. `newer`: a later fire time of
    the same Job has come, as this host knows: if this one cannot be held now, it is skipped.
    """

    key: SharedKey
    limits: Limits = field(default_factory=Limits)
    window: float = 300.0
    catch_up: bool = False
    after: tuple[str, ...] = ()
    newer: bool = False
    retry: RetryTerms = field(default_factory=RetryTerms)


class Publication(NamedTuple):
    """A message that is to be sent to a queue: the Attempt after Attempt `attempt` waits there."""

    owner: str
    name: str
    fire_time: int
    attempt: int
    queue: str


# ---- calls


@dataclass(frozen=True, slots=True)
class HostFacts:
    """What a host says of itself, for `pycron cluster status`. `clock`: its UTC seconds."""

    version: str
    tzdata: str
    tables: str
    clock: float


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

    A repeated call finds the row held by this incarnation with attempt + 1: held.
    """

    key: SharedKey
    attempt: int
    limits: Limits


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
    repeated call is answered like the first one, as long as the row can tell.
    """

    key: SharedKey
    attempt: int
    incarnation: str
    outcome: str
    reason: str | None
    retry_in: float | None


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
    """End waiting rows that have expired: missed (attempt 0), or the last outcome."""

    most: int = 200


@dataclass(frozen=True, slots=True)
class Prune:
    """Delete ended rows whose fire time is older than ROWS_ARE_KEPT."""

    most: int = 1000


Call = Register | Renew | Fence | Goodbye | Claims | Gates | Finishes | Reap | Expire | Prune

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
    """A row that the calling incarnation holds. `stop`: None, or why the Attempt is to end."""

    key: SharedKey
    attempt: int
    stop: str | None = None


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
    """

    live: bool
    drained: bool = False
    hosts: tuple[HostBeat, ...] = ()
    held: tuple[HeldRow, ...] = ()
    due: tuple[DueRow, ...] = ()
    orphans: bool = False
    expired: bool = False
    clock: float = 0.0


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
    a sentence for `pycron why`, without a full stop.
    """

    key: SharedKey
    decision: Decision
    attempt: int = 0
    holder: str | None = None
    outcome: str | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class ClaimsDecided:
    """One answer for each Claim or Gate, in their order."""

    decided: tuple[Decided, ...]


@dataclass(frozen=True, slots=True)
class Finished:
    """`taken`: False if the row says otherwise; `reason` says what ("lost", "attempt 2")."""

    taken: bool
    reason: str = ""


@dataclass(frozen=True, slots=True)
class AllFinished:
    """One answer for each Finish, in their order."""

    finished: tuple[Finished, ...]


@dataclass(frozen=True, slots=True)
class Changed:
    """How many rows Fence, Goodbye, Reap, Expire or Prune has changed."""

    rows: int


Answer = Registered | Renewed | ClaimsDecided | AllFinished | Changed


class Caller(Protocol):
    """A connection to the database, made when it is first used, and again after a failure."""

    def perform(self, call: Call) -> Answer:
        """The answer of the type that belongs to the call. Raises CallFailed."""

    def close(self) -> None: ...
