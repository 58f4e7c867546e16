"""Objects within the messages between pycrond and the agent; cluster_messages.py has the messages.

Instants are UTC seconds, durations are seconds.
"""

from typing import Annotated, NotRequired, TypedDict

LONGEST_SPEC = 2**21  # characters
LONGEST_OUTPUT = 2**17  # characters of base64

Spec = Annotated[str, LONGEST_SPEC]
Output = Annotated[str, LONGEST_OUTPUT]


class SharedRun(TypedDict):
    """The identity of a shared Run in its cluster."""

    owner: str
    name: str
    fire_time: int


class RedrivePart(TypedDict):
    """A Run was put back at a UTC second, after its Attempt `number`."""

    number: int
    at: float


class RetryPart(TypedDict):
    """The retry setting of the entry, for the row (pycron.cluster.calls.RetryTerms).

    `most`: further Attempts after the first. `lost`: whether a lost Attempt is retried. `until`: no
    retry from this UTC second on; None: as long as the row is kept.
    """

    most: int
    lost: bool
    delay: float
    backoff: float
    delay_max: float
    jitter: float
    until: float | None


class QueuePart(TypedDict):
    """That a Run waits in this queue for a worker, and what that needs (cluster.calls.QueueJob)."""

    queue: str
    version: int
    pycron: str
    spec: Spec


class EntryPart(TypedDict):
    """Where the entry stands, for people."""

    table: str
    line: int


class Terms(TypedDict):
    """What the database has to know of an entry, to decide about a Run.

    `concurrency`: one of CONCURRENCY. `max_running`: None: no limit. `pool`: a cluster pool
    (`[cluster.pools]`), or None; a local pool is the daemon's business. `window`: how late the
    first Attempt may start, unless `catch_up`. `after`: names of Jobs of the same owner, whose Runs
    of the same fire time have to succeed first. `hosts`: the names of the hosts of the entry's
    group; None: all hosts.
    """

    concurrency: str
    max_running: int | None
    pool: str | None
    window: float
    catch_up: bool
    after: list[str]
    hosts: list[str] | None
    retry: RetryPart
    queued: NotRequired[QueuePart]
    entry: NotRequired[EntryPart]


class WorkerPart(TypedDict):
    """A worker of this host (pycron.cluster.calls.WorkerFacts)."""

    queues: list[str]
    version: str
    slots: int


class ResultPart(TypedDict):
    """What is known of an Attempt that has ended; see control_answers.AttemptRow.

    `started` and `ended`: UTC seconds. `output_begin`: the first byte of its output that is sent.
    """

    started: float | None
    ended: float | None
    exit_status: int | None
    signal: int | None
    cpu_seconds: float | None
    memory_peak_bytes: int | None
    output_bytes: int | None
    output_begin: int
