"""The rows of the modelled database, and what can be said of one row alone."""

from collections.abc import Iterable
from dataclasses import dataclass
from math import inf

from pycron.cluster import calls
from pycron.cluster.calls import Decided, Decision, Limits, SharedKey

HELD, WAITING, ENDED = "held", "waiting", "ended"


@dataclass(slots=True)
class Row:
    """A row of runs. `changed`: when it ended, if it has."""

    key: SharedKey
    state: str
    attempt: int
    limits: Limits
    retry: calls.RetryTerms
    holder: str | None = None
    host: str | None = None
    stop: str | None = None
    not_before: float = 0.0
    expires: float = inf
    changed: float = 0.0
    queue: str | None = None
    next_publish: float = 0.0
    publications: int = 0
    limited: bool = False
    outcome: str | None = None
    finished_by: str | None = None

    def end_waiting(self, outcome: str, now: float) -> None:
        """It ends as its last Attempt did, or so if it has none."""
        self.state, self.outcome, self.changed = ENDED, self.outcome or outcome, now


@dataclass(slots=True)
class HostRow:
    """A row of hosts. `stamp`: the host's own clock, for a fence that compares clocks."""

    incarnation: str | None
    beat: str
    drained: bool = False
    stamp: float = 0.0


@dataclass(slots=True)
class Plan:
    """The result of a claim or a gate. `refusal`: None if the host may hold the row."""

    refusal: Decided | None
    row: Row | None


def existing(row: Row, incarnation: str) -> Decided:
    """The answer to a host that asks for the Run of a row."""
    if row.state == HELD and row.holder == incarnation:
        spec = None if row.queue is None else "{}"
        return Decided(row.key, Decision.HELD, row.attempt, row.host, queue=row.queue, spec=spec)
    return Decided(row.key, Decision.SETTLED, row.attempt, row.host, row.outcome)


def job_limit(limits: Limits) -> float:
    """How many Attempts of a Job may run at once."""
    if limits.max_running is not None:
        return limits.max_running
    return inf if limits.concurrency is calls.Concurrency.ALLOW else 1


def replace(rows: Iterable[Row], surplus: float, now: float) -> None:
    """The oldest rows that are held and too many are told to stop, and waiting ones end."""
    for row in sorted(rows, key=lambda row: row.key):
        if row.state == WAITING:
            row.end_waiting("skipped", now)
        elif surplus > 0:
            surplus -= 1
            row.stop = row.stop or "replace"
