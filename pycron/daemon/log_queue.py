"""The queue of the log: what is written to it never has to wait for who reads it.

The reader may be slow or may have stopped, the disk may be full, journald may hang. Then entries
wait here, up to a limit. Beyond it they are dropped: the output of commands first, the daemon's own
events when they alone need too much. When the log moves again, an event says how much is missing.
"""

import math
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

from pycron.engine.actions import Log, LogEntry, Printed
from pycron.engine.log_events import Event

MOST_OUTPUT = 4 * 2**20  # bytes that wait, beyond which output is dropped
MOST = 2 * MOST_OUTPUT  # beyond which everything is dropped
_ENOUGH_OUTPUT = 2**18  # bytes, with which commands should wait before they print more
_STANDSTILL = 1.0  # seconds without a write, after which they no longer wait
_RETRY = 0.001, 0.25  # seconds until the next try: the first time, at most
_SLICE = 0.005  # seconds of writing, after which other work has its turn
_AT_END = 5.0  # seconds for what waits when the daemon ends
_OVERHEAD = 200  # bytes of memory for an entry, about


class Transport(Protocol):
    """Where entries go."""

    def write(self, data: bytes) -> int:
        """Take some of the bytes of an entry, and return how many; never wait.

        Raises OSError if none can be taken now.
        """

    def close(self) -> None:
        """Give back what was opened."""


@dataclass(frozen=True, slots=True)
class Encoding:
    """Entries and their time (UTC) as bytes: an event, and the lines of an output one by one."""

    event: Callable[[Log, float], bytes]
    output: Callable[[Printed, float], Iterator[bytes]]


class LogQueue:
    """One queue before one transport."""

    def __init__(self, transport: Transport, encoding: Encoding) -> None:
        self._transport = transport
        self._encoding = encoding
        self._entries: deque[tuple[int, Iterator[bytes]]] = deque()
        self._size = 0  # bytes of the entries that are not written
        self._rest = b""  # of what is being written
        self._lines = self._events = 0  # that were dropped and not told of
        self._stands_since = math.inf
        self._retry_at = 0.0
        self._delay = _RETRY[0]

    @property
    def takes_output(self) -> bool:
        """Whether commands may print more: little waits, or nothing is written any more."""
        return self._size <= _ENOUGH_OUTPUT or self._stands

    @property
    def _stands(self) -> bool:
        """Whether nothing was written for a while."""
        return time.monotonic() - self._stands_since > _STANDSTILL

    @property
    def patience(self) -> float:
        """Seconds until step() should be called; infinity if nothing waits."""
        if not self._entries:
            return math.inf
        return max(0.0, self._retry_at - time.monotonic())

    def put(self, entry: LogEntry) -> None:
        """Take an entry. An event is written at once if nothing waits; output is left to step().

        Only output can be so much that it would hold the daemon up.
        """
        if isinstance(entry, Log):
            self._put_event(entry)
        elif self._lines or self._size + len(entry.lines) > MOST_OUTPUT:
            # From the first line that is dropped until a half of the queue is written.
            self._lines += entry.lines.count(b"\n") + 1
        else:
            self._append(len(entry.lines), self._encoding.output(entry, time.time()))

    def step(self) -> None:
        """Write what can be written now, for a few milliseconds."""
        now = time.monotonic()
        if now < self._retry_at:
            return
        until = now + _SLICE
        try:
            while self._next():
                self._write()
                if time.monotonic() >= until and self._next():
                    break
        except OSError:
            self._wait()

    def close(self) -> None:
        """The daemon ends: write what waits, unless the log stands still."""
        until = time.monotonic() + _AT_END
        while self._entries and time.monotonic() < until:
            time.sleep(self.patience)
            self.step()
            if self._stands:
                break
        self._transport.close()

    def _put_event(self, event: Log) -> None:
        if self._size > MOST:
            self._events += 1
            return
        data = self._encoding.event(event, time.time())
        if self._entries:
            self._append(len(data), iter((data,)))
        else:
            self._write_at_once(data)

    def _write_at_once(self, data: bytes) -> None:
        """Write this if it is possible; what is left of it waits."""
        self._rest = data
        try:
            self._write()
        except OSError:
            self._wait()
        if self._rest:
            self._entries.append((0, iter(())))

    def _append(self, size: int, encoded: Iterator[bytes]) -> None:
        self._entries.append((size + _OVERHEAD, encoded))
        self._size += size + _OVERHEAD

    def _next(self) -> bool:
        """Take the next bytes that are to be written; False if there are none."""
        while self._entries and not self._rest:
            size, encoded = self._entries[0]
            self._rest = next(encoded, b"")
            if not self._rest:
                self._entries.popleft()
                self._size -= size
                self._tell_of_dropped()
        return bool(self._rest)

    def _write(self) -> None:
        taken = self._transport.write(self._rest)
        self._rest = self._rest[taken:]
        self._stands_since = math.inf
        self._delay = _RETRY[0]

    def _wait(self) -> None:
        now = time.monotonic()
        self._stands_since = min(self._stands_since, now)
        self._retry_at = now + self._delay
        self._delay = min(2 * self._delay, _RETRY[1])

    def _tell_of_dropped(self) -> None:
        if (self._lines or self._events) and self._size <= MOST_OUTPUT // 2:
            fields = {"lines": self._lines, "events": self._events}
            self._lines = self._events = 0
            dropped = self._encoding.event(Log(Event.LOG_DROPPED, fields, bad=True), time.time())
            self._append(len(dropped), iter((dropped,)))
