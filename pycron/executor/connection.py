"""The daemon's end of the connection to the runner."""

import contextlib
import selectors
import socket
from collections.abc import Iterable, Mapping

from pycron.protocol.framing import CHUNK, Decoder, Message, encode
from pycron.protocol.outbox import Outbox
from pycron.protocol.runner_checks import runner_hello, runner_message
from pycron.protocol.runner_messages import (
    PROTOCOL,
    AttemptMessage,
    RunnerHello,
    RunnerMessage,
)
from pycron.system import unix_sockets
from pycron.system.socket_queue import has_unread

_PATIENCE = 60.0  # seconds for the hello of a runner that may be busy
_LARGEST_MESSAGE = 256 * 2**20


class RunnerGone(Exception):
    """The connection to the runner has ended."""


class RunnerSilent(Exception):
    """There is a runner, and it does not answer, or not as a runner does.

    Its commands still run, so they are not given up as lost.
    """


class RunnerClient:
    """One connection to a runner.

    `hello`: its first message. `came_with_hello`: the messages that were received together with it;
    nothing else tells of them, because they are not in the socket any more.
    """

    def __init__(self, connection: socket.socket, selector: selectors.BaseSelector) -> None:
        """Say hello and wait for the answer. Raises RunnerGone or RunnerSilent."""
        self._connection = connection
        self._selector = selector
        self._decoder = Decoder(_LARGEST_MESSAGE)
        self._outbox = Outbox(connection, self._wait_to_send)
        try:
            connection.sendall(encode([{"type": "hello", "protocol": PROTOCOL}]))
            first, *rest = self._first_messages()
            self.hello: RunnerHello = runner_hello(first)
            self.came_with_hello: list[RunnerMessage] = _checked(rest)
        except TimeoutError as error:
            connection.close()
            raise RunnerSilent(_silence()) from error
        except OSError as error:
            connection.close()
            raise RunnerGone(str(error)) from error
        except ValueError as error:
            connection.close()
            raise RunnerSilent(str(error)) from error
        except RunnerGone:
            connection.close()
            raise
        connection.setblocking(False)

    @property
    def instance(self) -> str:
        """The name of the runner process."""
        return self.hello["instance"]

    @property
    def protocol(self) -> int:
        return self.hello["protocol"]

    @property
    def known(self) -> list[AttemptMessage]:
        """The Attempts that the runner knew when it said hello."""
        return self.hello["attempts"]

    def _first_messages(self) -> list[Message]:
        """At least one."""
        while True:
            data = self._connection.recv(CHUNK)
            if not data:
                raise OSError("it closed the connection")
            if messages := list(self._decoder.feed(data)):
                return messages

    def fileno(self) -> int:
        return self._connection.fileno()

    def close(self) -> None:
        self._connection.close()

    def send(self, messages: Iterable[Mapping[str, object]]) -> None:
        """Send, now or as soon as the runner takes it."""
        self._outbox.put(encode(messages))
        self.flush()

    def flush(self) -> None:
        with contextlib.suppress(OSError):  # receive() reports the end of the connection
            self._outbox.send()

    @property
    def unread(self) -> bool:
        """Whether the runner has not read yet all that was sent to it."""
        return bool(self._outbox) or has_unread(self._connection)

    def _wait_to_send(self, wait: bool) -> None:
        key = self._selector.get_map().get(self)
        if key is not None:
            events = selectors.EVENT_READ | (selectors.EVENT_WRITE if wait else 0)
            self._selector.modify(self, events, key.data)

    def receive(self) -> list[RunnerMessage]:
        """A part of the messages that have come, checked; the next call returns the rest.

        Raises RunnerGone at the end of the connection, and if a message is wrong. A new connection
        begins with all that the runner knows, so nothing is lost.
        """
        try:
            data = self._connection.recv(CHUNK)
            messages = list(self._decoder.feed(data))
        except BlockingIOError:
            return []
        except (ConnectionError, ValueError) as error:
            raise RunnerGone(str(error)) from error
        if not data:
            raise RunnerGone("it closed the connection")
        return _checked(messages)


def connect(path: str, selector: selectors.BaseSelector) -> RunnerClient:
    """Connect to the runner's socket. Raises RunnerGone, RunnerSilent or OSError."""
    try:
        connection = unix_sockets.connect(path, _PATIENCE)
    except BlockingIOError as error:  # other connections have waited there for all of this time
        raise RunnerSilent(_silence()) from error
    return RunnerClient(connection, selector)


def _checked(messages: list[Message]) -> list[RunnerMessage]:
    try:
        checked = [runner_message(message) for message in messages]
    except ValueError as error:
        raise RunnerGone(str(error)) from error
    return [message for message in checked if message is not None]


def _silence() -> str:
    return f"no answer within {_PATIENCE:.0f} seconds"
