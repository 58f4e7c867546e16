"""The lease of shared Attempts: they are ended when it is over, with or without a daemon.

Only the agent of the cluster writes the lease file. The runner reads it before each start
(spawn.py) and every second while there is a shared Attempt.

Imported by the runner: it stays small.
"""

import time
from collections.abc import Callable, Iterable

from pycron.protocol.runner_messages import EndMessage
from pycron.runner.attempt import Attempt
from pycron.runner.event_loop import NEVER, EventLoop
from pycron.system import lease_file

LONGEST_KILL_AFTER = 10  # seconds from TERM to KILL: other hosts rely on it
_INTERVAL = 1.0  # seconds between two looks: other hosts rely on it, too
_OVER = "the lease of this host was over (it could not reach the database of the cluster)"
_FENCED = "this host was shut out of its cluster"


def has_lapsed(attempt: Attempt) -> bool:
    """Whether an Attempt may not be started, as far as its lease is concerned."""
    if attempt.lease is None:
        return False
    found = lease_file.read(attempt.lease["file"])
    return not lease_file.may_run(found, attempt.lease["incarnation"], lease_file.now())


class LeaseWatch:
    """`end` ends an Attempt: the first cause and the earliest KILL hold."""

    def __init__(self, loop: EventLoop, end: Callable[[EndMessage], None]) -> None:
        self._loop = loop
        self._end = end
        self._due = NEVER  # monotonic
        self._last: dict[tuple[str, str], lease_file.Lease] = {}  # by file and incarnation
        self._ended: dict[str, int] = {}  # the Attempts that are being ended: their kill_after

    def begin(self) -> None:
        """There is a shared Attempt: look at its lease within a second."""
        if self._due == NEVER:
            self._due = time.monotonic() + _INTERVAL
        self._loop.wake_at(self._due)

    def tend(self, attempts: Iterable[Attempt]) -> None:
        """Look at the leases, if that is due. `attempts`: those that have not ended."""
        now = time.monotonic()
        if now < self._due:
            self._loop.wake_at(self._due)
            return
        leased = [attempt for attempt in attempts if attempt.lease is not None]
        files: dict[str, lease_file.Lease | None] = {}
        for attempt in leased:
            self._look(attempt, files)
        known = {attempt.id for attempt in leased}
        self._ended = {key: after for key, after in self._ended.items() if key in known}
        self._due = now + _INTERVAL if leased else NEVER
        if not leased:
            self._last.clear()
        self._loop.wake_at(self._due)

    def _look(self, attempt: Attempt, files: dict[str, lease_file.Lease | None]) -> None:
        assert attempt.lease is not None
        path, incarnation = attempt.lease["file"], attempt.lease["incarnation"]
        if path not in files:
            files[path] = lease_file.read(path)
        found = files[path]
        if lease_file.is_void(found, incarnation):
            self._end_once(attempt, _FENCED, 0)
            return
        if found is not None:
            self._last[path, incarnation] = found
        # A file that cannot be read says nothing: the deadline that was read last holds.
        last = self._last.get((path, incarnation))
        if not lease_file.may_run(last, incarnation, lease_file.now()):
            self._end_once(attempt, _OVER, min(attempt.kill_after, LONGEST_KILL_AFTER))

    def _end_once(self, attempt: Attempt, reason: str, kill_after: int) -> None:
        if self._ended.get(attempt.id, kill_after + 1) <= kill_after:
            return
        self._ended[attempt.id] = kill_after
        message: EndMessage = {
            "type": "end", "id": attempt.id, "cause": "lease", "reason": reason,
            "kill_after": kill_after,
        }  # fmt: skip
        self._end(message)
