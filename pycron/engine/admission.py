"""Admission: which waiting Run may start next, within the limits.

A waiting Run is admitted when every limit that applies to it has room: the limits of its Job, its
pool, its user and the limit for all Runs. An eighth of the limits that users share is kept for
users who have nothing running. When a limit is reached, users take turns. Of one user's Runs, the
highest priority goes first, then the one that was due first. A priority passes the Runs of other
users only as far as the configuration allows it (the priority of a system table does always).
"""

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import count
from typing import TypeVar

from pycron.engine.delivery_jobs import DELIVERY_POOLS
from pycron.engine.lapsing_heap import LapsingHeap
from pycron.engine.limits import (
    NO_PRESSURE_LIMITS,
    Limits,
    Pressure,
    PressureLimits,
    kept_in_words,
    others_have_none,
    pressure_reason,
    reserved,
)
from pycron.engine.pool_queue import Item, PoolQueue, Rank
from pycron.engine.start_rate import StartRate, UserRates
from pycron.model.job import Job
from pycron.model.run import RunKey
from pycron.model.settings import job_limit

_RECHECK_CLOSED = 1.0  # seconds
_NOBODY: Counter[str] = Counter()
_Key = TypeVar("_Key")


@dataclass(slots=True)
class _Waiting:
    """A waiting Run. `serial`: of its item in the queue of its pool.

    None: the limit of its Job keeps the Run out of the pool's queue. An item with another serial
    number was left behind when the Run was withdrawn.
    """

    job: Job
    due: float
    serial: int | None = None


