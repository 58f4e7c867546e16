"""The daemon's end of the connection to the agent of the cluster. It never waits for the agent."""

import selectors
import socket
from collections.abc import Callable, Iterable

from pycron.protocol.cluster_messages import (
    AgentHello,
    ClusterAgentMessage,
    ClusterDaemonMessage,
    agent_hello,
    agent_message,
)
from pycron.protocol.framing import Decoder, encode
from pycron.protocol.outbox import Outbox
from pycron.system.socket_queue import has_unread

_CHUNK = 16_384  # bytes to receive at a time: about a hundred messages; other work has its turn
_LARGEST_MESSAGE = 16 * 2**20  # bytes


class AgentGone(Exception):
    """The connection to the agent has ended, or what came over it was no message of an agent."""


class AgentClient:
    """One connection. `ready` is called with the events of the selector."""

    def __init__(
        self,
        connection: socket.socket,
        selector: selectors.BaseSelector,
        ready: Callable[[int], None],
    ) -> None:
        connection.setblocking(False)
        self.hello: AgentHello | None = None  # None until it has come
        self._connection = connection
        self._selector = selector
        self._ready = ready
        self._decoder = Decoder(_LARGEST_MESSAGE)
        self._outbox = Outbox(connection, self._wait_to_send)
        selector.register(connection, selectors.EVENT_READ, ready)

    def close(self) -> None:
        self._selector.unregister(self._connection)
        self._connection.close()

    def send(self, messages: Iterable[ClusterDaemonMessage]) -> None:
        """Send, now or as soon as the agent takes it. Raises AgentGone."""
        self._outbox.put(encode(messages))
        self.flush()

    def flush(self) -> None:
        """Raises AgentGone."""
        try:
            self._outbox.send()
        except OSError as error:
            raise AgentGone(str(error)) from error

    @property
    def unread(self) -> bool:
        """Whether the agent has not read yet all that was sent to it."""
        return bool(self._outbox) or has_unread(self._connection)

    def receive(self) -> list[ClusterAgentMessage]:
        """The messages that have come, checked. Raises AgentGone."""
        try:
            data = self._connection.recv(_CHUNK)
            if not data:
                raise AgentGone("it closed the connection")
            messages = list(self._decoder.feed(data))
            if messages and self.hello is None:
                self.hello = agent_hello(messages.pop(0))
            checked = [agent_message(message) for message in messages]
        except BlockingIOError:
            return []
        except (OSError, ValueError) as error:
            raise AgentGone(str(error)) from error
        return [message for message in checked if message is not None]

    def _wait_to_send(self, wait: bool) -> None:
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if wait else 0)
        self._selector.modify(self._connection, events, self._ready)
