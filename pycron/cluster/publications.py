"""When Runs of queue Jobs are published, if this host knows a broker.

The database says which rows are due, and any agent may publish them. A broker that cannot be
reached is tried with one message at a time: other hosts, which may reach it, publish the rest.

Pure: it uses no clock.
"""

import math

from pycron.cluster.calls import Publish, Published

_AGAIN = 10.0  # seconds between two tries of a broker that could not be reached


class Publications:
    """All instants are seconds of BOOTTIME. `problem`: what keeps messages from being sent."""

    def __init__(self, *, has_broker: bool) -> None:
        self.problem: str | None = None
        self._has_broker = has_broker
        self._at = math.inf
        self._not_before = -math.inf

    def due_in(self, seconds: float | None, now: float) -> None:
        """The database has said when the next row is due."""
        self._at = math.inf if seconds is None else now + seconds

    def published(self, answer: Published, now: float) -> None:
        self.due_in(answer.publish_in, now)
        if self.problem is not None:
            self._not_before = now + _AGAIN

    def next_at(self) -> float:
        """When there is something to publish; infinity if there is nothing, or no broker."""
        return max(self._at, self._not_before) if self._has_broker else math.inf

    def next_call(self, now: float) -> Publish | None:
        if now < self.next_at():
            return None
        return Publish() if self.problem is None else Publish(most=1)
