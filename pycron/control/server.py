"""The server of the control socket, through which pycrontab and pycron speak to pycrond.

Requests and answers are those of protocol.control_messages. The kernel says which user asks
(SO_PEERCRED); a request never does.
"""

import contextlib
import selectors
import socket
import time
import traceback
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pycron.config import Config
from pycron.control.channel import Channel
from pycron.model.steps import Steps
from pycron.protocol.framing import CHUNK, Decoder, Message, encode
from pycron.protocol.outbox import Outbox
from pycron.system import unix_sockets

_BACKLOG = 128  # connections that the kernel lets wait
_BESIDES_A_TABLE = 65_536  # bytes of a request, besides twice the text of a table
_ACCEPTED = 16  # connections in a turn of the daemon's loop
_ROOT = 0
_TURN = 0.010  # seconds of a turn of the daemon's loop after which no further request is answered
_IDLE = 60.0  # seconds after which a silent client is disconnected
_CHANNELS = 256  # conversations at once


@dataclass(frozen=True, slots=True)
class Peer:
    """The process at the other end of a connection."""

    pid: int
    uid: int
    gid: int


Reply = Message | Channel[Any]
# Returns the answer, after steps that take a few milliseconds each.
Handler = Callable[[Peer, Message], Steps[Reply]]


def refusal(error: str, **more: object) -> Message:
    """An answer that refuses a request, with the reason."""
    return {"ok": False, "error": error, **more}


@dataclass(slots=True, eq=False)
class _Client:
    """`asks`: its next request is to be answered. `answering`: the steps that are left of that.

    `heard`: when a whole request arrived, or a part of an answer was taken (monotonic clock).
    `channel`: the conversation that its last request has begun.
    """

    connection: socket.socket
    peer: Peer
    decoder: Decoder
    outbox: Outbox
    requests: deque[Message] = field(default_factory=deque)
    asks: bool = False
    answering: Steps[Reply] | None = None
    channel: Channel[Any] | None = None
    heard: float = field(default_factory=time.monotonic)


