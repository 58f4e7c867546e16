"""Slots: each is taken by one Run from the message until its Attempt has ended.

A message that finds no free slot waits here without an acknowledgement, and the broker gives the
worker no further one of its queue meanwhile. All methods but `call` belong to the main thread.
"""

import heapq
import select
import threading
from collections.abc import Callable
from itertools import count
from typing import NamedTuple

from pycron.protocol.work_messages import WorkRequest
from pycron.system.thread_queue import ThreadQueue

Call = Callable[[], None]


class Waiting(NamedTuple):
    """A message: its queue's rank (0 is the most urgent), and its number among all messages.

    `accept` acknowledges it.
    """

    rank: int
    number: int
    request: WorkRequest
    accept: Call


class Slots:
    """`work` lets the daemon run something and returns when it is over; it is called in a thread.

    While the slots are not `open`, as without a daemon, nothing is begun. `fileno` can be read from
    when `turn` has something to do.
    """

    def __init__(self, size: int, work: Callable[[WorkRequest], None]) -> None:
        self.open = True
        self._size = size
        self._work = work
        self._taken = 0
        self._waiting: list[Waiting] = []
        self._numbers = count()
        self._calls: ThreadQueue[Call] = ThreadQueue()

    def fileno(self) -> int:
        return self._calls.fileno()

    @property
    def taken(self) -> int:
        """How many slots are taken."""
        return self._taken

    def offer(self, rank: int, request: WorkRequest, accept: Call) -> None:
        """Begin with this, as soon as there is a slot for it."""
        heapq.heappush(self._waiting, Waiting(rank, next(self._numbers), request, accept))
        self._begin()

    def forget(self) -> None:
        """The broker takes back what was not acknowledged: the connection has ended."""
        self._waiting.clear()

    def call(self, function: Call) -> None:
        """From any thread: call this in the main thread."""
        self._calls.put(function)

    def turn(self) -> None:
        """Do what other threads have asked for, and fill the slots that have become free."""
        for function in self._calls.take():
            function()
        self._begin()

    def wait(self) -> None:
        """Begin nothing more, and wait until all slots are free."""
        self.open = False
        changes = select.poll()
        changes.register(self._calls, select.POLLIN)
        while self._taken:
            changes.poll()
            self.turn()

    def _begin(self) -> None:
        while self.open and self._waiting and self._taken < self._size:
            message = heapq.heappop(self._waiting)
            message.accept()
            self._taken += 1
            threading.Thread(target=self._run, args=(message.request,), daemon=True).start()

    def _run(self, request: WorkRequest) -> None:
        try:
            self._work(request)
        finally:
            self.call(self._free)

    def _free(self) -> None:
        self._taken -= 1
