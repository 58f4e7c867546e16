"""A command and all processes that descend from it, and how they are ended.

A process belongs to the tree of an Attempt if it is in the cgroup of the tree. Only for a tree
without a cgroup, it does if the search for its mark finds it (marks.py).

Imported by the runner: it stays small.
"""

import os
import resource
import signal
from collections.abc import Callable, Generator, Mapping
from functools import partial

from pycron.runner.event_loop import NEVER
from pycron.system.cgroup import Cgroup
from pycron.system.marks import Process, next_mark, start_of, take_mark

_FIRST_INTERVAL = 0.05  # seconds; doubled before each wait for the next SIGKILL
_LONGEST_INTERVAL = 1.0
_LONGEST_STOP = 1.0  # seconds in which processes that fork all the time are to be stopped
_LOOK_INTERVAL = 0.2  # seconds between two looks at whether a tree that was left has ended
_FREEZING = 0.002  # seconds between two looks at whether a cgroup is frozen
_PAGE = resource.getpagesize()

Members = dict[int, int]  # the start of each process (marks.py), by its pid


class ProcessTree:
    """The processes of one Attempt.

    `owner`, `runner`: see marks.Tree. `leader` is the pid of the command itself; 0 before it has
    started and after it has ended. `due` is the instant (monotonic) of the next step of ending the
    tree; NEVER while it is not ended.
    """

    __slots__ = (
        "_fresh", "_interval", "_kill_at", "_members", "_quiet_by", "_stopped", "_term_sent",
        "cgroup", "due", "leader", "mark", "owner", "runner",
    )  # fmt: skip

    def __init__(self, owner: int, mark: int = 0, cgroup: Cgroup | None = None) -> None:
        """`mark`, `cgroup`: those of a tree that an earlier runner has left."""
        self.owner = owner
        self.mark = mark or next_mark(owner)
        self.runner = 0 if mark else os.getpid()
        self.cgroup = cgroup
        self.leader = 0
        self.due = NEVER
        self._kill_at = NEVER
        self._term_sent = False
        self._members: Members | None = None  # of a tree that is being ended: the last that were
        self._stopped: Members | None = None
        self._fresh = False  # whether processes were stopped since the last step
        self._quiet_by = NEVER
        self._interval = _FIRST_INTERVAL

    def join(self, door: int) -> None:
        """Make the calling process, and all processes that it starts later, members of this tree.

        `door`: what open_door() of its cgroup has returned. A process that is not root's can only
        go from one tree to a later tree, because the mark of a later tree is lower. Raises OSError.
        """
        take_mark(self.mark)
        if self.cgroup is not None:
            self.cgroup.enter(door)

    @property
    def known(self) -> Mapping[int, int | None]:
        """Members whatever they have become. The leader is a child, so its pid is not reused."""
        known: dict[int, int | None] = dict(self._members or {})
        if self.leader:
            known[self.leader] = None
        return known

    @property
    def ending(self) -> bool:
        return self._kill_at < NEVER

    @property
    def over(self) -> bool:
        """Whether it was ended, and no process is left."""
        return self.ending and self.due == NEVER

    @property
    def memory_is_limited(self) -> bool:
        """Whether the kernel limits it."""
        return self.cgroup is not None and self.cgroup.limits_memory

    @property
    def processes_are_limited(self) -> bool:
        """Whether the kernel limits the processes of this tree."""
        return self.cgroup is not None and self.cgroup.limits_processes

    def end(self, now: float, kill_after: float) -> None:
        """SIGTERM now, SIGKILL so many seconds later; of two calls, the earlier SIGKILL holds."""
        self._kill_at = min(self._kill_at, now + kill_after)
        self.due = now

    def stop(self, process: Process, now: float) -> None:
        """SIGSTOP to a member that a search has just found, if the next step sends a signal.

        All processes are stopped before anything else is sent: otherwise a process could fork while
        the others are searched for, and a tree that forks all the time could grow again while it is
        killed.
        """
        stopped = self._stopped = self._stopped or {}
        waits = self._term_sent and now < self._kill_at
        if not waits and stopped.get(process.pid) != process.started:
            stopped[process.pid] = process.started
            self._fresh = True
            _send(process.pid, signal.SIGSTOP, partial(_is, process.pid, process.started))

    def step(self, members: Members, now: float) -> Generator[None, None, bool]:
        """Take the next step of ending the tree, with a pause after each signal.

        `members`: what the search has found, if the tree has no cgroup. Returns False if no
        process is left.
        """
        if self.cgroup is not None:
            return (yield from self._step_in_cgroup(self.cgroup, now))
        if self.leader and self.leader not in members:  # it has another mark now
            members[self.leader] = start_of(self.leader) or 0
        self._members = members
        if not members:
            return False
        if self._waits(now):
            return True
        if self._fresh and now < self._quiet_by:  # it may have forked before it was stopped
            self._fresh = False
            self._quiet_by = min(self._quiet_by, now + _LONGEST_STOP)
            self.due = now
            return True
        for number in self._signals(now):
            for pid, started in members.items():
                _send(pid, number, partial(_is, pid, started))
                yield
        self._stopped, self._quiet_by = None, NEVER
        self._sent(now)
        return True

    def _step_in_cgroup(self, cgroup: Cgroup, now: float) -> Generator[None, None, bool]:
        """The same in a cgroup. The leader may have left it, if root has moved it."""
        pids = cgroup.pids() | ({self.leader} if self.leader else set())
        if not pids:
            return False
        if self._waits(now):
            return True
        if self._quiet_by == NEVER and cgroup.freeze():
            self._quiet_by = now + _LONGEST_STOP
        if now < self._quiet_by < NEVER and not cgroup.frozen():
            self.due = now + _FREEZING
            return True
        if now >= self._kill_at:
            cgroup.kill()
        for number in self._signals(now):
            for pid in cgroup.pids() | ({self.leader} if self.leader else set()):
                _send(pid, number, partial(self._is_inside, cgroup, pid))
                yield
        self._quiet_by = NEVER
        cgroup.thaw()
        self._sent(now)
        return True

    def wake(self, members: Members) -> None:
        """Send SIGCONT to all processes; `members` as for step()."""
        for pid, started in members.items():
            _send(pid, signal.SIGCONT, partial(_is, pid, started))
        if self.cgroup is not None:
            for pid in self.cgroup.pids():
                _send(pid, signal.SIGCONT, partial(self._is_inside, self.cgroup, pid))

    def _is_inside(self, cgroup: Cgroup, pid: int) -> bool:
        return pid == self.leader or cgroup.has(pid)

    def _waits(self, now: float) -> bool:
        """Whether SIGTERM was sent, and SIGKILL is not due."""
        waits = self._term_sent and now < self._kill_at
        if waits:
            self.due = self._next_look(now)
        return waits

    def _next_look(self, now: float) -> float:
        """When to go on after SIGTERM. Nobody tells when a process of another runner has ended."""
        return self._kill_at if self.runner else min(self._kill_at, now + _LOOK_INTERVAL)

    def _signals(self, now: float) -> tuple[signal.Signals, ...]:
        return (signal.SIGKILL,) if now >= self._kill_at else (signal.SIGTERM, signal.SIGCONT)

    def _sent(self, now: float) -> None:
        """What _signals() says was sent; set the instant of the next step."""
        if now >= self._kill_at:
            self._interval = min(2 * self._interval, _LONGEST_INTERVAL)
            self.due = now + self._interval
        else:
            self._term_sent = True
            self.due = self._next_look(now)


def _is(pid: int, started: int) -> bool:
    """Whether a pid belongs to the process that started then."""
    return start_of(pid) == started


def _send(pid: int, number: signal.Signals, is_member: Callable[[], bool]) -> None:
    """Signal a process if it still belongs to the tree; a pid may belong to another one by now.

    A pidfd stays with one process, so its membership is checked after the pidfd was opened.
    """
    try:
        handle = os.pidfd_open(pid)
    except OSError:
        return
    try:
        if is_member():
            signal.pidfd_send_signal(handle, number)
    except OSError:
        pass  # it has just ended
    finally:
        os.close(handle)


def private_memory(pid: int) -> int:
    """Bytes of memory that a process has, without files and shared memory; 0 if it has ended."""
    try:
        with open(f"/proc/{pid}/statm", "rb") as file:
            _, resident, shared, *_ = file.read().split()
    except (OSError, ValueError):
        return 0
    return max(0, int(resident) - int(shared)) * _PAGE
