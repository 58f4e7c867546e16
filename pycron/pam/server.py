"""Opens sessions for the runner, each in a process of its own, and closes them.

A session is closed when its command's process tree has ended. If the runner dies, its commands go
on, and so do their sessions. Nothing waits for PAM for longer than the time-out of the session.
"""

import enum
import gc
import os
import selectors
import signal
import socket
import sys
import time
from collections.abc import Callable

from pycron.pam.session import hold_session
from pycron.protocol.framing import CHUNK, Decoder, Message, encode
from pycron.protocol.session_messages import SESSION_PROTOCOL, OpenMessage, SessionAnswer
from pycron.system.marks import TreeSearch

_NEVER = float("inf")
_LARGEST_MESSAGE = 2**20  # bytes
_FIRST_INTERVAL = 0.05  # seconds between two looks at which process trees have ended
_LONGEST_INTERVAL = 2.0


class _State(enum.Enum):
    OPENING = enum.auto()  # PAM has not answered
    OPEN = enum.auto()
    ENDING = enum.auto()  # the command has ended, and processes that it started may still run
    CLOSING = enum.auto()  # the session's process closes it and exits


class _Session:
    """A session and its process. `deadline`: when the process is killed (monotonic)."""

    def __init__(self, request: OpenMessage, pid: int, channel: socket.socket) -> None:
        self.mark = request["mark"]
        self.owner = request.get("uid")
        self.runner = os.getppid()
        self.known: dict[int, int | None] = {}
        self.service = request["service"]
        self.timeout = request["timeout"]
        self.pid = pid
        self.channel = channel
        self.handle = os.pidfd_open(pid)
        self.decoder = Decoder(_LARGEST_MESSAGE)
        self.state = _State.OPENING
        self.close_asked = False
        self.deadline = time.monotonic() + self.timeout

    def kill(self) -> None:
        """The process leads a process group, with programs that modules have started."""
        self.deadline = _NEVER
        for kill in (os.killpg, os.kill):
            try:
                kill(self.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass  # it has just ended


class SessionServer:
    """All sessions of one runner.

    `files`: the limit of open files that commands get.
    """

    def __init__(self, runner: socket.socket, files: tuple[int, int]) -> None:
        self._runner = runner
        self._files = files
        self._decoder = Decoder(_LARGEST_MESSAGE)
        self._selector = selectors.DefaultSelector()
        self._sessions: dict[int, _Session] = {}
        self._interval = _FIRST_INTERVAL
        self._look_at = _NEVER  # when to look at process trees (monotonic)
        self._runner_lives = True
        self._watch(runner, self._hear_runner)

    def run(self) -> None:
        """Work until the runner has died and every session is closed."""
        while self._runner_lives or self._sessions:
            for key, _ in self._selector.select(self._patience()):
                if self._selector.get_map().get(key.fd) is key:  # no event before has removed it
                    key.data()
            now = time.monotonic()
            if now >= self._look_at:
                self._look_at_trees(now)
            for session in [each for each in self._sessions.values() if each.deadline <= now]:
                self._give_up(session)

    def _patience(self) -> float | None:
        due = min((each.deadline for each in self._sessions.values()), default=_NEVER)
        due = min(due, self._look_at)
        return None if due == _NEVER else max(0.0, due - time.monotonic())

    def _watch(self, source: socket.socket | int, reader: Callable[[], None]) -> None:
        self._selector.register(source, selectors.EVENT_READ, reader)

    # ---- the runner

    def _hear_runner(self) -> None:
        try:
            data = self._runner.recv(CHUNK)
        except ConnectionError:
            data = b""
        if not data:
            self._runner_has_died()
            return
        for message in self._decoder.feed(data):
            self._take(message)

    def _take(self, message: Message) -> None:
        match message:
            case {"type": "open"}:
                self._open(message)
            case {"type": "close", "mark": mark} if mark in self._sessions:
                self._end(self._sessions[mark])

    def _runner_has_died(self) -> None:
        self._runner_lives = False
        self._selector.unregister(self._runner)
        for session in self._sessions.values():
            session.runner = 0
            self._end(session)

    def _answer(self, answer: SessionAnswer | Message) -> None:
        try:
            self._runner.sendall(encode([answer]))
        except OSError:
            pass  # it has died; the end of the connection will be read

    def _refuse(self, mark: int, reason: str) -> None:
        self._answer({"type": "no_session", "mark": mark, "reason": reason, "final": False})

    # ---- sessions

    def _open(self, message: Message) -> None:
        request: OpenMessage = message  # type: ignore[assignment]  # it comes from the runner
        ours, theirs = socket.socketpair()
        try:
            pid = os.fork()
            if pid == 0:
                ours.close()
                self._run_session(request, theirs)
            session = _Session(request, pid, ours)
        except OSError as error:
            ours.close()
            self._refuse(request["mark"], f"PAM: cannot fork: {error.strerror}")
            return
        finally:
            theirs.close()
        self._sessions[session.mark] = session
        self._watch(session.channel, lambda: self._hear_session(session))
        self._watch(session.handle, lambda: self._reap(session))

    def _run_session(self, request: OpenMessage, channel: socket.socket) -> None:
        """Runs in the new process; it never returns, also after an error.

        It closes its copies of all connections, which must end when this server dies.
        """
        try:
            os.setsid()
            self._selector.close()
            for connection in [self._runner, *(each.channel for each in self._sessions.values())]:
                connection.close()
            hold_session(request, channel, self._files)
        except BaseException:  # noqa: BLE001  it goes to the log of the runner
            sys.excepthook(*sys.exc_info())
        finally:
            os._exit(0)

    def _hear_session(self, session: _Session) -> None:
        try:
            data = session.channel.recv(CHUNK)
        except ConnectionError:
            data = b""
        if not data:  # its end is reported by the handle of the process
            self._selector.unregister(session.channel)
            return
        for message in session.decoder.feed(data):
            self._answered(session, message)

    def _answered(self, session: _Session, message: Message) -> None:
        """PAM has answered; a process whose session was refused exits by itself."""
        if session.state is not _State.OPENING:
            return
        self._answer(message)
        if message["type"] != "opened":
            session.state = _State.CLOSING
            return
        session.state, session.deadline = _State.OPEN, _NEVER
        if session.close_asked:
            self._end(session)

    def _end(self, session: _Session) -> None:
        """The command of a session has ended, or never began."""
        if session.state is _State.OPENING:
            session.close_asked = True
        elif session.state is _State.OPEN:
            session.state = _State.ENDING
            self._interval = _FIRST_INTERVAL
            self._look_at = min(self._look_at, time.monotonic() + self._interval)

    def _look_at_trees(self, now: float) -> None:
        """Close the sessions whose process trees have ended; one look at /proc for all of them."""
        ending = [each for each in self._sessions.values() if each.state is _State.ENDING]
        members = TreeSearch(ending).all()
        for session in ending:
            if not members[session.mark]:
                session.state, session.deadline = _State.CLOSING, now + session.timeout
                session.channel.shutdown(socket.SHUT_WR)
        self._interval = min(2 * self._interval, _LONGEST_INTERVAL)
        waiting = any(members.values())
        self._look_at = now + self._interval if waiting else _NEVER

    def _give_up(self, session: _Session) -> None:
        """PAM has not answered in time, when the session was opened or closed."""
        if session.state is _State.OPENING:
            reason = f"PAM (service {session.service}): no answer within {session.timeout} seconds"
            self._refuse(session.mark, reason)
            session.state = _State.CLOSING
        session.kill()

    def _reap(self, session: _Session) -> None:
        os.waitpid(session.pid, 0)
        if session.state is _State.OPENING:
            self._hear_last_words(session)
        for source in (session.channel, session.handle):
            if source in self._selector.get_map():
                self._selector.unregister(source)
        session.channel.close()
        os.close(session.handle)
        del self._sessions[session.mark]

    def _hear_last_words(self, session: _Session) -> None:
        """The answer of a process that has ended may not have been read yet."""
        if session.channel in self._selector.get_map():
            session.channel.setblocking(False)
            try:
                self._hear_session(session)
            except BlockingIOError:
                pass
        if session.state is _State.OPENING:
            reason = "the process of the session has died: see the log of the runner"
            self._refuse(session.mark, f"PAM (service {session.service}): {reason}")


def main() -> None:
    """`python -m pycron.pam DESCRIPTOR PROTOCOL SOFT HARD`: see __main__.py."""
    descriptor, protocol, soft, hard = map(int, sys.argv[1:])
    if protocol != SESSION_PROTOCOL:
        sys.exit("pam: pycron was upgraded: the next runner can open PAM sessions, this one cannot")
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # sessions end with their commands
    os.set_inheritable(descriptor, False)
    server = SessionServer(socket.socket(fileno=descriptor), (soft, hard))
    gc.freeze()
    gc.disable()
    server.run()
