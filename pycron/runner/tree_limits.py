"""The process trees of all Attempts: their cgroups, their limits, and how they are ended.

Imported by the runner: it stays small.
"""

import time
from collections.abc import Collection

from pycron.runner.attempt import Attempt
from pycron.runner.event_loop import NEVER, EventLoop
from pycron.runner.process_tree import ProcessTree, private_memory
from pycron.system.cgroup import Cgroup, Delegation
from pycron.system.marks import pids_by_mark

_MEMORY_INTERVAL = 1.0  # seconds between two measurements of trees that have no cgroup
_REMOVAL_INTERVAL = 5.0  # seconds, while background children use the cgroup of an ended Attempt


class TreeLimits:
    """Ends trees that exceed their limits, and removes cgroups that are no longer used."""

    def __init__(self, loop: EventLoop, delegation: Delegation | None) -> None:
        self._loop = loop
        self._delegation = delegation
        self._ending: list[ProcessTree] = []
        self._unused: list[Cgroup] = []  # to be removed when no process is in them
        self._memory_due = NEVER

    @property
    def any_ending(self) -> bool:
        return bool(self._ending)

    def give_cgroup(self, attempt: Attempt) -> None:
        """Make a cgroup for the Attempt, if the runner may make cgroups."""
        if self._delegation is not None:
            start = attempt.start_message
            attempt.tree.cgroup = self._delegation.make(
                start["id"], start["memory_max"], start["processes_max"]
            )

    def limit(self, attempt: Attempt) -> None:
        """Begin to measure time and memory of an Attempt whose command has started."""
        now = time.monotonic()
        if attempt.timeout is not None:
            attempt.deadline = now + attempt.timeout
            self._loop.wake_at(attempt.deadline)
        if attempt.memory_max is not None:
            self._memory_due = min(self._memory_due, now + _MEMORY_INTERVAL)
            self._loop.wake_at(self._memory_due)

    def end(self, attempt: Attempt, cause: str | None, reason: str, kill_after: int) -> None:
        """Send TERM to the whole tree, and KILL `kill_after` seconds later."""
        tree = attempt.tree
        if not tree.ending:
            attempt.cause, attempt.reason = cause, reason
            self._ending.append(tree)
        tree.end(time.monotonic(), kill_after)
        self._loop.wake_at(tree.due)

    def blame_memory(self, attempt: Attempt) -> None:
        """Note it as the cause if the kernel has killed an Attempt for want of memory.

        The reason is either its own limit or that the machine ran out of memory.
        """
        cgroup = attempt.tree.cgroup
        if attempt.cause is None and cgroup is not None and cgroup.out_of_memory():
            attempt.cause = "memory"
            attempt.reason = "the machine ran out of memory"
            if attempt.memory_max is not None:
                attempt.reason = _too_much_memory(attempt.memory_max)

    def leave_behind(self, tree: ProcessTree) -> None:
        """The command has ended, but processes that it started may still run.

        A tree that is being ended is ended completely. Its cgroup is removed when it is empty.
        """
        tree.leader = 0
        if tree.ending:
            tree.due = time.monotonic()
            self._loop.wake_at(tree.due)
        if tree.cgroup is not None and not tree.cgroup.remove():
            self._unused.append(tree.cgroup)
            self._loop.wake_at(time.monotonic() + _REMOVAL_INTERVAL)

    def tend(self, running: Collection[Attempt]) -> None:
        """Do everything that is due by the clock.

        For each tree that is being ended this is one step, so that other commands start in time.
        """
        now = time.monotonic()
        self._end_overdue(running, now)
        measured = self._to_measure(running, now)
        due = [tree for tree in self._ending if tree.due <= now]
        pids = pids_by_mark([*(attempt.tree.mark for attempt in measured), *(t.mark for t in due)])
        for attempt in measured:
            self._check_memory(attempt, pids[attempt.tree.mark])
        for tree in due:
            if not tree.step(pids[tree.mark], now):
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

    def _to_measure(self, running: Collection[Attempt], now: float) -> list[Attempt]:
        """The Attempts whose memory is due to be measured, because the kernel does not limit it."""
        limited = []
        if now >= self._memory_due:
            limited = [attempt for attempt in running if attempt.memory_max is not None]
            self._memory_due = now + _MEMORY_INTERVAL if limited else NEVER
        self._loop.wake_at(self._memory_due)
        return [attempt for attempt in limited if not attempt.tree.memory_is_limited]

    def _check_memory(self, attempt: Attempt, pids: set[int]) -> None:
        assert attempt.memory_max is not None
        if private_memory(pids) > attempt.memory_max:
            self.end(attempt, "memory", _too_much_memory(attempt.memory_max), 0)

    def _remove_cgroups(self, now: float) -> None:
        self._unused = [cgroup for cgroup in self._unused if not cgroup.remove()]
        if self._unused:
            self._loop.wake_at(now + _REMOVAL_INTERVAL)


def _too_much_memory(limit: int) -> str:
    return f"used more than {limit} bytes of memory (CRON_MEMORY_MAX)"
