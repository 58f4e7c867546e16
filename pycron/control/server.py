"""The control socket: how pycrontab and pycron speak to pycrond.

A request is one JSON object on a line, with its `verb`; so is the answer, with `ok` and, when that
is false, `error`. Who asks is what the kernel says (SO_PEERCRED), never what the request says.
"""

import contextlib
import selectors
import socket
import time
import traceback
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from pycron.protocol.framing import CHUNK, Decoder, Message, encode
from pycron.system import unix_sockets

_IDLE = 60.0  # seconds after which a silent client is let go


@dataclass(frozen=True, slots=True)
class Peer:
    """The process at the other end."""

    pid: int
    uid: int
    gid: int


Handler = Callable[[Peer, Message], Message]


def refusal(error: str, **more: object) -> Message:
    """An answer that says no, and why."""
    return {"ok": False, "error": error, **more}


@dataclass(slots=True, eq=False)
class _Client:
    connection: socket.socket
    peer: Peer
    decoder: Decoder
    requests: deque[Message] = field(default_factory=deque)
    outgoing: bytearray = field(default_factory=bytearray)
    heard: float = field(default_factory=time.monotonic)


class ControlServer:
    """Answers requests on a Unix socket, without ever waiting for a client."""

    def __init__(
        self,
        path: Path,
        mode: int,
        selector: selectors.BaseSelector,
        handler: Handler,
        most_clients: int,
        most_bytes: int,
        broken: Callable[[str], None] = lambda _: None,
    ) -> None:
        """`mode`: permissions of the socket. `most_bytes`: of one request.

        `broken` is told of requests that nobody thought of.
        """
        self._broken = broken
        self._path = path
        self._selector = selector
        self._handler = handler
        self._most_clients = most_clients
        self._most_bytes = most_bytes
        self._clients: set[_Client] = set()
        self._listener = unix_sockets.listen(str(path), mode, most_clients)
        self._listener.setblocking(False)
        selector.register(self._listener, selectors.EVENT_READ, self._accept)

    def close(self) -> None:
        for client in list(self._clients):
            self._drop(client)
        self._selector.unregister(self._listener)
        self._listener.close()
        with contextlib.suppress(OSError):  # it stays on a disk that can't be written to
            self._path.unlink()

    def drop_idle(self) -> None:
        """Let go of clients that have been silent for long."""
        now = time.monotonic()
        for client in [c for c in self._clients if now - c.heard > _IDLE]:
            self._drop(client)

    def _accept(self, _events: int) -> None:
        try:
            connection, _ = self._listener.accept()
        except OSError:  # it has gone already, or there is no descriptor to be had
            self._drop_oldest()
            return
        connection.setblocking(False)
        peer = Peer(*unix_sockets.credentials(connection))
        if not self._has_room(peer):
            with contextlib.suppress(OSError):
                connection.send(encode([refusal("too many clients; try again")]))
            connection.close()
            return
        client = _Client(connection, peer, Decoder(self._most_bytes))
        self._clients.add(client)
        self._selector.register(
            connection, selectors.EVENT_READ, lambda events: self._serve(client, events)
        )

    def _drop_oldest(self) -> None:
        """Make room: the client that has been silent for longest goes."""
        if self._clients:
            self._drop(min(self._clients, key=lambda client: client.heard))

    def _has_room(self, peer: Peer) -> bool:
        """One user never takes all the places; root can always get in."""
        if peer.uid == 0:
            return len(self._clients) < 2 * self._most_clients
        own = sum(1 for client in self._clients if client.peer.uid == peer.uid)
        return len(self._clients) < self._most_clients and own < max(4, self._most_clients // 4)

    def _serve(self, client: _Client, events: int) -> None:
        if client not in self._clients:
            return  # it was let go in this turn, for another one
        client.heard = time.monotonic()
        try:
            if events & selectors.EVENT_WRITE:
                self._send(client)
            elif events & selectors.EVENT_READ:
                self._read(client)
        except (OSError, ValueError):
            self._drop(client)

    def _read(self, client: _Client) -> None:
        data = client.connection.recv(CHUNK)
        if not data:
            self._drop(client)
            return
        client.requests += client.decoder.feed(data)
        self._send(client)

    def _send(self, client: _Client) -> None:
        """Send what is due, and answer the next request once the answer before it is gone.

        Nothing more is read from a client that doesn't take its answers; one request a turn is
        answered, so that nobody keeps the daemon to himself.
        """
        if not client.outgoing and client.requests:
            client.outgoing += encode([self._answer(client.peer, client.requests.popleft())])
        try:
            while client.outgoing:
                del client.outgoing[: client.connection.send(client.outgoing)]
        except BlockingIOError:
            pass
        more = client.outgoing or client.requests
        wanted = selectors.EVENT_WRITE if more else selectors.EVENT_READ
        key = self._selector.get_key(client.connection)
        if key.events != wanted:
            self._selector.modify(client.connection, wanted, key.data)

    def _answer(self, peer: Peer, request: Message) -> Message:
        """Clients are strangers: whatever they find must not take the daemon down."""
        try:
            return self._handler(peer, request)
        except Exception:  # noqa: BLE001  it is said to the log and to the client
            self._broken(traceback.format_exc(limit=-3))
            return refusal("an internal error; the daemon's log has more")

    def _drop(self, client: _Client) -> None:
        self._clients.remove(client)
        self._selector.unregister(client.connection)
        client.connection.close()
