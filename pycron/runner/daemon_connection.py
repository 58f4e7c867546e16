"""The runner's end of the wire to the daemon: who may connect, and what is said when.

Imported by the runner: it stays small.
"""

import os
import select
import socket
import time
from collections.abc import Callable

from pycron.protocol.framing import CHUNK, Decoder, Message, encode
from pycron.runner.attempt import Attempt
from pycron.runner.event_loop import NEVER, EventLoop
from pycron.runner.log import say
from pycron.system.unix_sockets import credentials

_MESSAGE_LIMIT = 64 * 2**20
_FIRST_CONTACT = 60.0  # seconds
_PAUSE = 1.0  # seconds, after no descriptor could be had for a connection
_WORD_PACE = 1.0  # seconds between two words to the daemon, while there is something to start


class DaemonConnection:
    """One listening socket, at most one daemon.

    `take` is called with what it says, and raises KeyError, TypeError or ValueError for what no
    daemon says; `gone` is called when the connection has ended.
    """

    def __init__(
        self,
        listener: socket.socket,
        loop: EventLoop,
        take: Callable[[Message], None],
        gone: Callable[[], None],
    ) -> None:
        self.greeted = False
        self._listener = listener
        self._loop = loop
        self._take = take
        self._gone = gone
        self._listen_again: float | None = None
        self._daemon: socket.socket | None = None
        self._blocked = False  # the daemon takes nothing more for the moment
        self._decoder = Decoder(_MESSAGE_LIMIT)
        self._outgoing = bytearray()
        self._news: dict[str, Attempt] = {}  # what the daemon is still to hear of
        self._grown: set[str] = set()
        self._silent_since: float | None = None  # monotonic; since there is a lot to start
        self._bye = False
        self._leaving = False
        self._deadline: float | None = time.monotonic() + _FIRST_CONTACT
        loop.watch(listener.fileno(), self._accept)

    def patience(self) -> float:
        """How long it can wait for a descriptor, in seconds."""
        waits = self._deadline is not None or self._listen_again is not None
        return _PAUSE if waits else NEVER

    def nobody_will_ask(self, left_to_tell: bool) -> bool:
        """Neither this daemon nor a next one. `left_to_tell`: not all ends are acknowledged."""
        if self._leaving:
            return self._daemon is None or not (left_to_tell or self._outgoing)
        waited = self._deadline is None or time.monotonic() > self._deadline
        return self._daemon is None and not left_to_tell and waited

    def greet(self, hello: Message) -> None:
        """The first word to a daemon: what there is. From now on it hears the news."""
        self.greeted = True
        self._news.clear()
        self._outgoing += encode([hello])

    def part(self, *, leave: bool) -> None:
        """The daemon ends in good order; with `leave`, there is to be no next one."""
        self._bye = True
        self._leaving |= leave

    def tell(self, attempt: Attempt) -> None:
        """With the next word: of one that has ended by then, no more than its end."""
        if self.greeted:
            self._news[attempt.id] = attempt

    def refuse(self, id: str, reason: str) -> None:
        """Tell of an order that nobody could carry out; ordered again, it is told of again."""
        self._outgoing += encode([{"type": "refused", "id": id, "cause": None, "reason": reason}])

    def tell_of_output(self, attempt: Attempt) -> None:
        if attempt.report_output:
            self._grown.add(attempt.id)

    def send(self, *, busy: bool) -> None:
        """The next word. `busy`: there is a lot to start."""
        if self._daemon is None or not self.greeted:
            return
        if busy:
            now = time.monotonic()
            self._silent_since = self._silent_since or now
            if now - self._silent_since < _WORD_PACE:
                return  # what is due is started first; the daemon would only take the time for it
        self._silent_since = None
        self._outgoing += encode(attempt.message() for attempt in self._news.values())
        self._news.clear()
        if not self._outgoing and self._grown:
            self._outgoing += encode({"type": "output", "id": grown} for grown in self._grown)
            self._grown.clear()
        try:
            while self._outgoing:
                del self._outgoing[: self._daemon.send(self._outgoing)]
        except BlockingIOError:
            pass
        except OSError:
            return  # the reader will see its end
        blocked = bool(self._outgoing)
        if blocked != self._blocked:
            wanted = select.EPOLLIN | (select.EPOLLOUT if blocked else 0)
            self._loop.wait_for(self._daemon.fileno(), wanted)
            self._blocked = blocked

    def resume_listening(self) -> None:
        if self._listen_again is not None and time.monotonic() >= self._listen_again:
            self._listen_again = None
            self._loop.wait_for(self._listener.fileno(), select.EPOLLIN)

    def _accept(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except OSError:  # it has gone, or there is no descriptor to be had
            self._loop.wait_for(self._listener.fileno(), 0)
            self._listen_again = time.monotonic() + _PAUSE
            return
        _, uid, _ = credentials(connection)
        if self._daemon is not None:
            self._read()  # its last words, if it is dead
        if uid not in (0, os.geteuid()) or self._daemon is not None:
            connection.close()
            return
        connection.setblocking(False)
        self._daemon = connection
        self.greeted = self._blocked = False
        self._decoder = Decoder(_MESSAGE_LIMIT)
        self._deadline = None
        self._bye = self._leaving = False
        self._loop.watch(connection.fileno(), self._read)

    def _read(self) -> None:
        while self._daemon is not None:
            try:
                data = self._daemon.recv(CHUNK)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if not data:
                self._drop()
                return
            try:
                for message in self._decoder.feed(data):
                    self._take(message)
            except (ValueError, KeyError, TypeError) as error:  # garbage: it is no daemon of ours
                say(f"dropped the connection: {error!r}")
                self._drop()

    def _drop(self) -> None:
        assert self._daemon is not None
        self._loop.unwatch(self._daemon.fileno())
        self._daemon.close()
        self._daemon = None
        self.greeted = False
        self._outgoing.clear()
        self._news.clear()
        self._grown.clear()
        if not self._bye:  # only this runner can tell the next daemon what was never started
            self._deadline = time.monotonic() + _FIRST_CONTACT
        self._gone()
