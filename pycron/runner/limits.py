"""The trees of all Attempts: their cgroups, their limits, and the end of what goes beyond those.

Imported by the runner: it stays small.
"""

import time
from collections.abc import Collection

from pycron.runner.attempt import Attempt
from pycron.runner.event_loop import NEVER, EventLoop
from pycron.runner.process_tree import Tree, marked, private_memory
from pycron.runner.spawn import Order
from pycron.system.cgroup import Cgroup, Delegation

_MEMORY_PACE = 1.0  # seconds between two looks at what trees without a cgroup have
_REMOVAL_PACE = 5.0  # seconds, while background children keep the cgroup of an ended Attempt


class TreeLimits:
    """Those that are limited, those that are being ended, and cgroups that are left."""

    def __init__(self, loop: EventLoop, delegation: Delegation | None) -> None:
        self._loop = loop
        self._delegation = delegation
        self._ending: list[Tree] = []
        self._left: list[Cgroup] = []
        self._memory_due = NEVER

    @property
    def any_ending(self) -> bool:
        return bool(self._ending)

    def give_cgroup(self, tree: Tree, order: Order) -> None:
        """Where there is one to be had."""
        if self._delegation is not None:
            tree.cgroup = self._delegation.make(
                order["id"], order["memory_max"], order["processes_max"]
            )

    def limit(self, attempt: Attempt) -> None:
        """Its command has started."""
        now = time.monotonic()
        if attempt.timeout is not None:
            attempt.deadline = now + attempt.timeout
            self._loop.wake_at(attempt.deadline)
        if attempt.memory_max is not None:
            self._memory_due = min(self._memory_due, now + _MEMORY_PACE)
            self._loop.wake_at(self._memory_due)

    def end(self, attempt: Attempt, cause: str | None, reason: str, kill_after: int) -> None:
        tree = attempt.tree
        if not tree.ending:
            attempt.cause, attempt.reason = cause, reason
            self._ending.append(tree)
        tree.end(time.monotonic(), kill_after)
        self._loop.wake_at(tree.due)

    def blame_memory(self, attempt: Attempt) -> None:
        """The kernel has killed a command: for its own limit, or because nobody had any left."""
        cgroup = attempt.tree.cgroup
        if attempt.cause is None and cgroup is not None and cgroup.out_of_memory():
            attempt.cause = "memory"
            attempt.reason = "the machine ran out of memory"
            if attempt.memory_max is not None:
                attempt.reason = _too_much_memory(attempt.memory_max)

    def leave_behind(self, tree: Tree) -> None:
        """The command itself has ended; what is left of its tree may still have to be."""
        tree.leader = 0
        if tree.ending:
            tree.due = time.monotonic()
            self._loop.wake_at(tree.due)
        if tree.cgroup is not None and not tree.cgroup.remove():
            self._left.append(tree.cgroup)
            self._loop.wake_at(time.monotonic() + _REMOVAL_PACE)

    def tend(self, running: Collection[Attempt]) -> None:
        """Everything that is due by the clock.

        Of the end of a tree it is one step, so that other commands are started in time.
        """
        now = time.monotonic()
        self._end_overdue(running, now)
        watched = self._watched(running, now)
        due = [tree for tree in self._ending if tree.due <= now]
        bearers = marked([*(attempt.tree.mark for attempt in watched), *(t.mark for t in due)])
        for attempt in watched:
            self._check_memory(attempt, bearers[attempt.tree.mark])
        for tree in due:
            if not tree.step(bearers[tree.mark], now):
                self._ending.remove(tree)
        for tree in self._ending:
            self._loop.wake_at(tree.due)
        self._remove_cgroups(now)

    def _end_overdue(self, running: Collection[Attempt], now: float) -> None:
        for attempt in running:
            if attempt.deadline <= now:
                attempt.deadline = NEVER
                reason = f"ran longer than {attempt.timeout} seconds (CRON_TIMEOUT)"
                self.end(attempt, "timeout", reason, attempt.kill_after)
            self._loop.wake_at(attempt.deadline)

    def _watched(self, running: Collection[Attempt], now: float) -> list[Attempt]:
        """Those whose memory has to be looked at now, because the kernel doesn't limit it."""
        limited = []
        if now >= self._memory_due:
            limited = [attempt for attempt in running if attempt.memory_max is not None]
            self._memory_due = now + _MEMORY_PACE if limited else NEVER
        self._loop.wake_at(self._memory_due)
        return [attempt for attempt in limited if not attempt.tree.memory_is_limited]

    def _check_memory(self, attempt: Attempt, pids: set[int]) -> None:
        assert attempt.memory_max is not None
        if private_memory(pids) > attempt.memory_max:
            self.end(attempt, "memory", _too_much_memory(attempt.memory_max), 0)

    def _remove_cgroups(self, now: float) -> None:
        """A background child that goes on keeps that of its Attempt."""
        self._left = [cgroup for cgroup in self._left if not cgroup.remove()]
        if self._left:
            self._loop.wake_at(now + _REMOVAL_PACE)


def _too_much_memory(limit: int) -> str:
    return f"used more than {limit} bytes of memory (CRON_MEMORY_MAX)"
