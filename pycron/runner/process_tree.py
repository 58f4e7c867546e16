"""A command and all processes that descend from it, and how they are ended.

A process belongs to the tree of an Attempt if it has its mark (marks.py), or if it is in its
cgroup.

Imported by the runner: it stays small.
"""

import os
import resource
import signal
from collections.abc import Iterable

from pycron.runner.event_loop import NEVER
from pycron.system.cgroup import Cgroup
from pycron.system.marks import mark_of, marked_processes, next_mark, take_mark

_FIRST_INTERVAL = 0.05  # seconds; doubled before each wait for the next SIGKILL
_LONGEST_INTERVAL = 1.0
_PAGE = resource.getpagesize()


class ProcessTree:
    """The processes of one Attempt.

    `leader` is the pid of the command itself; 0 before it has started and after it has ended. `due`
    is the instant (monotonic) of the next step of ending the tree; NEVER while it is not ended.
    """

    __slots__ = (
        "_interval", "_kill_at", "_stopped", "_term_sent", "cgroup", "due", "leader", "mark",
    )  # fmt: skip

    def __init__(self) -> None:
        self.mark = next_mark()
        self.cgroup: Cgroup | None = None
        self.leader = 0
        self.due = NEVER
        self._kill_at = NEVER
        self._term_sent = False
        self._stopped: frozenset[int] = frozenset()
        self._interval = _FIRST_INTERVAL

    def join(self, door: int) -> None:
        """Make the calling process, and all processes that it starts later, members of this tree.

        `door`: what open_door() of its cgroup has returned. A process that is not root's can only
        go from one tree to a later tree, because the mark of a later tree is lower.
        """
        take_mark(self.mark)
        if self.cgroup is not None:
            self.cgroup.enter(door)

    @property
    def ending(self) -> bool:
        return self._kill_at < NEVER

    @property
    def memory_is_limited(self) -> bool:
        """Whether the kernel limits it. A command that could not enter its cgroup left it empty."""
        return self.cgroup is not None and self.cgroup.limits_memory and self.cgroup.populated()

    @property
    def processes_are_limited(self) -> bool:
        """Whether the kernel limits the processes of this tree."""
        return self.cgroup is not None and self.cgroup.limits_processes

    def end(self, now: float, kill_after: float) -> None:
        """SIGTERM now, SIGKILL so many seconds later; of two calls, the earlier SIGKILL holds."""
        self._kill_at = min(self._kill_at, now + kill_after)
        self.due = now

    def step(self, marked: set[int], now: float) -> bool:
        """Take the next step of ending the tree; False if no process is left.

        `marked`: the pids with its mark. All processes are stopped before anything else is sent:
        otherwise a process could fork while the others are searched for, and a tree that forks all
        the time could grow again while it is killed.
        """
        members = marked | (self.cgroup.pids() if self.cgroup else set())
        if self.leader:
            members.add(self.leader)
        if not members:
            return False
        killing = now >= self._kill_at
        if killing and self.cgroup is not None:
            self.cgroup.kill()
        running = members - self._stopped
        if self._term_sent and not killing:
            self.due = self._kill_at
        elif running:
            self._send(running, signal.SIGSTOP)
            self._stopped |= running
            self.due = now
        elif killing:
            self._send(members, signal.SIGKILL)
            self._stopped = frozenset()
            self._interval = min(2 * self._interval, _LONGEST_INTERVAL)
            self.due = now + self._interval
        else:
            self._send(members, signal.SIGTERM)
            self._send(members, signal.SIGCONT)
            self._stopped = frozenset()
            self._term_sent = True
            self.due = self._kill_at
        return True

    def wake(self, marked: set[int]) -> None:
        """Send SIGCONT to the processes with its mark."""
        self._send(marked, signal.SIGCONT)

    def _send(self, pids: Iterable[int], number: signal.Signals) -> None:
        """Signal those that still belong to the tree; a pid may belong to another process by now.

        A pidfd stays with one process, so its membership is checked after the pidfd was opened.
        """
        for pid in pids:
            try:
                handle = os.pidfd_open(pid)
            except OSError:
                continue
            try:
                if self._has(pid):
                    signal.pidfd_send_signal(handle, number)
            except OSError:
                pass  # it has just ended
            finally:
                os.close(handle)

    def _has(self, pid: int) -> bool:
        """The leader is a child of the runner, so its pid is not reused before it is reaped."""
        ours = pid == self.leader or mark_of(pid) == self.mark
        return ours or (self.cgroup is not None and self.cgroup.has(pid))


def wake_orphans() -> None:
    """Continue the processes that a runner stopped, to end them, before it died itself.

    No other process would continue them. Stopped processes of a runner that lives are left alone.
    """
    for pid, mark in marked_processes():
        try:
            state, parent = _stat(pid)
            if state == "T" and not _has_runner(parent, mark):
                os.kill(pid, signal.SIGCONT)
        except OSError:
            pass  # it has ended, or this process may not signal it


def _has_runner(pid: int, mark: int) -> bool:
    """Whether the first process without the mark, from this one upwards, is a runner."""
    while mark_of(pid) == mark:
        _, pid = _stat(pid)
    with open(f"/proc/{pid}/cmdline", "rb") as file:
        return b"pycron.runner" in file.read().split(b"\0")


def _stat(pid: int) -> tuple[str, int]:
    """The state of a process and its parent."""
    with open(f"/proc/{pid}/stat", "rb") as file:
        state, parent, *_ = file.read().rpartition(b")")[2].split()
    return state.decode(), int(parent)


def private_memory(pids: Iterable[int]) -> int:
    """Bytes of memory that these processes have, without files and shared memory."""
    pages = 0
    for pid in pids:
        try:
            with open(f"/proc/{pid}/statm", "rb") as file:
                _, resident, shared, *_ = file.read().split()
        except (OSError, ValueError):
            continue  # it has ended
        pages += max(0, int(resident) - int(shared))
    return pages * _PAGE
