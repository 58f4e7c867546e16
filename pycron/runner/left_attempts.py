"""The Attempts whose commands a killed runner has left: they are ended, then reported as lost.

Imported by the runner: it stays small.
"""

from collections.abc import Sequence

from pycron.protocol.runner_messages import AttemptMessage
from pycron.runner.daemon_connection import DaemonConnection
from pycron.runner.running_file import Left
from pycron.runner.tree_limits import TreeLimits

_REASON = "the runner died; nobody knows how the command ended"


class LeftAttempt:
    """`lost`: whether its processes have ended."""

    def __init__(self, left: Left) -> None:
        self.id = left.id
        self.tree = left.tree
        self.lost = False

    def message(self) -> AttemptMessage:
        if self.lost:
            return {"type": "lost", "id": self.id, "reason": _REASON}
        return {"type": "starting", "id": self.id}


class LeftAttempts:
    """All of them, until the daemon has acknowledged that they are lost."""

    def __init__(
        self, daemon: DaemonConnection, tree_limits: TreeLimits, left: Sequence[Left]
    ) -> None:
        self._daemon = daemon
        self._by_id = {each.id: LeftAttempt(each) for each in left}
        for each in left:
            tree_limits.end_left(each.tree, each.kill_after)

    def __len__(self) -> int:
        return len(self._by_id)

    def __contains__(self, id: str) -> bool:
        return id in self._by_id

    def messages(self) -> list[AttemptMessage]:
        return [attempt.message() for attempt in self._by_id.values()]

    def forget(self, id: str) -> None:
        if id in self._by_id and self._by_id[id].lost:
            del self._by_id[id]

    def step(self) -> None:
        """Tell the daemon of those whose processes have ended; called after TreeLimits.tend()."""
        for attempt in self._by_id.values():
            if not attempt.lost and attempt.tree.over:
                attempt.lost = True
                self._daemon.tell(attempt)
