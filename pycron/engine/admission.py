"""Who may begin: the limits, and the order of those that wait for a place.

A Run that asks begins when every limit that binds it has room: its Job's, its pool's, its user's
and the one for all. Where one is reached, the highest priority goes first; among equals, users take
turns; and of one user's, the one that was due first.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import count

from pycron.engine.limits import Limits
from pycron.model.job import Job
from pycron.model.run import RunKey
from pycron.model.settings import job_limit


@dataclass(slots=True)
class _Request:
    """A Run that asks. `serial`: of its place in the line of its pool, where its Job has room.

    What else of it stands in a line is from before it was withdrawn.
    """

    job: Job
    due: float
    serial: int | None = None


_Place = tuple[float, int, RunKey]  # due, serial
_Heap = list[_Place]
_Rank = tuple[int, int, float, int]  # priority, the user's last turn, due, serial: the least first


@dataclass(slots=True)
class _Line:
    """Those that wait for one pool, or for none: by priority and user."""

    levels: dict[int, dict[str, _Heap]] = field(default_factory=dict)

    def push(self, priority: int, user: str, place: _Place) -> None:
        heappush(self.levels.setdefault(-priority, {}).setdefault(user, []), place)

    def first(
        self, waits: Callable[[_Place], bool], has_room: Callable[[str], bool], turn: Counter[str]
    ) -> tuple[_Rank, RunKey] | None:
        """Who goes first, of the users that have room; `waits`: whether a place is somebody's."""
        for level in sorted(self.levels):
            self._tidy(level, waits)
            heaps = self.levels.get(level, {}).items()
            ready = [(turn[user], *heap[0]) for user, heap in heaps if has_room(user)]
            if ready:
                last_turn, due, serial, run = min(ready)
                return (level, last_turn, due, serial), run
        return None

    def _tidy(self, level: int, waits: Callable[[_Place], bool]) -> None:
        """Forget the places in front that are nobody's any more, and who has no other."""
        users = self.levels[level]
        for user, heap in list(users.items()):
            while heap and not waits(heap[0]):
                heappop(heap)
            if not heap:
                del users[user]
        if not users:
            del self.levels[level]


