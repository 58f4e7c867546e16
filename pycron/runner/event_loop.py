"""Waits until a descriptor can be read from, or until an instant.

Imported by the runner: it stays small.
"""

import select
import time
from collections.abc import Callable

NEVER = float("inf")
_LONGEST_WAIT = 86_400.0  # seconds; epoll takes no more than 24 days


class EventLoop:
    """Calls the reader of each descriptor that can be read from, and has one alarm.

    If a descriptor has a writer, that is called when the descriptor can be written to.
    """

    def __init__(self) -> None:
        self._poll = select.epoll()
        self._readers: dict[int, Callable[[], None]] = {}
        self._writers: dict[int, Callable[[], None]] = {}
        self._alarm = NEVER

    def watch(
        self,
        descriptor: int,
        reader: Callable[[], None],
        writer: Callable[[], None] | None = None,
    ) -> None:
        self._readers[descriptor] = reader
        if writer is not None:
            self._writers[descriptor] = writer
        self._poll.register(descriptor, select.EPOLLIN)

    def watches(self, descriptor: int) -> bool:
        return descriptor in self._readers

    def wait_for(self, descriptor: int, events: int) -> None:
        """Change the events (EPOLLIN at first) that end a wait for a watched descriptor."""
        self._poll.modify(descriptor, events)

    def unwatch(self, descriptor: int) -> None:
        del self._readers[descriptor]
        self._writers.pop(descriptor, None)
        self._poll.unregister(descriptor)

    def wake_at(self, instant: float) -> None:
        """Set the alarm to an instant (monotonic), unless it is set to an earlier one."""
        self._alarm = min(self._alarm, instant)

    def alarm(self) -> bool:
        """Whether the instant of the alarm has come; the alarm is then no longer set."""
        if time.monotonic() < self._alarm:
            return False
        self._alarm = NEVER
        return True

    def turn(self, patience: float) -> None:
        """Wait for at most so many seconds, and call the readers that have something to read."""
        until_alarm = max(0.0, self._alarm - time.monotonic())
        for descriptor, events in self._poll.poll(min(patience, until_alarm, _LONGEST_WAIT)):
            if events & select.EPOLLOUT and descriptor in self._writers:
                self._writers[descriptor]()
            if events & ~select.EPOLLOUT and descriptor in self._readers:
                self._readers[descriptor]()
