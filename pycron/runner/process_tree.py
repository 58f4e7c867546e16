"""A command and everything that descends from it: who belongs to it, and how all of it is ended.

Every process of an Attempt bears its mark: a number that stands in the limit of its real-time CPU
time (RLIMIT_RTTIME, in microseconds: tens of thousands of years, so it limits nothing). Children
inherit it, and it outlasts setsid, a double fork and `env -i`; only root can raise such a limit
again. A process that lowers its own limit still further gets out. What has a cgroup is found there
as well.

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
_LOWEST_MARK = 2**32  # what is below may be somebody's real limit
_FIRST_PACE = 0.05  # seconds, after the first SIGKILL
_LAST_PACE = 1.0
_PAGE = resource.getpagesize()


class Tree:
    """The processes of one Attempt.

    `leader` is the pid of the command itself, 0 when it has none (yet, or any more). `due` is the
    instant (monotonic) of the next step of its end; NEVER while nobody wants to end it.
    """

    __slots__ = ("_asked", "_kill_at", "_pace", "_stopped", "cgroup", "due", "leader", "mark")

    def __init__(self) -> None:
        self.mark = next(_serial)
        self.cgroup: Cgroup | None = None
        self.leader = 0
        self.due = NEVER
        self._kill_at = NEVER
        self._asked = False
        self._stopped: frozenset[int] = frozenset()
        self._pace = _FIRST_PACE

    def join(self, door: int) -> None:
        """The calling process, and whatever it starts from now on, belongs here.

        `door`: what open_door() of its cgroup has returned. Without root's access, a process can go
        from one tree to a later one only, whose mark is lower.
        """
        resource.setrlimit(resource.RLIMIT_RTTIME, (self.mark, self.mark))
        if self.cgroup is not None:
            self.cgroup.enter(door)

    @property
    def ending(self) -> bool:
        return self._kill_at < NEVER

    @property
    def memory_is_limited(self) -> bool:
        """By the kernel, that is; a command that could not enter its cgroup has an empty one."""
        return self.cgroup is not None and self.cgroup.limits_memory and self.cgroup.populated()

    @property
    def processes_are_limited(self) -> bool:
        """By the kernel, for this tree alone."""
        return self.cgroup is not None and self.cgroup.limits_processes

    def end(self, now: float, kill_after: float) -> None:
        """SIGTERM now, SIGKILL so many seconds later; told twice, the earlier SIGKILL holds."""
        self._kill_at = min(self._kill_at, now + kill_after)
        self.due = now

    def step(self, marked: set[int], now: float) -> bool:
        """Go on with its end; False when nothing of it is left. `marked`: who bears its mark.

        All of it is stopped before anything else is sent. Who is being looked for could otherwise
        fork in the meantime, and what forks all the time could grow again while it is killed.
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
        if self._asked and not killing:
            self.due = self._kill_at
        elif running:
            self._send(running, signal.SIGSTOP)
            self._stopped |= running
            self.due = now
        elif killing:
            self._send(members, signal.SIGKILL)
            self._stopped = frozenset()
            self._pace = min(2 * self._pace, _LAST_PACE)
            self.due = now + self._pace
        else:
            self._send(members, signal.SIGTERM)
            self._send(members, signal.SIGCONT)
            self._stopped = frozenset()
            self._asked = True
            self.due = self._kill_at
        return True

    def wake(self, marked: set[int]) -> None:
        """SIGCONT to those who bear its mark."""
        self._send(marked, signal.SIGCONT)

    def _send(self, pids: Iterable[int], number: signal.Signals) -> None:
        """To those that are still the same processes: a pid may be another's by now.

        The open handle keeps pointing at one process, whose mark is looked at after it was opened.
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
        """The leader is the runner's child: its pid is nobody else's before it is waited for."""
        ours = pid == self.leader or _mark_of(pid) == self.mark
        return ours or (self.cgroup is not None and self.cgroup.has(pid))


def marked(marks: Iterable[int]) -> dict[int, set[int]]:
    """The pids of all processes with these marks: one look for all of them."""
    found: dict[int, set[int]] = {mark: set() for mark in marks}
    for pid, mark in _bearers() if found else ():
        if mark in found:
            found[mark].add(pid)
    return found


def wake_orphans() -> None:
    """What a runner has stopped that died before it could end it goes on, as all that it had did.

    Nobody else would ever wake it. What is stopped below a runner that lives is its own affair.
    """
    for pid, mark in _bearers():
        try:
            state, parent = _stat(pid)
            if state == "T" and not _has_runner(parent, mark):
                os.kill(pid, signal.SIGCONT)
        except OSError:
            pass  # it has ended, or is not ours to wake


def _has_runner(pid: int, mark: int) -> bool:
    """Whether the first one from here upwards that does not bear the mark is a runner."""
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
    """Bytes of memory that these processes have, without files and what is shared as such."""
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
    """One for each tree, each lower than the one before.

    From somewhere at random, because other runners may be at work here, perhaps as the command of
    this one; below the runner's own limit, which it could not raise where it isn't root.
    """
    _, own = resource.getrlimit(resource.RLIMIT_RTTIME)
    highest = _HIGHEST_MARK if own == resource.RLIM_INFINITY else min(own, _HIGHEST_MARK)
    return count(highest - int.from_bytes(os.urandom(8)) % (highest // 2 + 1), -1)


def _bearers() -> Iterator[tuple[int, int]]:
    """All processes that bear a mark: their pids, and which."""
    for name in os.listdir("/proc"):
        if name.isdecimal():
            mark = _mark_of(int(name))
            if mark is not None:
                yield int(name), mark


def _mark_of(pid: int) -> int | None:
    """None where it bears none, or has ended."""
    try:
        limit = resource.prlimit(pid, resource.RLIMIT_RTTIME)[1]
    except PermissionError:  # another user's, for who isn't root or is it in a container only
        limit = _limit_in_proc(pid)
    except OSError:
        return None
    return limit if limit >= _LOWEST_MARK else None


def _limit_in_proc(pid: int) -> int:
    """The same limit where anybody may read it, which takes several times as long."""
    try:
        with open(f"/proc/{pid}/limits", "rb") as file:
            limits = file.read()
    except OSError:
        return resource.RLIM_INFINITY
    _, _, line = limits.partition(b"Max realtime timeout")
    hard = line.split()[1:2]
    return int(hard[0]) if hard and hard[0].isdigit() else resource.RLIM_INFINITY


_serial = _marks()