class Admission:
    """The places that are taken, and those who wait for one."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.closed: str | None = None  # why nothing may begin for now
        self._holders: dict[RunKey, Job] = {}
        self._requests: dict[RunKey, _Request] = {}
        self._lines: dict[str | None, _Line] = {}
        self._behind: dict[str, _Heap] = {}  # by Job: those that its own limit keeps back
        self._running_by: Counter[str] = Counter()
        self._waiting_by: Counter[str] = Counter()
        self._in_pool: Counter[str] = Counter()  # "": of no pool
        self._of_job: Counter[str] = Counter()  # running or offered
        self._turn: Counter[str] = Counter()
        self._serial = count(1)
        self._tokens = float(limits.starts_per_second or 0)
        self._filled: float | None = None

    @property
    def running(self) -> int:
        return len(self._holders)

    @property
    def waiting(self) -> int:
        return len(self._requests)

    def pools(self) -> dict[str, tuple[int, int]]:
        """By name: how many places are taken, of how many."""
        return {pool: (self._in_pool[pool], most) for pool, most in self.limits.pools.items()}

    def asks(self, run: RunKey) -> bool:
        return run in self._requests

    def holds(self, run: RunKey) -> bool:
        return run in self._holders

    # ---- places

    def ask(self, run: RunKey, job: Job, due: float) -> None:
        """Wait for a place from now on."""
        self._requests[run] = _Request(job, due)
        self._waiting_by[job.user] += 1
        if self._job_has_room(job):
            self._offer(run)
        else:
            place = due, next(self._serial), run
            heappush(self._behind.setdefault(job.id, []), place)

    def withdraw(self, run: RunKey) -> None:
        """It doesn't ask any more; its places in the lines are passed over when they come up."""
        request = self._requests.pop(run, None)
        if request is None:
            return
        _lower(self._waiting_by, request.job.user)
        if request.serial is not None:
            self._leave_job(request.job)

    def take(self, run: RunKey, job: Job) -> None:
        """It has begun, whether there was room or not."""
        self.withdraw(run)
        self._of_job[job.id] += 1
        self._hold(run, job)
        self._line_up_again(job)

    def release(self, run: RunKey) -> None:
        """Its place is free again."""
        job = self._holders.pop(run, None)
        if job is None:
            return
        _lower(self._running_by, job.user)
        _lower(self._in_pool, job.settings.pool or "")
        self._leave_job(job)

    def next(self, steady: float) -> RunKey | None:
        """The next one that may begin, which has its place from now on; None if there is none.

        `steady`: seconds on a clock that nobody sets.
        """
        if not self._requests or self.closed or self._is_full() or not self._has_token(steady):
            return None
        found = min(self._firsts(), default=None)
        if found is None:
            return None
        run = found[1]
        job = self._requests.pop(run).job
        _lower(self._waiting_by, job.user)
        self._turn[job.user] = next(self._serial)
        self._tokens -= 1
        self._hold(run, job)
        return run

    def _firsts(self) -> Iterator[tuple[_Rank, RunKey]]:
        for pool, line in self._lines.items():
            if self._pool_has_room(pool):
                first = line.first(self._is_taken, self._user_has_room, self._turn)
                if first is not None:
                    yield first

    def _hold(self, run: RunKey, job: Job) -> None:
        self._holders[run] = job
        self._running_by[job.user] += 1
        self._in_pool[job.settings.pool or ""] += 1

    def _offer(self, run: RunKey) -> None:
        """Into the line of its pool."""
        request = self._requests[run]
        request.serial = next(self._serial)
        job = request.job
        self._of_job[job.id] += 1
        line = self._lines.setdefault(job.settings.pool, _Line())
        line.push(job.settings.priority, job.user, (request.due, request.serial, run))

    def _leave_job(self, job: Job) -> None:
        """One less of this Job; the next that its limit kept back moves up."""
        _lower(self._of_job, job.id)
        behind = self._behind.get(job.id, [])
        while behind:
            run = behind[0][2]
            request = self._requests.get(run)
            if request is not None and request.serial is None:
                if not self._job_has_room(request.job):
                    return
                self._offer(run)
            heappop(behind)
        self._behind.pop(job.id, None)

    def _line_up_again(self, job: Job) -> None:
        """One more of this Job runs than was foreseen: who stands in line may have to go back."""
        for run, request in list(self._requests.items()):
            if request.job.id == job.id and request.serial is not None:
                self.withdraw(run)
                self.ask(run, request.job, request.due)

    # ---- room

    def _is_taken(self, place: _Place) -> bool:
        _, serial, run = place
        request = self._requests.get(run)
        return request is not None and request.serial == serial

    def _is_full(self) -> bool:
        return self.limits.running is not None and self.running >= self.limits.running

    def _user_has_room(self, user: str) -> bool:
        most = self.limits.user_running
        return most is None or self._running_by[user] < most

    def _pool_has_room(self, pool: str | None) -> bool:
        """A pool that the configuration doesn't name has no limit."""
        most = self.limits.pools.get(pool or "")
        return most is None or self._in_pool[pool or ""] < most

    def _job_has_room(self, job: Job) -> bool:
        most = job_limit(job.settings)
        return most is None or self._of_job[job.id] < most

    def _has_token(self, steady: float) -> bool:
        """Whether the start rate allows one more."""
        rate = self.limits.starts_per_second
        if rate is None:
            return True
        passed = max(0.0, steady - self._filled) if self._filled is not None else 0.0
        self._tokens = min(float(rate), self._tokens + passed * rate)
        self._filled = steady
        return self._tokens >= 1

    def patience(self) -> float:
        """Seconds until it is worth asking next() again, when nothing else happens."""
        if not self._requests or self._is_full():
            return math.inf
        if self.closed:
            return 1.0
        rate = self.limits.starts_per_second
        return max(0.001, (1 - self._tokens) / rate) if rate and self._tokens < 1 else math.inf

    def crowded_out(self, run: RunKey) -> str | None:
        """Why there is no room to wait for one of those that wait; None if there is."""
        most, most_of_user = self.limits.waiting, self.limits.user_waiting
        if most is not None and self.waiting > most:
            return f"the queue is full (limits.waiting is {most})"
        user = self._requests[run].job.user
        if most_of_user is not None and self._waiting_by[user] > most_of_user:
            return f"the queue of {user} is full (limits.user_waiting is {most_of_user})"
        return None

    def why(self, run: RunKey) -> str:
        """What a Run that asks is waiting for."""
        request = self._requests[run]
        job, pool = request.job, request.job.settings.pool
        if request.serial is None:
            return f"as many of this job run as may ({job_limit(job.settings)})"
        if self.closed:
            return self.closed
        if self._is_full():
            return f"limits.running is {self.limits.running}"
        if not self._user_has_room(job.user):
            return f"limits.user_running is {self.limits.user_running}"
        if not self._pool_has_room(pool):
            return f"pools.{pool} is {self.limits.pools[pool or '']}"
        if self.limits.starts_per_second:
            return f"limits.starts_per_second is {self.limits.starts_per_second}"
        return "its turn"


def _lower(counter: Counter[str], key: str) -> None:
    """One less; what is at nothing is forgotten."""
    counter[key] -= 1
    if not counter[key]:
        del counter[key]
