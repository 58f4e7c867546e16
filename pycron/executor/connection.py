"""The daemon's end of the wire to the runner: find it, start it, speak with it."""

import contextlib
import selectors
import socket
from collections.abc import Iterable

from pycron.protocol.framing import CHUNK, PROTOCOL, Decoder, Message, encode
from pycron.protocol.outbox import Outbox

_PATIENCE = 60.0  # seconds for the first word of a runner that may be busy
_LARGEST_MESSAGE = 256 * 2**20
_DEFAULT_PATH = "/usr/bin:/bin"  # Debian's cron


class RunnerGone(Exception):
    """The runner has closed the connection."""


class RunnerSilent(Exception):
    """There is a runner, and it does not answer: its commands are not to be given up for lost."""


class RunnerClient:
    """One connection.

    `instance` names the runner process, `cgroup` is the part of the tree of cgroups that it has for
    its Attempts, and `known` are those that it began with.
    """

    def __init__(self, connection: socket.socket, selector: selectors.BaseSelector) -> None:
        """Say hello and wait for the answer. Raises RunnerGone or RunnerSilent."""
        self._connection = connection
        self._selector = selector
        self._decoder = Decoder(_LARGEST_MESSAGE)
        self._outbox = Outbox(connection, self._wait_to_send)
        self._incoming: list[Message] = []
        try:
            connection.sendall(encode([{"type": "hello", "protocol": PROTOCOL}]))
            hello = self._first_word()
        except TimeoutError as error:
            connection.close()
            raise RunnerSilent(_silence()) from error
        except OSError as error:
            connection.close()
            raise RunnerGone(str(error)) from error
        connection.setblocking(False)
        self.instance: str = hello["instance"]
        self.protocol: int = hello["protocol"]
        self.cgroup: str | None = hello["cgroup"]
        self.known: list[Message] = hello["attempts"]

    def _first_word(self) -> Message:
        while not self._incoming:
            data = self._connection.recv(CHUNK)
            if not data:
                raise OSError("it closed the connection")
            self._incoming += self._decoder.feed(data)
        return self._incoming.pop(0)

    def fileno(self) -> int:
        return self._connection.fileno()

    def close(self) -> None:
        self._connection.close()

    def send(self, messages: Iterable[Message]) -> None:
        """Send, now or as soon as the runner takes it."""
        self._outbox.put(encode(messages))
        self.flush()

    def flush(self) -> None:
        with contextlib.suppress(OSError):  # receive() reports the end of the connection
            self._outbox.send()

    def _wait_to_send(self, wait: bool) -> None:
        key = self._selector.get_map().get(self)
        if key is not None:
            events = selectors.EVENT_READ | (selectors.EVENT_WRITE if wait else 0)
            self._selector.modify(self, events, key.data)

    def receive(self) -> list[Message]:
        """What has come. Raises RunnerGone at the end."""
        messages, self._incoming = self._incoming, []
        try:
            while True:
                data = self._connection.recv(CHUNK)
                if not data:
                    if messages:
                        return messages  # the end will be seen next time
                    raise RunnerGone("it closed the connection")
                messages += self._decoder.feed(data)
        except BlockingIOError:
            return messages
        except ConnectionError as error:
            raise RunnerGone(str(error)) from error


def _silence() -> str:
    return f"no answer within {_PATIENCE:.0f} seconds"
