"""Shared Runs as values: the Runs of shared Jobs, of which one host has each.

The database of the cluster decides about them. The words are those of design and manual: a host
*holds* a Run while its row names the host's incarnation.
"""

from dataclasses import dataclass
from typing import NamedTuple

from pycron.model.run import AttemptKey, Outcome, RunKey


class SharedKey(NamedTuple):
    """The identity of a shared Run in its cluster: the same on all hosts. Batches sort by it."""

    owner: str
    name: str
    fire_time: int


@dataclass(frozen=True, slots=True)
class Hold:
    """What the database has said: this host has an Attempt, under this incarnation.

    `queue`: through which a worker has got it. `spec`: its Job as a text (crontab/queue_specs.py);
    None if the host has not been told.
    """

    shared: SharedKey
    attempt: AttemptKey
    incarnation: str
    queue: str | None = None
    spec: str | None = None

    @property
    def run(self) -> RunKey:
        return self.attempt.run


@dataclass(frozen=True, slots=True)
class SharedEnd:
    """The end of an Attempt that this host had, as the database is to hear of it.

    `retry_at`: the UTC second at which the next Attempt is due; None: there is none.
    """

    hold: Hold
    outcome: Outcome
    reason: str | None = None
    retry_at: float | None = None


@dataclass(frozen=True, slots=True)
class RetryTerms:
    """The retry settings of an entry, for the row. Durations are seconds.

    `most`: further Attempts after the first. `lost`: whether a lost Attempt is retried. The delay
    after Attempt n is min(delay * backoff**(n-1), delay_max), and up to `jitter` times that longer.
    `until`: no retry starts from this UTC second on; None: there is no such second.
    """

    most: int = 0
    lost: bool = True
    delay: float = 30.0
    backoff: float = 2.0
    delay_max: float = 900.0
    jitter: float = 0.5
    until: float | None = None


@dataclass(frozen=True, slots=True)
class Terms:
    """What the database has to know of an entry to decide about one of its Runs.

    `window`: how many seconds after the fire time the first Attempt may start; with `catch_up`,
    also later. `after`: the names of the Jobs of the same owner that have to succeed first.
    `group`: whose hosts may have the Run; None: all. `table` and `line`: where the entry stands.
    `queue`: in which the Run waits for a worker; `spec`: its Job as a text.
    """

    concurrency: str
    max_running: int | None
    pool: str | None
    window: float
    catch_up: bool
    after: tuple[str, ...]
    group: str | None
    retry: RetryTerms
    table: str = ""
    line: int = 0
    queue: str | None = None
    spec: str | None = None
