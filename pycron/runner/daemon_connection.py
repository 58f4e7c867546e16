"""The runner's end of the connection to the daemon.

Imported by the runner: it stays small.
"""

import os
import select
import socket
import sys
import time
from collections.abc import Callable
from typing import Protocol

from pycron.protocol.framing import CHUNK, Decoder, Message, encode
from pycron.protocol.outbox import Outbox
from pycron.protocol.runner_checks import daemon_message
from pycron.protocol.runner_messages import (
    WINDOW,
    AttemptMessage,
    DaemonMessage,
    OutputMessage,
    RefusedMessage,
    RunnerHello,
)
from pycron.runner.attempt import Attempt
from pycron.runner.event_loop import NEVER, EventLoop
from pycron.runner.log import say
from pycron.system.unix_sockets import credentials

_MESSAGE_LIMIT = 64 * 2**20
_FIRST_CONTACT = 60.0  # seconds for which a runner without anything to keep waits for a daemon
_PAUSE = 1.0  # seconds, after no descriptor could be had for a connection
_SEND_INTERVAL = 1.0  # seconds between two sends while many commands are due


class Reported(Protocol):
    """An Attempt of which the daemon is told."""

    @property
    def id(self) -> str: ...
    def message(self) -> AttemptMessage: ...


class DaemonConnection:
    """One listening socket and at most one connected daemon.

    `take` is called with each checked message of the daemon. If a message is wrong, or `take`
    raises ValueError or TypeError, the connection is closed; a wrong start message is only refused,
    because the daemon's other Attempts must go on. `gone` is called when the connection has ended.
    `comes_back`: after a daemon that was killed, another one may find this runner.
    """

    def __init__(
        self,
        listener: socket.socket,
        loop: EventLoop,
        take: Callable[[DaemonMessage], None],
        gone: Callable[[], None],
        *,
        comes_back: bool,
    ) -> None:
        self.greeted = False
        self._comes_back = comes_back
        self._listener = listener
        self._loop = loop
        self._take = take
        self._gone = gone
        self._listen_again: float | None = None
        self._daemon: socket.socket | None = None
        self._outbox: Outbox | None = None
        self._decoder = Decoder(_MESSAGE_LIMIT)
        self._changed: dict[str, Reported] = {}  # since the daemon was last told of them
        self._shown: list[AttemptMessage | OutputMessage] = []  # to be sent before the changes
        self._untaken = 0  # bytes of output that the daemon has not taken yet
        self._window = WINDOW
        self._busy_since: float | None = None  # monotonic; sends are delayed since then
        self._bye = False
        self._leaving = False
        self._ending = False
        self._deadline: float | None = time.monotonic() + _FIRST_CONTACT
        loop.watch(listener.fileno(), self._accept)

    def patience(self) -> float:
        """How long the event loop may wait, in seconds."""
        waits = self._deadline is not None or self._listen_again is not None
        return _PAUSE if waits else NEVER

    @property
    def is_over(self) -> bool:
        """Whether no daemon is connected, and none shall find this runner any more."""
        return self._daemon is None and self._ending

    def end(self, *, idle: bool) -> None:
        """The runner was told to end: at once if it is idle, else when no daemon is connected."""
        self._ending = True
        self._leaving |= idle

    def nobody_will_ask(self, left_to_tell: bool) -> bool:
        """Whether neither this daemon nor a later one needs this runner.

        `left_to_tell`: the daemon has not acknowledged the end of all Attempts.
        """
        if self._leaving:
            return self._daemon is None or not (left_to_tell or self._outbox)
        waited = self._deadline is None or time.monotonic() > self._deadline
        return self._daemon is None and not left_to_tell and waited

    @property
    def window_is_full(self) -> bool:
        """Whether so much output is on its way to the daemon that none should be read."""
        return self._untaken >= self._window

    def greet(self, hello: RunnerHello, protocol: int) -> None:
        """Answer the hello of a daemon; from now on, changes are sent to this daemon.

        A daemon before protocol 4 does not say what it has taken.
        """
        self.greeted = True
        self._window = WINDOW if protocol >= 4 else sys.maxsize
        self._forget_unsent()
        self._put(hello)

    def part(self, *, leave: bool) -> None:
        """The daemon ends in good order; with `leave`, no later daemon needs this runner."""
        self._bye = True
        self._leaving |= leave

    def tell(self, attempt: Reported) -> None:
        """Send the state of an Attempt with the next send; only the last state is sent."""
        if self.greeted:
            self._changed[attempt.id] = attempt

    def show(self, attempt: Attempt, stream: str, data: bytes) -> None:
        """Send what an Attempt has printed; nothing is the end of a stream.

        The daemon hears first that the Attempt has started.
        """
        if not self.greeted:
            return
        if (changed := self._changed.pop(attempt.id, None)) is not None:
            self._shown.append(changed.message())
        text = data.decode("latin-1")
        self._shown.append({"type": "output", "id": attempt.id, "stream": stream, "data": text})
        self._untaken += len(data)

    def taken(self, bytes: int) -> None:
        """The daemon has dealt with so much more output."""
        self._untaken = max(0, self._untaken - bytes)

    def send(self, *, busy: bool) -> None:
        """Send the changes of Attempts. `busy`: many commands are due.

        While the runner is busy it sends once a second at most, because the daemon would take
        processor time from the starts.
        """
        if not self.greeted or self._outbox is None or (busy and self._sent_recently()):
            return
        self._busy_since = None
        changes = (attempt.message() for attempt in self._changed.values())
        self._outbox.put(encode([*self._shown, *changes]))
        self._shown.clear()
        self._changed.clear()
        try:
            self._outbox.send()
        except OSError:
            pass  # _read() will see the end of the connection

    def resume_listening(self) -> None:
        if self._listen_again is not None and time.monotonic() >= self._listen_again:
            self._listen_again = None
            self._loop.wait_for(self._listener.fileno(), select.EPOLLIN)

    def _sent_recently(self) -> bool:
        now = time.monotonic()
        self._busy_since = self._busy_since or now
        return now - self._busy_since < _SEND_INTERVAL

    def _forget_unsent(self) -> None:
        self._changed.clear()
        self._shown.clear()
        self._untaken = 0

    def _put(self, message: RunnerHello | RefusedMessage) -> None:
        if self._outbox is not None:
            self._outbox.put(encode([message]))

    def _accept(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except OSError:  # the client has gone, or no descriptor can be had
            self._loop.wait_for(self._listener.fileno(), 0)
            self._listen_again = time.monotonic() + _PAUSE
            return
        _, uid, _ = credentials(connection)
        if self._daemon is not None:
            self._read()  # the end of the connection, if that daemon has died
        if uid not in (0, os.geteuid()) or self._daemon is not None:
            connection.close()
            return
        self._connected(connection)

    def _connected(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        descriptor = connection.fileno()
        self._daemon = connection
        self._outbox = Outbox(connection, lambda wait: self._wait_to_send(descriptor, wait))
        self._decoder = Decoder(_MESSAGE_LIMIT)
        self._deadline = None
        self.greeted = self._bye = self._leaving = self._ending = False
        self._loop.watch(descriptor, self._read)

    def _wait_to_send(self, descriptor: int, wait: bool) -> None:
        self._loop.wait_for(descriptor, select.EPOLLIN | (select.EPOLLOUT if wait else 0))

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
            self._take_all(data)

    def _take_all(self, data: bytes) -> None:
        try:
            for message in self._decoder.feed(data):
                self._check(message)
        except (ValueError, KeyError, TypeError) as error:  # not a pycron daemon
            say(f"dropped the connection: {error!r}")
            self._drop()

    def _check(self, message: Message) -> None:
        try:
            checked = daemon_message(message)
        except ValueError as error:
            if message.get("type") != "start":
                raise
            self._refuse(str(message["id"]), str(error))
            return
        if checked is not None:
            self._take(checked)

    def _refuse(self, id: str, reason: str) -> None:
        """Refuse a wrong start message. The runner forgets it: another one may come with its id."""
        self._put({"type": "refused", "id": id, "cause": None, "reason": reason, "final": False})

    def _drop(self) -> None:
        assert self._daemon is not None
        self._loop.unwatch(self._daemon.fileno())
        self._daemon.close()
        self._daemon = self._outbox = None
        self.greeted = False
        self._forget_unsent()
        if not self._bye:  # the next daemon asks this runner which Attempts were never started
            self._ending |= not self._comes_back
            self._deadline = time.monotonic() + _FIRST_CONTACT
        self._gone()
