"""The process trees of all Attempts: their cgroups, their limits, and how they are ended.

Imported by the runner: it stays small.
"""

import time
from collections import deque
from collections.abc import Collection, Iterator

from pycron.runner.attempt import Attempt
from pycron.runner.event_loop import NEVER, EventLoop
from pycron.runner.process_tree import Members, ProcessTree, private_memory
from pycron.runner.running_file import RunningFile
from pycron.system.cgroup import Cgroup, Delegation
from pycron.system.marks import TreeSearch

_MEMORY_INTERVAL = 1.0  # seconds between two measurements of trees that have no cgroup
_MEMORY_SHARE = 20  # an interval is at least so many times as long as the measurement took
_SLICE = 0.005  # seconds of work on process trees, after which other work has its turn
_REMOVAL_DELAY = 0.5  # seconds in which other commands may need the processors
_REMOVAL_INTERVAL = 5.0  # seconds, while background children use the cgroup of an ended Attempt


class TreeLimits:
    """Ends trees that exceed their limits, and removes cgroups that are no longer used."""

    def __init__(
        self, loop: EventLoop, delegation: Delegation | None, running_file: RunningFile
    ) -> None:
        self._loop = loop
        self._delegation = delegation
        self._running_file = running_file
        self._ending: list[ProcessTree] = []
        self._work: Iterator[None] | None = None  # on trees, which goes on in the next turn
        self._left: deque[Cgroup] = deque()  # to be removed, if no process is in them
        self._unused: list[Cgroup] = []  # had processes in them that an Attempt has left
        self._removal_due = NEVER
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

    def expect_starts(self) -> None:
        """Called every few ms while commands are being started."""
        if self._delegation is not None:
            self._delegation.expect_moves()

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

    def end_left(self, tree: ProcessTree, kill_after: int) -> None:
        """End a tree that an earlier runner has left."""
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
        else:
            self._running_file.over(tree)
        if tree.cgroup is not None:
            self._left.append(tree.cgroup)
            self._remove_at(time.monotonic() + _REMOVAL_DELAY)

    def tend(self, running: Collection[Attempt]) -> None:
        """Do everything that is due by the clock.

        For each tree that is being ended this is one step, and all of it is done in slices, so that
        other commands start in time.
        """
        now = time.monotonic()
        self._end_overdue(running, now)
        measured = self._to_measure(running, now)
        due = [tree for tree in self._ending if tree.due <= now]
        if self._work is None and (measured or due):
            self._work = self._tend_trees(measured, due, now)
        if self._work is not None and not _work_on(self._work, now + _SLICE):
            self._work = None
        for tree in self._ending:
            self._loop.wake_at(tree.due)
        self._loop.wake_at(self._memory_due if self._work is None else now)
        self._remove_cgroups(now)

    def _tend_trees(
        self, measured: list[Attempt], due: list[ProcessTree], now: float
    ) -> Iterator[None]:
        trees = {tree.mark: tree for tree in [*(each.tree for each in measured), *due]}
        marked = [tree for tree in trees.values() if tree.cgroup is None]
        members: dict[int, Members] = {mark: {} for mark in trees}
        stopping = {tree.mark for tree in due}
        for process in TreeSearch(marked).step():
            if process is not None:
                members[process.mark][process.pid] = process.started
                if process.mark in stopping:
                    trees[process.mark].stop(process, now)
            yield
        for attempt in measured:
            yield from self._check_memory(attempt, members[attempt.tree.mark])
        if measured:
            took = time.monotonic() - now
            self._memory_due = now + max(_MEMORY_INTERVAL, _MEMORY_SHARE * took)
        for tree in due:
            if not (yield from tree.step(members[tree.mark], time.monotonic())):
                self._ending.remove(tree)
                tree.due = NEVER
                self._running_file.over(tree)

    def _end_overdue(self, running: Collection[Attempt], now: float) -> None:
        for attempt in running:
            if attempt.deadline <= now:
                attempt.deadline = NEVER
                reason = f"ran longer than {attempt.timeout} seconds (CRON_TIMEOUT)"
                self.end(attempt, "timeout", reason, attempt.kill_after)
            self._loop.wake_at(attempt.deadline)

    def _to_measure(self, running: Collection[Attempt], now: float) -> list[Attempt]:
        """The Attempts whose memory is due to be measured, because the kernel does not limit it."""
        if now < self._memory_due:
            return []
        limited = [attempt for attempt in running if attempt.memory_max is not None]
        self._memory_due = now + _MEMORY_INTERVAL if limited else NEVER
        return [attempt for attempt in limited if not attempt.tree.memory_is_limited]

    def _check_memory(self, attempt: Attempt, members: Members) -> Iterator[None]:
        assert attempt.memory_max is not None
        used = 0
        for pid in members:
            used += private_memory(pid)
            yield
        if used > attempt.memory_max and attempt.tree.leader:
            self.end(attempt, "memory", _too_much_memory(attempt.memory_max), 0)

    def _remove_at(self, instant: float) -> None:
        self._removal_due = min(self._removal_due, instant)
        self._loop.wake_at(self._removal_due)

    def _remove_cgroups(self, now: float) -> None:
        """Remove those that no process is in: the others are looked at again later."""
        if now < self._removal_due:
            self._loop.wake_at(self._removal_due)
            return
        self._removal_due = NEVER
        until = now + _SLICE
        while self._left and time.monotonic() < until:
            cgroup = self._left.popleft()
            if not cgroup.remove():
                self._unused.append(cgroup)
        if self._left:
            self._remove_at(now)
        elif self._unused:
            self._left.extend(self._unused)
            self._unused.clear()
            self._remove_at(now + _REMOVAL_INTERVAL)


def _work_on(work: Iterator[None], until: float) -> bool:
    """Go on with work until an instant (monotonic); False if it is done."""
    return any(time.monotonic() >= until for _ in work)


def _too_much_memory(limit: int) -> str:
    return f"used more than {limit} bytes of memory (CRON_MEMORY_MAX)"