class Admission:
    """The Runs that are admitted, and the queue of those that wait.

    `closed`: why no Run is admitted at present, because of the load or the free memory. `running`:
    how many Runs are admitted, without messages. `users`: those who have Jobs.
    """

    def __init__(self, limits: Limits, gates: PressureLimits = NO_PRESSURE_LIMITS) -> None:
        self.closed: str | None = None
        self.running = 0
        self._admitted: dict[RunKey, Job] = {}
        self._admitted_by_user: Counter[str] = Counter()
        self._admitted_by_pool: Counter[str | None] = Counter()
        self._messages: Counter[tuple[str | None, str]] = Counter()  # admitted, by pool and user
        self._waiting: dict[RunKey, _Waiting] = {}
        # The keys say whether they are messages: the queue of those may be as long again.
        self._waiting_by_kind: Counter[bool] = Counter()
        self._waiting_by_user: Counter[tuple[str, bool]] = Counter()
        self._waiting_by_pool: Counter[str | None] = Counter()
        self._pool_queues: dict[str | None, PoolQueue] = {}
        self._held_back: dict[str, LapsingHeap[Item]] = {}  # by Job id: by the limit of the Job
        self._counted_by_job: Counter[str] = Counter()  # admitted, or in the queue of a pool
        self._last_turn: Counter[str] = Counter()  # by user
        self._serial = count(1)
        self._rate = StartRate(limits.starts_per_second)
        self._user_rates = UserRates(limits.user_starts_per_second)
        self.users: frozenset[str] = frozenset()
        self._users_of_pools: Mapping[str | None, frozenset[str]] = {}
        self._users_in_pool: dict[str | None, Counter[str]] = {}  # admitted, by pool
        self._pool_rates: dict[str, StartRate] = {}
        self.configure(limits, gates, None)

    def configure(self, limits: Limits, gates: PressureLimits, pressure: Pressure | None) -> None:
        """Other limits from now on; a lowered limit is met when enough Runs have ended.

        What is admitted stays so, and what waits goes on waiting. `pressure`: None if nothing
        depends on it.
        """
        self.limits, self._gates = limits, gates
        self.look_at_pressure(pressure)
        self._rate.change(limits.starts_per_second)
        self._user_rates.change(limits.user_starts_per_second)
        rates = self._pool_rates
        self._pool_rates = {
            pool: rates.get(pool) or StartRate(rate) for pool, rate in limits.pool_rates.items()
        }
        for pool, rate in limits.pool_rates.items():
            self._pool_rates[pool].change(rate)

    def look_at_pressure(self, pressure: Pressure | None) -> None:
        """Whether the load and the free memory allow that a Run starts. None: they do."""
        self.closed = None if pressure is None else pressure_reason(self._gates, pressure)

    def know_users(self, of_pools: Mapping[str | None, frozenset[str]]) -> None:
        """The users who have Jobs, by the pool of these Jobs."""
        self._users_of_pools = of_pools
        self.users = frozenset().union(*of_pools.values())

    @property
    def waiting(self) -> int:
        """How many Runs wait in the queue, without messages."""
        return self._waiting_by_kind[False]

    def pools(self) -> dict[str, tuple[int, int]]:
        """By pool: how many of its Runs are admitted, and its limit."""
        return {
            pool: (self._admitted_by_pool[pool], most) for pool, most in self.limits.pools.items()
        }

    def is_waiting(self, run: RunKey) -> bool:
        return run in self._waiting

    def is_admitted(self, run: RunKey) -> bool:
        return run in self._admitted

    # ---- the life of a Run here

    def enqueue(self, run: RunKey, job: Job, due: float) -> None:
        """Let a Run wait in the queue. `due`: the UTC second since when it should be running."""
        self._waiting[run] = _Waiting(job, due)
        self._waiting_by_kind[job.is_message] += 1
        self._waiting_by_user[job.user, job.is_message] += 1
        self._waiting_by_pool[job.settings.pool] += 1
        if self._job_has_room(job):
            self._enter_pool_queue(run)
        else:
            held_back = self._held_back.setdefault(job.id, LapsingHeap(self._is_held_back))
            held_back.push((0, due, next(self._serial), run))

    def withdraw(self, run: RunKey) -> None:
        """Remove a Run from the queue, if it waits there."""
        waiting = self._waiting.get(run)
        if waiting is None:
            return
        self._take(run)
        if waiting.serial is not None:
            self._leave_job(waiting.job)

    def admit_next(self, steady: float) -> RunKey | None:
        """Admit the next waiting Run; None if no Run may start now.

        `steady`: seconds of a clock that cannot be set.
        """
        if not self._waiting or self.closed:
            return None
        if self._is_full() and not self._waiting_by_kind[True]:  # as most times in a flood
            return None
        first = min(self._first_of_each_pool(steady), default=None)
        if first is None:
            return None
        job = self._take(run := first[-1])
        self._last_turn[job.user] = next(self._serial)
        if not job.is_message:
            self._rate.count_start()
            self._user_rates.of(job.user).count_start()
        if rate := self._pool_rates.get(job.settings.pool or ""):
            rate.count_start()
        self._count(run, job)
        return run

    def admit_past_limits(self, run: RunKey, job: Job) -> None:
        """Admit a Run even if a limit is reached."""
        self.withdraw(run)
        self._counted_by_job[job.id] += 1
        self._count(run, job)
        self._requeue(job)

    def release(self, run: RunKey) -> None:
        """An admitted Run does not count any more; a Run that is not admitted is ignored."""
        job = self._admitted.pop(run, None)
        if job is None:
            return
        if job.is_message:
            _decrement(self._messages, (job.settings.pool, job.user))
        else:
            self.running -= 1
            _decrement(self._admitted_by_user, job.user)
            _decrement(self._users_in_pool[job.settings.pool], job.user)
        _decrement(self._admitted_by_pool, job.settings.pool)
        self._leave_job(job)

    def _take(self, run: RunKey) -> Job:
        """Remove a Run from those that wait; its Job."""
        job = self._waiting.pop(run).job
        _decrement(self._waiting_by_kind, job.is_message)
        _decrement(self._waiting_by_user, (job.user, job.is_message))
        _decrement(self._waiting_by_pool, job.settings.pool)
        return job

    def _first_of_each_pool(self, steady: float) -> Iterator[tuple[Rank, RunKey]]:
        """Messages have limits of their own: those of commands do not hold for their pools."""
        commands_may_start = not self._is_full() and self._rate.allows(steady)
        for pool, queue in self._pool_queues.items():
            if not queue or not self._pool_may_start(pool, steady):
                continue
            first = None
            if pool in DELIVERY_POOLS:
                first = queue.first(partial(self._user_may_send, pool))
            elif commands_may_start:
                first = queue.first(self._users_who_may_start(pool, steady))
            if first is not None:
                yield first

    def _user_may_send(self, pool: str | None, user: str) -> bool:
        """A user whose mail program hangs takes half of the places, and leaves others the rest."""
        most = self.limits.pools.get(pool or "")
        return most is None or self._messages[pool, user] < max(1, most // 2)

    def _users_who_may_start(self, pool: str | None, steady: float) -> Callable[[str], bool]:
        """Says of a user whether one more Run may start; true until a Run is admitted."""
        kept, kept_of_pool = self._last_are_kept(), self._last_of_pool_are_kept(pool)
        in_pool = self._users_in_pool.get(pool, _NOBODY)

        def may_start(user: str) -> bool:
            if not self._user_has_room(user) or (kept and user in self._admitted_by_user):
                return False
            is_kept = kept_of_pool and user in in_pool
            return not is_kept and self._user_rates.of(user).allows(steady)

        return may_start

    def _pool_may_start(self, pool: str | None, steady: float) -> bool:
        rate = self._pool_rates.get(pool or "")
        return self._pool_has_room(pool) and (rate is None or rate.allows(steady))

    def _count(self, run: RunKey, job: Job) -> None:
        self._admitted[run] = job
        if job.is_message:
            self._messages[job.settings.pool, job.user] += 1
        else:
            self.running += 1
            self._admitted_by_user[job.user] += 1
            self._users_in_pool.setdefault(job.settings.pool, Counter())[job.user] += 1
        self._admitted_by_pool[job.settings.pool] += 1

    # ---- the limit of a Job: only as many of its Runs as may run enter the queue of the pool

    def _enter_pool_queue(self, run: RunKey) -> None:
        waiting = self._waiting[run]
        waiting.serial = next(self._serial)
        job, pool = waiting.job, waiting.job.settings.pool
        self._counted_by_job[job.id] += 1
        if pool not in self._pool_queues:
            self._pool_queues[pool] = PoolQueue(self._is_current, self._last_turn)
        own = job.settings.priority
        among_users = own if job.source.owner is None else min(own, self.limits.priority)
        item = -own, waiting.due, waiting.serial, run
        self._pool_queues[pool].push(among_users, job.user, item)

    def _leave_job(self, job: Job) -> None:
        """Count one Run of the Job less; the next one that was held back enters the queue."""
        _decrement(self._counted_by_job, job.id)
        held_back = self._held_back.get(job.id)
        while held_back is not None and (item := held_back.first()) is not None:
            if not self._job_has_room(self._waiting[item[-1]].job):
                return
            self._enter_pool_queue(held_back.pop()[-1])
        self._held_back.pop(job.id, None)

    def _is_held_back(self, item: Item) -> bool:
        waiting = self._waiting.get(item[-1])
        return waiting is not None and waiting.serial is None

    def _requeue(self, job: Job) -> None:
        """Hold Runs of the Job back again: one that did not wait was admitted past its limit."""
        for run, waiting in list(self._waiting.items()):
            if waiting.job.id == job.id and waiting.serial is not None:
                self.withdraw(run)
                self.enqueue(run, waiting.job, waiting.due)

    def _is_current(self, item: Item) -> bool:
        *_, serial, run = item
        waiting = self._waiting.get(run)
        return waiting is not None and waiting.serial == serial

    # ---- whether a limit has room for one more Run

    def _is_full(self) -> bool:
        return self.limits.running is not None and self.running >= self.limits.running

    def _last_are_kept(self) -> bool:
        """Whether the places that are left are kept for users who have nothing running."""
        most = self.limits.running
        if most is None or self.running < most - reserved(most):
            return False
        return others_have_none(self.users, self._admitted_by_user)

    def _last_of_pool_are_kept(self, pool: str | None) -> bool:
        most = self.limits.pools.get(pool or "")
        if most is None or self._admitted_by_pool[pool] < most - reserved(most):
            return False
        in_pool = self._users_in_pool.get(pool, _NOBODY)
        return others_have_none(self._users_of_pools.get(pool, frozenset()), in_pool)

    def _user_has_room(self, user: str) -> bool:
        most = self.limits.user_running
        return most is None or self._admitted_by_user[user] < most

    def _pool_has_room(self, pool: str | None) -> bool:
        """A pool that the configuration does not name has no limit."""
        most = self.limits.pools.get(pool or "")
        return most is None or self._admitted_by_pool[pool] < most

    def _job_has_room(self, job: Job) -> bool:
        most = job_limit(job.settings)
        return most is None or self._counted_by_job[job.id] < most

    # ---- what the engine asks

    def recheck_after(self) -> float:
        """Seconds after which admit_next may find a Run although no event has come."""
        if not self._waiting:
            return math.inf
        if self.closed:
            return _RECHECK_CLOSED
        of_commands = math.inf
        if self.waiting and not self._is_full():
            of_commands = min(self._rate.wait(), self._wait_of_users())
        of_pools = (
            rate.wait()
            for pool, rate in self._pool_rates.items()
            if self._waiting_by_pool[pool] and self._pool_has_room(pool)
        )
        return min(of_commands, *of_pools, math.inf)

    def _wait_of_users(self) -> float:
        """Seconds until the share of a user who has nothing else to wait for allows a start."""
        kept_from = self._admitted_by_user if self._last_are_kept() else _NOBODY
        return min(
            (
                self._user_rates.of(user).wait()
                for user, is_message in self._waiting_by_user
                if not is_message and self._user_has_room(user) and user not in kept_from
            ),
            default=math.inf,
        )

    def queue_full(self, run: RunKey) -> str | None:
        """Why a waiting Run is one too many in the queue; None if it is not.

        Commands do not wait for messages: a mail server that takes nothing costs nobody a start.
        """
        most, most_of_user = self.limits.waiting, self.limits.user_waiting
        job = self._waiting[run].job
        if most is not None and self._waiting_by_kind[job.is_message] > most:
            return f"the queue is full (limits.waiting is {most})"
        user = job.user
        if most_of_user is not None and self._waiting_by_user[user, job.is_message] > most_of_user:
            return f"the queue of {user} is full (limits.user_waiting is {most_of_user})"
        return None

    def waits_for(self, run: RunKey) -> str:
        """The reason why a waiting Run waits: the first limit without room, else its turn."""
        waiting = self._waiting[run]
        job, pool = waiting.job, waiting.job.settings.pool
        if waiting.serial is None:
            return f"as many of this job run as may ({job_limit(job.settings)})"
        if self.closed:
            return self.closed
        if job.is_message and not self._user_may_send(pool, job.user):
            return f"half of mail.running, which is {self.limits.pools.get(pool or '')}"
        if job.is_message and self._pool_has_room(pool):
            return f"mail.per_minute is {60 * self.limits.pool_rates.get(pool or '', 0):.0f}"
        if job.is_message:
            return f"mail.running is {self.limits.pools.get(pool or '')}"
        if self._is_full():
            return f"limits.running is {self.limits.running}"
        if not self._user_has_room(job.user):
            return f"limits.user_running is {self.limits.user_running}"
        if job.user in self._admitted_by_user and self._last_are_kept():
            return kept_in_words("limits.running", self.limits.running or 0)
        if not self._pool_has_room(pool):
            return f"pools.{pool} is {self.limits.pools[pool or '']}"
        if self._last_of_pool_are_kept(pool) and job.user in self._users_in_pool[pool]:
            return kept_in_words(f"pools.{pool}", self.limits.pools[pool or ""])
        if self.limits.user_starts_per_second and self._user_rates.of(job.user).wait() < math.inf:
            return f"limits.user_starts_per_second is {self.limits.user_starts_per_second:g}"
        if self.limits.starts_per_second:
            return f"limits.starts_per_second is {self.limits.starts_per_second}"
        return "its turn"


def _decrement(counter: Counter[_Key], key: _Key) -> None:
    """Count one less; remove a count of 0, so that the counter does not grow."""
    counter[key] -= 1
    if not counter[key]:
        del counter[key]
