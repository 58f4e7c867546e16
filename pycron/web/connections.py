"""The connections of browsers: how many there may be, and how slow they may be.

uvicorn has no time-out for a request that never ends, and no limit of connections.
"""

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

_MOST = 256  # connections
_PATIENCE = 15.0  # seconds from the first byte, or the connection, to the end of a request


class Connection(H11Protocol):
    """A connection of a browser.

    If there are too many, the one that has been without a request for the longest time is cut: who
    only opens connections keeps nobody out. One whose request does not end in time is cut, too.
    """

    _waiting: dict["Connection", None] = {}  # noqa: RUF012  those without a whole request, in order
    _count = 0
    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        Connection._count += 1
        self._wait()
        if Connection._count > _MOST:
            next(iter(Connection._waiting)).cut()

    def connection_lost(self, exc: Exception | None) -> None:
        Connection._count -= 1
        self._stop_waiting()
        super().connection_lost(exc)

    def handle_events(self) -> None:
        super().handle_events()
        if self.cycle is not None and not self.cycle.more_body and not self.cycle.response_complete:
            self._stop_waiting()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if not self.transport.is_closing():
            self._wait()

    def cut(self) -> None:
        """End the connection without a word."""
        self._stop_waiting()
        self.transport.abort()

    def _wait(self) -> None:
        self._stop_waiting()
        Connection._waiting[self] = None
        self._timer = self.loop.call_later(_PATIENCE, self.cut)

    def _stop_waiting(self) -> None:
        Connection._waiting.pop(self, None)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def handle_websocket_upgrade(self, event: Any) -> None:
        """Nothing here speaks that protocol."""
        self.cut()
