"""The connections of browsers: how many there may be, and how slow they may be.

uvicorn has no limit of connections, and no time-out for a request that does not end or for an
answer that is not read.
"""

import asyncio
import pwd
import socket
import time
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

from pycron.system import unix_sockets

MOST = 256  # connections
PATIENCE = 15.0  # seconds for a request, and for the next part of an answer


class Connection(H11Protocol):
    """A connection of a browser.

    If there are too many, the one that has been without a request for the longest time is cut: who
    only opens connections keeps nobody out. A connection is cut, too, if its request does not end
    in time, or if the browser reads nothing of an answer.
    """

    _waits_since: float | None = None  # for a whole request (monotonic)
    _request_timer: asyncio.TimerHandle | None = None
    _answer_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.client = self.client or _user_behind(transport)
        self._wait()
        others = [each for each in self.connections if isinstance(each, Connection)]
        alive = [each for each in others if not each.transport.is_closing()]
        if len(alive) > MOST:
            waiting = [each for each in alive if each._waits_since is not None]
            min(waiting, key=lambda each: each._waits_since or 0.0).cut()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        self._stop_timer_of_answer()
        super().connection_lost(exc)

    def handle_events(self) -> None:
        super().handle_events()
        if self.cycle is not None and not self.cycle.more_body and not self.cycle.response_complete:
            self._stop_waiting()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if not self.transport.is_closing():
            self._wait()

    def pause_writing(self) -> None:
        """The buffers are full: the browser does not read."""
        self._answer_timer = self.loop.call_later(PATIENCE, self.cut)
        super().pause_writing()

    def resume_writing(self) -> None:
        self._stop_timer_of_answer()
        super().resume_writing()

    def cut(self) -> None:
        """End the connection without a word."""
        self._stop_waiting()
        self._stop_timer_of_answer()
        self.transport.abort()

    def handle_websocket_upgrade(self, event: Any) -> None:
        """Nothing here speaks that protocol."""
        self.cut()

    def _wait(self) -> None:
        self._stop_waiting()
        self._waits_since = time.monotonic()
        self._request_timer = self.loop.call_later(PATIENCE, self.cut)

    def _stop_waiting(self) -> None:
        self._waits_since = None
        if self._request_timer is not None:
            self._request_timer.cancel()
            self._request_timer = None

    def _stop_timer_of_answer(self) -> None:
        if self._answer_timer is not None:
            self._answer_timer.cancel()
            self._answer_timer = None


def _user_behind(transport: asyncio.BaseTransport) -> tuple[str, int] | None:
    """The user at the other end of a Unix socket, in the place of an IP address."""
    connection = transport.get_extra_info("socket")
    if connection is None or connection.family != socket.AF_UNIX:
        return None
    _, uid, _ = unix_sockets.credentials(connection)
    try:
        return pwd.getpwuid(uid).pw_name, 0
    except KeyError:
        return f"#{uid}", 0
