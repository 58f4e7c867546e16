"""The daemon as the second watcher of the lease: it kills what the runner has not ended in time.

The runner ends shared Attempts when the lease is over (runner/lease_watch.py). If it cannot,
because it is stopped or hangs, other hosts still rely on the end of these commands.
"""

import math
import os
import signal
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import NamedTuple

from pycron.engine.actions import Log
from pycron.engine.engine import Engine
from pycron.engine.log_events import Event
from pycron.model.run import AttemptKey
from pycron.model.shared import Hold
from pycron.system import lease_file
from pycron.system.cgroup import Cgroup
from pycron.system.marks import TreeSearch
from pycron.system.paths import Paths
from pycron.system.running_lines import TreeLine, left

_INTERVAL = 1.0  # seconds between two looks
_LOOK = 1.0  # seconds in which the runner notices that the lease is over
_LONGEST_KILL_AFTER = 10  # seconds from TERM to KILL, as the runner has it
_PATIENCE = 1.5  # seconds after KILL was due


class _Tree(NamedTuple):
    """What a search by marks has to know; see marks.Tree."""

    mark: int
    owner: int | None
    runner: int
    known: Mapping[int, int | None]


class SecondWatcher:
    """Looks every second while shared Attempts run here. `runner`: the pid of the runner."""

    def __init__(
        self, engine: Engine, paths: Paths, runner: Callable[[], int | None],
        log: Callable[[Log], None],
    ) -> None:  # fmt: skip
        self._engine = engine
        self._paths = paths
        self._runner = runner
        self._log = log
        self._due = 0.0  # all instants here are seconds of CLOCK_BOOTTIME
        self._deadlines: dict[str, float] = {}  # by incarnation: what was read last
        self._kill_at: dict[AttemptKey, float] = {}

    def patience(self) -> float:
        """Seconds until the next look; infinity while nothing shared runs."""
        return max(0.0, self._due - lease_file.now()) if self._kill_at else math.inf

    def look(self) -> None:
        """Kill what should have ended."""
        now = lease_file.now()
        if now < self._due:
            return
        self._due = now + _INTERVAL
        running = self._engine.shared.held.running()
        if not running:
            self._kill_at.clear()
            self._deadlines.clear()
            return
        lease = lease_file.read(str(self._paths.lease))
        before, self._kill_at = self._kill_at, {}
        for hold, kill_after in running:
            at = self._when(hold, kill_after, lease, now)
            self._kill_at[hold.attempt] = min(at, before.get(hold.attempt, math.inf))
            if lease is not None and lease.incarnation == hold.incarnation:
                self._kill_at[hold.attempt] = at  # it was renewed
        overdue = [hold for hold, _ in running if self._kill_at[hold.attempt] <= now]
        if overdue:
            self._kill(overdue)

    def _when(
        self, hold: Hold, kill_after: int, lease: lease_file.Lease | None, now: float
    ) -> float:
        """When the daemon kills an Attempt unless it has ended by then, or the lease is renewed."""
        if lease_file.is_void(lease, hold.incarnation):
            return now + _LOOK + _PATIENCE
        if lease is not None:
            self._deadlines[hold.incarnation] = lease.deadline
        deadline = self._deadlines.setdefault(hold.incarnation, now)
        return deadline + _LOOK + min(kill_after, _LONGEST_KILL_AFTER) + _PATIENCE

    def _kill(self, holds: list[Hold]) -> None:
        trees = self._trees()
        found = [tree for hold in holds if (tree := trees.get(str(hold.attempt))) is not None]
        runner = self._runner() or 0
        by_mark = [
            _Tree(tree.mark, tree.owner, runner, {})
            for tree in found
            if tree.cgroup is None or not Cgroup(tree.cgroup).kill()
        ]
        killed = len(found) - len(by_mark)
        for members in TreeSearch(by_mark).all().values():
            killed += bool(members)
            for pid in members:
                with suppress(OSError):
                    os.kill(pid, signal.SIGKILL)
        if killed:
            reason = f"the runner did not end {killed} shared commands in time; they were killed"
            self._log(Log(Event.AGENT_LOG, {"reason": reason}, bad=True))

    def _trees(self) -> dict[str, TreeLine]:
        """By the id of the Attempt, what the runner has written."""
        try:
            with self._paths.running.open(encoding="utf-8", errors="surrogateescape") as lines:
                found, _ = left(lines)
        except OSError:
            return {}
        return {tree.id: tree for tree in found.values()}
