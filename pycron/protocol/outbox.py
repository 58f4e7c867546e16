"""Bytes that wait until a non-blocking socket takes them.

Imported by the runner: it stays small.
"""

import socket
from collections.abc import Callable


class Outbox:
    """The bytes that are still to be sent on one non-blocking connection.

    `wait_to_send` is called with True when the socket takes no more bytes: the caller then waits
    until the socket can be written to, and calls `send` again. It is called with False when
    nothing waits any more. True if and only if bytes wait.
    """

    def __init__(self, connection: socket.socket, wait_to_send: Callable[[bool], None]) -> None:
        self._connection = connection
        self._wait_to_send = wait_to_send
        self._bytes = bytearray()
        self._waits = False

    def __bool__(self) -> bool:
        return bool(self._bytes)

    def put(self, data: bytes) -> None:
        """Add the data; `send` sends it."""
        self._bytes += data

    def send(self, *, more: bool = False) -> None:
        """Send as much as the socket takes now; raises OSError if the connection has ended.

        `more`: the caller will have more to send when the socket can be written to again, so
        `wait_to_send` is called with True even if all bytes were sent.
        """
        try:
            while self._bytes:
                del self._bytes[: self._connection.send(self._bytes)]
        except BlockingIOError:
            pass
        waits = more or bool(self._bytes)
        if waits != self._waits:
            self._waits = waits
            self._wait_to_send(waits)
