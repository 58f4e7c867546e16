"""The values that calls of the database are made of; calls.py has all of their names, too.

Instants are UTC seconds, durations are seconds. Pure: values only.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from pycron.model.shared import RetryTerms, SharedKey


class Concurrency(StrEnum):
    """What a claim does while an earlier Run of its Job is held or waiting."""

    ALLOW = "allow"
    FORBID = "forbid"
    REPLACE = "replace"
    QUEUE = "queue"


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
class QueueJob:
    """What is put into the row of a queue Job, for the host of the worker that will take it.

    `spec`: the Job as a text, in a form of this `version`; the database looks at neither.
    `pycron`: the version of pycron that has written it.
    """

    queue: str
    version: int
    pycron: str
    spec: str


@dataclass(frozen=True, slots=True)
class Claim:
    """A question for one fire time.

    `window`: how late the first Attempt may start, unless `catch_up`. `after`: names of Jobs of the
    same owner whose Runs of the same fire time have to succeed first. `newer`: a later fire time of
    the same Job has come, as this host knows: if this one cannot be held now, it is skipped.
    `queued`: the Run waits for a worker, instead of being held. `entry`: its table and line, for
    people.
    """

    key: SharedKey
    limits: Limits = field(default_factory=Limits)
    window: float = 300.0
    catch_up: bool = False
    after: tuple[str, ...] = ()
    newer: bool = False
    retry: RetryTerms = field(default_factory=RetryTerms)
    queued: QueueJob | None = None
    entry: tuple[str, int] | None = None


class Publication(NamedTuple):
    """A message that is to be sent to a queue: the Attempt after Attempt `attempt` waits there."""

    owner: str
    name: str
    fire_time: int
    attempt: int
    queue: str


@dataclass(frozen=True, slots=True)
class WorkerFacts:
    """A worker of a host: the queues that it serves, and how many Runs it takes at once."""

    queues: tuple[str, ...]
    version: str
    slots: int


@dataclass(frozen=True, slots=True)
class HostFacts:
    """What a host says of itself, for `pycron cluster status`. `clock`: its UTC seconds.

    `broker`: what keeps its agent from publishing, in words.
    """

    version: str
    tzdata: str
    tables: str
    clock: float
    workers: tuple[WorkerFacts, ...] = ()
    broker: str | None = None


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a worker of this host does not take a waiting row, for people."""

    key: SharedKey
    attempt: int
    reason: str
