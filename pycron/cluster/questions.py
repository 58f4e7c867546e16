"""The daemon's questions without an answer: asks for new rows, accepted offers, and takes.

A question is asked of the database when its host's turn has come, in batches, and again until its
answer is known. Questions belong to one connection of a daemon; the rows do not: what was held and
could not be told is told to the next daemon.

Pure: it uses no clock.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from pycron.cluster import messages
from pycron.cluster.calls import BATCH, Claim, Decided, Decision, Gate, SharedKey
from pycron.cluster.preference import asks_first
from pycron.protocol.cluster_messages import Terms

SECOND_CHOICE = 1.0  # seconds that a host waits for the one that is to ask first


@dataclass(slots=True)
class _Question:
    """`at`: when it may be asked (seconds of BOOTTIME)."""

    terms: Terms
    at: float


@dataclass(frozen=True, slots=True)
class _Take:
    """A worker has heard of a Run in a queue. `at`: since when (seconds of BOOTTIME)."""

    queue: str
    version: int
    at: float


class Questions:
    """`host`: the name of this host."""

    def __init__(self, host: str) -> None:
        self._host = host
        self._asks: dict[SharedKey, _Question] = {}
        self._gates: dict[tuple[SharedKey, int], _Question] = {}
        self._takes: dict[tuple[SharedKey, int], _Take] = {}
        self._newest: dict[tuple[str, str], int] = {}  # fire times asked for, by owner and name

    def ask(self, key: SharedKey, terms: Terms, now: float, ready: Collection[str]) -> None:
        """A fire time has come. `ready`: the hosts that get Runs."""
        wait = 0.0 if asks_first(key, self._host, ready, terms["hosts"]) else SECOND_CHOICE
        self._asks[key] = _Question(terms, now + wait)
        job = key.owner, key.name
        self._newest[job] = max(key.fire_time, self._newest.get(job, key.fire_time))

    def accept(self, key: SharedKey, attempt: int, terms: Terms, now: float) -> None:
        """The daemon takes up an offer."""
        self._gates[key, attempt] = _Question(terms, now)

    def take(self, key: SharedKey, attempt: int, queue: str, version: int, now: float) -> None:
        """A worker of this host has heard of a Run, and the daemon has room for it."""
        self._takes[key, attempt] = _Take(queue, version, now)

    def forget(self) -> None:
        """The daemon that asked has gone. The next one asks again, also for the newest."""
        self._asks.clear()
        self._gates.clear()
        self._takes.clear()
        self._newest.clear()

    def next_at(self) -> float | None:
        """When the next question may be asked; in the past, if one waits."""
        times = [each.at for each in (*self._asks.values(), *self._gates.values())]
        return min([*times, *(take.at for take in self._takes.values())], default=None)

    def claims(self, now: float, pools: Mapping[str, int]) -> tuple[Claim, ...]:
        """The claims to make now, sorted by key."""
        keys = sorted(key for key, each in self._asks.items() if each.at <= now)[:BATCH]
        return tuple(self._claim(key, pools) for key in keys)

    def gates(self, now: float, pools: Mapping[str, int]) -> tuple[Gate, ...]:
        """The gates to pass now, sorted by key."""
        wanted = {each for each, question in self._gates.items() if question.at <= now}
        first = sorted(wanted | self._takes.keys())[:BATCH]
        return tuple(self._gate(*each, pools) for each in first)

    def is_open(self, key: SharedKey, attempt: int) -> bool:
        """Whether Attempt `attempt` was offered and accepted, and nothing is known yet."""
        return (key, attempt) in self._gates

    def close(self, key: SharedKey, attempt: int) -> bool:
        """The question about a Run after Attempt `attempt` has its answer. Whether it was open."""
        if attempt == 0:
            return self._asks.pop(key, None) is not None
        return self._gates.pop((key, attempt), None) is not None

    def close_take(self, key: SharedKey, attempt: int) -> bool:
        """The same for what a worker has heard of."""
        return self._takes.pop((key, attempt), None) is not None

    def close_held(self, key: SharedKey, attempt: int) -> None:
        """Attempt `attempt` is this host's, so every question about its Run has its answer."""
        self._asks.pop(key, None)
        for questions in (self._gates, self._takes):
            for each in [each for each in questions if each[0] == key and each[1] < attempt]:
                del questions[each]

    def _gate(self, key: SharedKey, attempt: int, pools: Mapping[str, int]) -> Gate:
        take = self._takes.get((key, attempt))
        if take is not None:
            return Gate(key, attempt, queue=take.queue, version=take.version)
        terms = self._gates[key, attempt].terms
        return Gate(key, attempt, messages.limits_of(terms, _pool_limit(terms, pools)))

    def _claim(self, key: SharedKey, pools: Mapping[str, int]) -> Claim:
        terms = self._asks[key].terms
        newer = self._newest[key.owner, key.name] > key.fire_time
        return messages.claim_of(key, terms, _pool_limit(terms, pools), newer=newer)


def unknown_pool(terms: Terms, pools: Mapping[str, int]) -> str | None:
    """The pool of an entry, if the configuration does not have it."""
    pool = terms["pool"]
    return None if pool is None or pool in pools else pool


def not_ours(key: SharedKey) -> Decided:
    """A row was held by an earlier incarnation of this host, which was fenced meanwhile."""
    return Decided(key, Decision.LATER, reason="this host lost its lease")


def _pool_limit(terms: Terms, pools: Mapping[str, int]) -> int | None:
    """A pool that the configuration does not have any more lets nothing through."""
    return None if terms["pool"] is None else pools.get(terms["pool"], 0)
