"""What the runner waits for: descriptors that can be read, and the clock.

Imported by the runner: it stays small.
"""

import select
import time
from collections.abc import Callable

NEVER = float("inf")
_LONGEST_WAIT = 86_400.0  # seconds; epoll takes no more than 24 days


class EventLoop:
    """Who reads which descriptor, and an alarm."""

    def __init__(self) -> None:
        self._poll = select.epoll()
        self._readers: dict[int, Callable[[], None]] = {}
        self._alarm = NEVER

    def watch(self, descriptor: int, reader: Callable[[], None]) -> None:
        self._readers[descriptor] = reader
        self._poll.register(descriptor, select.EPOLLIN)

    def watches(self, descriptor: int) -> bool:
        return descriptor in self._readers

    def wait_for(self, descriptor: int, events: int) -> None:
        """Of one that is watched: what ends a wait from now on, EPOLLIN before."""
        self._poll.modify(descriptor, events)

    def unwatch(self, descriptor: int) -> None:
        del self._readers[descriptor]
        self._poll.unregister(descriptor)

    def wake_at(self, instant: float) -> None:
        """Set the alarm (monotonic), where it isn't set to an earlier instant."""
        self._alarm = min(self._alarm, instant)

    def alarm(self) -> bool:
        """Whether its instant has come; if so, it is not set any more."""
        if time.monotonic() < self._alarm:
            return False
        self._alarm = NEVER
        return True

    def turn(self, patience: float) -> None:
        """Wait for so many seconds at the most, and read what there is to be read."""
        until_alarm = max(0.0, self._alarm - time.monotonic())
        for descriptor, events in self._poll.poll(min(patience, until_alarm, _LONGEST_WAIT)):
            if events & ~select.EPOLLOUT and descriptor in self._readers:
                self._readers[descriptor]()
