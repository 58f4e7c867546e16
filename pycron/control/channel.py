"""A conversation: an answer that has several parts, which come when they come.

The request of such an answer takes over its connection until the last part has been sent, or the
client has gone.
"""

from collections.abc import Callable
from typing import Any, Generic, TypeVar

from pycron.protocol.framing import Message

A = TypeVar("A")  # the type of the parts
Send = Callable[[Message, bool], None]


class Channel(Generic[A]):
    """`gone`: called once, when nothing more can be said."""

    def __init__(self, gone: Callable[["Channel[Any]"], None]) -> None:
        self._gone = gone
        self._send: Send | None = None
        self._unsent: list[tuple[Message, bool]] = []
        self.over = False

    def say(self, message: Message, *, last: bool = False) -> None:
        """Send a part, as soon as the connection is known."""
        if self.over:
            return
        if last:
            self.close()
        if self._send is None:
            self._unsent.append((message, last))
        else:
            self._send(message, last)

    def attach(self, send: Send) -> None:
        """The connection is known: `send` sends a part, and is told whether it is the last one."""
        self._send = send
        unsent, self._unsent = self._unsent, []
        for message, last in unsent:
            send(message, last)

    def close(self) -> None:
        """Nothing more will be said: the last part has been, or the client has gone."""
        if not self.over:
            self.over = True
            self._gone(self)
