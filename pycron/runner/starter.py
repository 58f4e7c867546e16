"""The starters: processes that start commands, and what their users do to them.

A starter runs as the user whose commands it starts, so that user can stop and kill it.

Imported by the runner: it stays small.
"""

import os
import signal
import time
from collections.abc import Iterator

from pycron.runner.attempt import Attempt, User
from pycron.runner.batch import Batch
from pycron.runner.event_loop import NEVER
from pycron.system.marks import TreeSearch

STARTERS = 2 * (os.cpu_count() or 1)  # at a time, of one user
_OVERDUE = 1.0  # seconds after which a starter should have come to its end
_SLOW = 1.0  # seconds for which a user who has killed a starter counts as slow


class Starter:
    """A starter process and its batch.

    `next`: the first of its Attempts that is not known to be started. `since`: the instant
    (monotonic) at which it began; NEVER while it waits for its go message. `lines`: what the
    running file says of its Attempts when it is released.
    """

    __slots__ = ("attempts", "batch", "hold", "lines", "next", "since", "user")

    def __init__(self, batch: Batch, attempts: list[Attempt]) -> None:
        self.batch = batch
        self.attempts = attempts
        self.user = attempts[0].user
        self.hold = attempts[0].hold
        self.next = 0
        self.lines: list[tuple[int, str]] = []
        self.since = NEVER if batch.waits else time.monotonic()

    @property
    def waits(self) -> bool:
        """Whether it has not been released yet."""
        return self.since == NEVER

    @property
    def left(self) -> int:
        """How many Attempts are not known to be started."""
        return len(self.attempts) - self.next

    def release(self, at: float) -> None:
        """Let it begin at this instant (UTC)."""
        self.batch.release(at)
        self.since = time.monotonic()

    @property
    def overdue(self) -> bool:
        """Whether its user has stopped it, or a file system keeps it waiting."""
        return time.monotonic() - self.since > _OVERDUE


class StarterProcesses:
    """All starters by their pid, and which users may have another one."""

    def __init__(self) -> None:
        self._by_pid: dict[int, Starter] = {}
        self._killed: dict[User, float] = {}  # users whose starter was killed: when (monotonic)
        self._wake_due = 0.0

    def __len__(self) -> int:
        return len(self._by_pid)

    def __contains__(self, pid: int) -> bool:
        return pid in self._by_pid

    def __getitem__(self, pid: int) -> Starter:
        return self._by_pid[pid]

    def __iter__(self) -> Iterator[Starter]:
        return iter(list(self._by_pid.values()))

    def add(self, pid: int, starter: Starter) -> None:
        self._by_pid[pid] = starter

    def remove(self, pid: int, *, killed: bool) -> None:
        """The process has ended; `killed`: before it had started all its commands."""
        starter = self._by_pid.pop(pid)
        if killed:
            self._killed[starter.user] = time.monotonic()

    @property
    def working(self) -> list[Starter]:
        """Those that are starting commands: they neither wait to be released nor are overdue."""
        return [each for each in self._by_pid.values() if not (each.overdue or each.waits)]

    @property
    def have_room(self) -> bool:
        """Whether another starter may work."""
        return len(self.working) < 2 * STARTERS

    def barred_users(self) -> set[User]:
        """The users whose commands get no further starter now.

        If as many starters work as there should be, every user who has one is barred, so that no
        user waits for another user's commands. A slow user has one starter at a time.
        """
        slow = self.slow_users()
        users = [starter.user for starter in self.working]
        return {user for user in users if len(users) >= STARTERS or user in slow}

    def slow_users(self) -> set[User]:
        """The users whose starters are overdue, or were killed a moment ago."""
        now = time.monotonic()
        self._killed = {user: when for user, when in self._killed.items() if when > now - _SLOW}
        return {each.user for each in self._by_pid.values() if each.overdue} | self._killed.keys()

    def wake_overdue(self) -> None:
        """Continue overdue starters that their users have stopped, once a second at most.

        The process that is about to become a command is continued, too: the runner can neither end
        a command nor measure its time before it knows its pid.
        """
        now = time.monotonic()
        overdue = {pid: each for pid, each in self._by_pid.items() if each.overdue}
        if not overdue or now < self._wake_due:
            return
        self._wake_due = now + _OVERDUE
        begun = [each.attempts[each.next].tree for each in overdue.values() if each.left > 0]
        members = TreeSearch(tree for tree in begun if tree.cgroup is None).all()
        for tree in begun:
            tree.wake(members.get(tree.mark, {}))
        for pid in overdue:
            os.kill(pid, signal.SIGCONT)
