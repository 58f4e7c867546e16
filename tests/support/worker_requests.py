"""The requests of a worker, made by a test that plays both the worker and the broker."""

import socket
import weakref
from pathlib import Path
from typing import Any

from pycron.protocol.framing import CHUNK, Decoder, encode
from pycron.system import unix_sockets

CLUSTER = "test"


class Conversation:
    """One request to a daemon, and all that is said about it."""

    def __init__(self, state: Path, **request: Any) -> None:
        self._connection: socket.socket = unix_sockets.connect(str(state / "pycron.sock"), 60.0)
        weakref.finalize(self, self._connection.close)
        self._decoder = Decoder(2**24)
        self.heard: list[dict[str, Any]] = []
        self._connection.sendall(encode([request]))

    def next(self) -> dict[str, Any]:
        """The next message that was not returned yet."""
        while not self.heard:
            data = self._connection.recv(CHUNK)
            if not data:
                raise EOFError("the daemon has closed the connection")
            self.heard += self._decoder.feed(data)
        return self.heard.pop(0)

    def close(self) -> None:
        self._connection.close()


def serve(state: Path, queues: str = "default") -> Conversation:
    return Conversation(state, verb="serve", queues=queues, version="0.1.0", slots=2)


def work(state: Path, message: dict[str, Any], **more: Any) -> Conversation:
    return Conversation(state, verb="work", **{"cluster": CLUSTER, **message, **more})
