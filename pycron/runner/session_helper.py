"""The connection to the process that opens PAM sessions (pycron/pam): one for each runner.

It is a process of its own because PAM is large, may wait for long, and changes the process that
calls it. It is started when the first command needs a session.

Imported by the runner: it stays small.
"""

import os
import select
import socket
import sys
from collections.abc import Callable

from pycron.protocol.framing import CHUNK, Decoder, Message, encode
from pycron.protocol.outbox import Outbox
from pycron.protocol.session_messages import SESSION_PROTOCOL, OpenMessage
from pycron.runner.attempt import Attempt
from pycron.runner.event_loop import EventLoop
from pycron.runner.log import say
from pycron.runner.spawn import RESET_SIGNALS

_LARGEST_MESSAGE = 2**20  # bytes


class SessionHelper:
    """Asks for sessions and for their end.

    `take` is called with each answer, `gone` when the process has ended or makes no sense. `files`:
    the limit of open files that commands get.
    """

    def __init__(self, loop: EventLoop, files: tuple[int, int]) -> None:
        self.take: Callable[[Message], None] = lambda _: None
        self.gone: Callable[[], None] = lambda: None
        self._loop = loop
        self._files = files
        self._connection: socket.socket | None = None
        self._outbox: Outbox | None = None
        self._decoder = Decoder(_LARGEST_MESSAGE)
        self._asked: set[int] = set()  # the marks of sessions that are to be closed some time

    def open(self, attempt: Attempt) -> None:
        """Ask for the session of an Attempt. Raises OSError if the process cannot be started."""
        if self._connection is None:
            self._start()
        self._asked.add(attempt.tree.mark)
        self._send(_open_message(attempt))

    def close(self, attempt: Attempt) -> None:
        """The command of an Attempt has ended, or will not be started; it may have no session."""
        mark = attempt.tree.mark
        if mark in self._asked:
            self._asked.remove(mark)
            self._send({"type": "close", "mark": mark})

    def _start(self) -> None:
        ours, theirs = socket.socketpair()
        try:
            ours.setblocking(False)
            theirs.set_inheritable(True)
            _spawn(theirs.fileno(), self._files)
        except OSError:
            ours.close()
            raise
        finally:
            theirs.close()
        self._connection = ours
        self._outbox = Outbox(ours, self._wait_to_send)
        self._decoder = Decoder(_LARGEST_MESSAGE)
        self._loop.watch(ours.fileno(), self._read, self._flush)

    def _wait_to_send(self, wait: bool) -> None:
        assert self._connection is not None
        events = select.EPOLLIN | (select.EPOLLOUT if wait else 0)
        self._loop.wait_for(self._connection.fileno(), events)

    def _send(self, message: OpenMessage | Message) -> None:
        if self._outbox is not None:
            self._outbox.put(encode([message]))
            self._flush()

    def _flush(self) -> None:
        assert self._outbox is not None
        try:
            self._outbox.send()
        except OSError:
            pass  # _read() will see the end of the connection

    def _read(self) -> None:
        assert self._connection is not None
        try:
            data = self._connection.recv(CHUNK)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        try:
            if not data:
                raise ValueError("it has ended")
            for message in self._decoder.feed(data):
                self.take(message)
        except (ValueError, KeyError, TypeError) as error:
            say(f"lost the process that opens PAM sessions: {error!r}")
            self._drop()

    def _drop(self) -> None:
        """The sessions that were open end with the process; their commands go on."""
        assert self._connection is not None
        self._loop.unwatch(self._connection.fileno())
        self._connection.close()
        self._connection = self._outbox = None
        self._asked.clear()
        self.gone()


def _spawn(descriptor: int, files: tuple[int, int]) -> None:
    numbers = map(str, (descriptor, SESSION_PROTOCOL, *files))
    os.posix_spawn(
        sys.executable,
        [sys.executable, "-s", "-P", "-m", "pycron.pam", *numbers],
        os.environ,
        setsigmask=(),
        setsigdef=RESET_SIGNALS,
    )


def _open_message(attempt: Attempt) -> OpenMessage:
    start = attempt.start_message
    session, user = start["session"], start["user"]
    assert session is not None
    return {
        "type": "open",
        "mark": attempt.tree.mark,
        "service": session["service"],
        "user": session["user"],
        "uid": attempt.tree.owner,
        "groups": user["groups"] if user is not None else os.getgroups(),
        "check_account": session["check_account"],
        "timeout": session["timeout"],
    }
