"""Marks: how the runner recognizes the processes of an Attempt.

Every process of an Attempt has its mark: a number that is stored as the limit of its real-time CPU
time (RLIMIT_RTTIME, in microseconds: tens of thousands of years, so it limits nothing). Children
inherit it, also through setsid, a double fork and `env -i`; only root can raise such a limit again.
A process that lowers its own limit still further is not recognized any more.

Imported by the runner: it stays small.
"""

import os
import resource
from collections.abc import Iterable, Iterator
from itertools import count

_HIGHEST = 2**62
_LOWEST = 2**32  # a lower limit may be meant as one


def next_mark() -> int:
    """A new mark, lower than the one before."""
    return next(_new_marks)


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


def marked_processes() -> Iterator[tuple[int, int]]:
    """The pids of all processes that have a mark, each with the mark."""
    for name in os.listdir("/proc"):
        if name.isdecimal():
            mark = mark_of(int(name))
            if mark is not None:
                yield int(name), mark


def pids_by_mark(marks: Iterable[int]) -> dict[int, set[int]]:
    """The pids of all processes with each of these marks, from one scan of /proc."""
    found: dict[int, set[int]] = {mark: set() for mark in marks}
    for pid, mark in marked_processes() if found else ():
        if mark in found:
            found[mark].add(pid)
    return found


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


def _descending() -> Iterator[int]:
    """The first mark is random, because other runners may run on this machine.

    Such a runner may be a command of this one. The first mark is at most this process's own limit,
    which only root could raise.
    """
    _, own = resource.getrlimit(resource.RLIMIT_RTTIME)
    highest = _HIGHEST if own == resource.RLIM_INFINITY else min(own, _HIGHEST)
    return count(highest - int.from_bytes(os.urandom(8)) % (highest // 2 + 1), -1)


_new_marks = _descending()
