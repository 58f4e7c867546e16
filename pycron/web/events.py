"""Answers that go on while a browser listens: server-sent events."""

from collections.abc import AsyncIterator

from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from pycron.web.page import page_of, visitor_of


class EventStream(StreamingResponse):
    """Server-sent events (text/event-stream) until they or the browser end.

    The next event is asked for when the browser has taken the ones before: what it does not read
    waits at the daemon, not here. Raises Busy, if too many are open.
    """

    def __init__(self, request: Request, events: AsyncIterator[bytes]) -> None:
        super().__init__(events, media_type="text/event-stream")
        self._streams, self._user = page_of(request).streams, visitor_of(request).user
        self._streams.take(self._user)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._streams.give_back(self._user)
