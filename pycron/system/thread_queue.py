"""What other threads hand to the thread of an event loop."""

import os
import queue
from typing import Generic, TypeVar

T = TypeVar("T")


class ThreadQueue(Generic[T]):
    """`fileno` can be read from while `take` has something to return."""

    def __init__(self) -> None:
        self._items: queue.SimpleQueue[T] = queue.SimpleQueue()
        self._event = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)

    def fileno(self) -> int:
        return self._event

    def put(self, item: T) -> None:
        """From any thread."""
        self._items.put(item)
        os.eventfd_write(self._event, 1)

    def take(self) -> list[T]:
        """All that has come since the last call."""
        try:
            os.eventfd_read(self._event)
        except BlockingIOError:
            pass
        taken = []
        while not self._items.empty():
            taken.append(self._items.get())
        return taken
