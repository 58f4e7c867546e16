"""A command and all processes that descend from it: how they are found, and how they are ended.

Every process of an Attempt has its mark: a number that is stored as the limit of its real-time CPU
time (RLIMIT_RTTIME, in microseconds: tens of thousands of years, so it limits nothing). Children
inherit it, also through setsid, a double fork and `env -i`; only root can raise such a limit again.
A process that lowers its own limit still further leaves the tree. If the Attempt has a cgroup, the
processes in the cgroup belong to the tree, too.

Imported by the runner: it stays small.
"""

import os
import resource
import signal
from collections.abc import Iterable, Iterator
from itertools import count

from pycron.runner.event_loop import NEVER
from pycron.system.cgroup import Cgroup

_HIGHEST_MARK = 2**62
_LOWEST_MARK = 2**32  # a lower limit may be meant as one
_FIRST_INTERVAL = 0.05  # seconds from the first SIGKILL to the next; then twice as long each time
_LONGEST_INTERVAL = 1.0
_PAGE = resource.getpagesize()


class Tree:
    """The processes of one Attempt.

    `leader` is the pid of the command itself; 0 before it has started and after it has ended. `due`
    is the instant (monotonic) of the next step of ending the tree; NEVER while it is not ended.
    """

    __slots__ = (
        "_interval",
        "_kill_at",
        "_stopped",
        "_term_sent",
        "cgroup",
        "due",
        "leader",
        "mark",
    )

    def __init__(self) -> None:
        self.mark = next(_serial)
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
        resource.setrlimit(resource.RLIMIT_RTTIME, (self.mark, self.mark))
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
        ours = pid == self.leader or _mark_of(pid) == self.mark
        return ours or (self.cgroup is not None and self.cgroup.has(pid))


def marked(marks: Iterable[int]) -> dict[int, set[int]]:
    """The pids of all processes with each of these marks, from one scan of /proc."""
    found: dict[int, set[int]] = {mark: set() for mark in marks}
    for pid, mark in _marked_processes() if found else ():
        if mark in found:
            found[mark].add(pid)
    return found


def wake_orphans() -> None:
    """Continue the processes that a runner stopped, to end them, before it died itself.

    No other process would continue them. Stopped processes of a runner that lives are left alone.
    """
    for pid, mark in _marked_processes():
        try:
            state, parent = _stat(pid)
            if state == "T" and not _has_runner(parent, mark):
                os.kill(pid, signal.SIGCONT)
        except OSError:
            pass  # it has ended, or this process may not signal it


def _has_runner(pid: int, mark: int) -> bool:
    """Whether the first process without the mark, from this one upwards, is a runner."""
    while _mark_of(pid) == mark:
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


def _marks() -> Iterator[int]:
    """One mark for each tree, each lower than the one before.

    The first one is random, because other runners may run on this machine, perhaps as commands of
    this one. It is at most the runner's own limit, which only root could raise.
    """
    _, own = resource.getrlimit(resource.RLIMIT_RTTIME)
    highest = _HIGHEST_MARK if own == resource.RLIM_INFINITY else min(own, _HIGHEST_MARK)
    return count(highest - int.from_bytes(os.urandom(8)) % (highest // 2 + 1), -1)


def _marked_processes() -> Iterator[tuple[int, int]]:
    """The pids of all processes that have a mark, each with the mark."""
    for name in os.listdir("/proc"):
        if name.isdecimal():
            mark = _mark_of(int(name))
            if mark is not None:
                yield int(name), mark


def _mark_of(pid: int) -> int | None:
    """None if the process has no mark, or has ended."""
    try:
        limit = resource.prlimit(pid, resource.RLIMIT_RTTIME)[1]
    except PermissionError:  # another user's process, and this one is not root outside containers
        limit = _limit_in_proc(pid)
    except OSError:
        return None
    return limit if limit >= _LOWEST_MARK else None


def _limit_in_proc(pid: int) -> int:
    """The same limit from /proc, which every user may read; this takes several times as long."""
    try:
        with open(f"/proc/{pid}/limits", "rb") as file:
            limits = file.read()
    except OSError:
        return resource.RLIM_INFINITY
    _, _, line = limits.partition(b"Max realtime timeout")
    hard = line.split()[1:2]
    return int(hard[0]) if hard and hard[0].isdigit() else resource.RLIM_INFINITY


_serial = _marks()
