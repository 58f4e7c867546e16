"""Marks: how the processes of an Attempt are recognized where there is no cgroup.

Every process of an Attempt has its mark: a number that is stored as the limit of its real-time CPU
time (RLIMIT_RTTIME, in microseconds: tens of thousands of years, so it limits nothing). Children
inherit it, also through setsid, a double fork and `env -i`; only root can raise such a limit again.
A process that lowers its own limit still further is not recognized any more.

Everybody can read a mark and take it, so the mark alone proves nothing; see TreeSearch.

Imported by the runner: it stays small.
"""

import os
import resource
from collections.abc import Iterable, Iterator, Mapping
from itertools import count
from typing import NamedTuple, Protocol

_HIGHEST = 2**62
_LOWEST = 2**32  # a lower limit may be meant as one
_READ = 4096  # bytes: more than the files of /proc have that are read here


def next_mark(owner: int) -> int:
    """A new mark for a tree of this user (uid), lower than the mark before.

    Every mark of root is higher than every other mark. So a descendant of another user's command
    cannot have a mark of root, not even as a setuid program.
    """
    return next(_marks_of_root if owner == 0 else _marks_of_others)


def take_mark(mark: int) -> None:
    """Give the calling process a mark; a process that is not root's can only take a lower one."""
    resource.setrlimit(resource.RLIMIT_RTTIME, (mark, mark))


def mark_of(pid: int) -> int | None:
    """None if the process has no mark, or has ended."""
    try:
        limit = resource.prlimit(pid, resource.RLIMIT_RTTIME)[1]
    except PermissionError:  # another user's process, and this one is not root outside containers
        limit = _limit_in_proc(pid)
    except OSError:
        return None
    return limit if limit >= _LOWEST else None


class Tree(Protocol):
    """What a search has to know of a tree.

    `owner`: the real uid of its command; None: any. `runner`: the pid of the runner, whose child
    every process is that descends from a command and has lost its parent; 0 if it has died.
    `known`: processes that belong to the tree whatever they are now, by pid, with their start (in
    clock ticks since the boot); None: the pid cannot have been reused.
    """

    @property
    def mark(self) -> int: ...
    @property
    def owner(self) -> int | None: ...
    @property
    def runner(self) -> int: ...
    @property
    def known(self) -> Mapping[int, int | None]: ...


class Process(NamedTuple):
    """A process that has a mark. `started`: in clock ticks since the boot."""

    pid: int
    mark: int
    parent: int
    started: int


class TreeSearch:
    """Finds the processes of trees. A process belongs to a tree if it has its mark, and

    * its parent belongs to the tree, or
    * its parent is the runner (or the runner has died), and its real user is the owner of the tree.
    """

    def __init__(self, trees: Iterable[Tree]) -> None:
        self._trees = {tree.mark: tree for tree in trees}
        self._found: dict[int, Process | None] = {}  # None: belongs to no tree

    def step(self) -> Iterator[Process | None]:
        """The processes of the trees, and None for each other process, so that a caller can pause.

        The newest come first, because a process that forks all the time exists for a moment only.
        """
        for name in reversed(os.listdir("/proc") if self._trees else ()):
            yield self._member(int(name)) if name.isdecimal() else None

    def all(self) -> dict[int, dict[int, int]]:
        """All processes of each tree, by its mark: the start of each, by its pid."""
        found: dict[int, dict[int, int]] = {mark: {} for mark in self._trees}
        for process in self.step():
            if process is not None:
                found[process.mark][process.pid] = process.started
        return found

    def _member(self, pid: int) -> Process | None:
        """Climb to the first process that is decided, and decide downwards from there."""
        path: list[Process] = []
        while pid not in self._found:
            self._found[pid] = None  # until it is decided; also if pids were reused in a circle
            process = self._marked(pid)
            if process is None:
                break
            path.append(process)
            pid = process.parent
        above = self._found.get(pid)
        for process in reversed(path):
            below = above is not None and above.mark == process.mark
            above = process if below or self._belongs(process) else None
            self._found[process.pid] = above
        return above if path else self._found[pid]

    def _marked(self, pid: int) -> Process | None:
        """None if the process has none of the marks, or has ended."""
        mark = mark_of(pid)
        return None if mark is None or mark not in self._trees else _process(pid, mark)

    def _belongs(self, process: Process) -> bool:
        """Whether a process belongs to its tree though its parent does not."""
        tree = self._trees[process.mark]
        if tree.known.get(process.pid, -1) in (None, process.started):
            return True
        parent = process.parent
        if tree.runner and parent != tree.runner:
            now = _process(process.pid, process.mark)  # its parent may have ended meanwhile
            parent = now.parent if now else 0
        may = tree.runner in (0, parent)
        return may and (tree.owner is None or tree.owner == _real_user(process.pid))


def start_of(pid: int) -> int | None:
    """When a process started, in clock ticks since the boot; None if it has ended.

    A pid and its start name a process for good.
    """
    process = _process(pid, 0)
    return process.started if process else None


def _process(pid: int, mark: int) -> Process | None:
    """proc_pid_stat(5); None if the process has ended."""
    fields = _read(f"/proc/{pid}/stat").rpartition(b")")[2].split()
    return Process(pid, mark, int(fields[1]), int(fields[19])) if fields else None


def _real_user(pid: int) -> int | None:
    """proc_pid_status(5); None if the process has ended."""
    _, _, uids = _read(f"/proc/{pid}/status").partition(b"\nUid:")
    return int(uids.split(None, 1)[0]) if uids else None


def _limit_in_proc(pid: int) -> int:
    """The same limit from /proc, which every user may read; this takes several times as long."""
    _, _, line = _read(f"/proc/{pid}/limits").partition(b"Max realtime timeout")
    hard = line.split()[1:2]
    return int(hard[0]) if hard and hard[0].isdigit() else resource.RLIM_INFINITY


def _read(path: str) -> bytes:
    """Empty if the process has ended."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        return os.read(descriptor, _READ)
    except OSError:
        return b""
    finally:
        os.close(descriptor)


def _descending() -> tuple[Iterator[int], Iterator[int]]:
    """Marks of root, and those of others, which are lower than a half of the highest.

    The first marks are random, because other runners may run on this machine. Such a runner may be
    a command of this one. The first mark is at most this process's own limit, which only root could
    raise.
    """
    _, own = resource.getrlimit(resource.RLIMIT_RTTIME)
    highest = _HIGHEST if own == resource.RLIM_INFINITY else min(own, _HIGHEST)
    first = highest - int.from_bytes(os.urandom(8)) % (highest // 4 + 1)
    return count(first, -1), count(first // 2, -1)


_marks_of_root, _marks_of_others = _descending()