class ControlServer:
    """Answers requests on a Unix socket; never waits for a client.

    A turn of the loop answers requests for a hundredth of a second, and at least one. Root's come
    first; then users take turns, whatever the number of their connections. A long request takes
    several turns, one step in each.
    """

    def __init__(
        self,
        path: Path,
        mode: int,
        selector: selectors.BaseSelector,
        handler: Handler,
        config: Callable[[], Config],
        broken: Callable[[str], None] = lambda _: None,
    ) -> None:
        """`mode`: permissions of the socket.

        `broken` gets the traceback of a request that made the handler fail.
        """
        self._broken = broken
        self._path = path
        self._selector = selector
        self._handler = handler
        self._config = config
        self._clients: set[_Client] = set()
        # By user: the clients whose next request is to be answered. Users take turns.
        self._asking: dict[int, deque[_Client]] = {}
        self._listener = unix_sockets.listen(str(path), mode, _BACKLOG)
        self._listener.setblocking(False)
        selector.register(self._listener, selectors.EVENT_READ, self._accept)

    def close(self) -> None:
        for client in list(self._clients):
            self._drop(client)
        self._selector.unregister(self._listener)
        self._listener.close()
        with contextlib.suppress(OSError):  # it stays if the disk cannot be written to
            self._path.unlink()

    def drop_idle(self) -> None:
        """Disconnect clients that have been silent for long."""
        now = time.monotonic()
        idle = [c for c in self._clients if now - c.heard > _IDLE]
        for client in [c for c in idle if not (c.answering or c.channel)]:
            self._drop(client)

    def _accept(self, _events: int) -> None:
        """Accept a part of those that wait, so that nobody's many keep root's one waiting."""
        for _ in range(_ACCEPTED):
            try:
                connection, _address = self._listener.accept()
            except BlockingIOError:
                return
            except OSError:  # the client has gone already, or there is no file descriptor left
                self._drop_oldest()
                return
            self._welcome(connection)

    def _welcome(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        peer = Peer(*unix_sockets.credentials(connection))
        if not self._make_room(peer):
            with contextlib.suppress(OSError):
                connection.send(encode([refusal("too many clients; try again")]))
            connection.close()
            return
        outbox = Outbox(connection, lambda waits: self._wait(connection, to_send=waits))
        most_bytes = 2 * self._config().user_table_bytes + _BESIDES_A_TABLE  # JSON may double it
        client = _Client(connection, peer, Decoder(most_bytes), outbox)
        self._clients.add(client)
        self._selector.register(
            connection, selectors.EVENT_READ, lambda events: self._serve(client, events)
        )

    def _wait(self, connection: socket.socket, *, to_send: bool) -> None:
        """Wait until the connection can be written to, or else read from."""
        events = selectors.EVENT_WRITE if to_send else selectors.EVENT_READ
        self._selector.modify(connection, events, self._selector.get_key(connection).data)

    def _drop_oldest(self) -> None:
        """Free a descriptor: disconnect the client that has been silent for the longest time."""
        if self._clients:
            self._drop(min(self._clients, key=lambda c: (c.channel is not None, c.heard)))

    def _make_room(self, peer: Peer) -> bool:
        """Whether there is room for a client: no users can keep another one out, or root.

        If all places are taken, a user with fewer connections gets one of the user with most: that
        of the client that has been silent for the longest time.
        """
        most = self._config().clients
        clients = [client for client in self._clients if client.channel is None]
        if len(self._clients) - len(clients) > _CHANNELS:
            clients = list(self._clients)
        if peer.uid == 0:
            return len(clients) < 2 * most
        counts = Counter(client.peer.uid for client in clients if client.peer.uid)
        if counts[peer.uid] >= max(4, most // 4):
            return False
        if counts.total() < most:
            return True
        largest = max(counts.values())
        if largest <= counts[peer.uid] + 1:
            return False
        theirs = (client for client in clients if counts[client.peer.uid] == largest)
        self._drop(min(theirs, key=lambda client: client.heard))
        return True

    def _serve(self, client: _Client, events: int) -> None:
        if client not in self._clients:
            return  # it was disconnected in this turn, to free a descriptor
        try:
            if events & selectors.EVENT_WRITE:
                client.heard = time.monotonic()
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
        try:
            requests = list(client.decoder.feed(data))
        except ValueError as error:
            # The client still writes its request: it reads this answer when that write fails.
            most = self._config().user_table_bytes
            answer = refusal(f"{error}; a table may have {most} (limits.user_table_bytes)")
            client.connection.send(encode([answer]))
            raise
        if requests:  # who sends a byte now and then counts as silent
            client.heard = time.monotonic()
        client.requests += requests
        self._send(client)

    @property
    def busy(self) -> bool:
        """Whether requests wait for an answer: answer_some() goes on."""
        return bool(self._asking)

    def answer_some(self) -> None:
        """Answer the requests of this turn."""
        end = time.monotonic() + _TURN
        unanswered = []
        while self._asking and time.monotonic() < end:
            client = self._next_asking()
            if client in self._clients and not self._answer_one(client):
                unanswered.append(client)
        for client in unanswered:
            self._ask(client)

    def _next_asking(self) -> _Client:
        uid = _ROOT if _ROOT in self._asking else next(iter(self._asking))
        clients = self._asking.pop(uid)
        client = clients.popleft()
        if clients:
            self._asking[uid] = clients  # its next turn comes last
        return client

    def _ask(self, client: _Client) -> None:
        client.asks = True
        self._asking.setdefault(client.peer.uid, deque()).append(client)

    def _answer_one(self, client: _Client) -> bool:
        """Do a step of an answer; whether that was the last one."""
        if client.answering is None:
            client.answering = self._handler(client.peer, client.requests.popleft())
        answer = self._step(client.answering)
        if answer is None:
            return False
        client.asks, client.answering = False, None
        if isinstance(answer, Channel):
            client.channel = answer
            answer.attach(lambda message, last: self._say(client, message, last=last))
        else:
            self._say(client, answer, last=True)
        return True

    def _say(self, client: _Client, message: Message, *, last: bool) -> None:
        """Send an answer, or a part of one."""
        if last:
            client.channel = None
        try:
            client.outbox.put(encode([message]))
            self._send(client)
        except (OSError, ValueError):
            if client in self._clients:
                self._drop(client)

    def _send(self, client: _Client) -> None:
        """Send the answer that waits; the next request has its turn once that answer is gone.

        Nothing more is read from a client that does not take its answers, or has asked already.
        """
        client.outbox.send(more=bool(client.requests))
        if not client.outbox and client.requests and not (client.asks or client.channel):
            self._ask(client)

    def _step(self, answering: Steps[Reply]) -> Reply | None:
        """Clients are strangers: no request may end the daemon, even if it makes a handler fail."""
        try:
            next(answering)
            return None
        except StopIteration as end:
            answer: Reply = end.value
            return answer
        except Exception:  # noqa: BLE001  the log has it, and the client is told
            self._broken(traceback.format_exc(limit=-3))
            return refusal("an internal error; the daemon's log has more")

    def _drop(self, client: _Client) -> None:
        self._clients.remove(client)
        if client.answering is not None:
            client.answering.close()
        if client.channel is not None:
            client.channel.close()
        self._selector.unregister(client.connection)
        client.connection.close()
