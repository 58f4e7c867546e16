"""The runner: the parent of every command.

It forks, pumps output into files, waits, and tells the daemon (wire.py). It decides nothing. It
outlives the daemon: what it has not been able to tell, or what was not acknowledged, is told to the
next one. When there is no daemon and nothing left to keep, it exits.

Its memory is what a fork costs, so it imports next to nothing, and everything it needs at once: the
files on disk may be another version's by the time it would import them.
"""

import ctypes
import gc
import os
import resource
import select
import signal
import socket
import sys
import time
from collections import deque
from collections.abc import Callable

from pycron.sockets import credentials
from pycron.spawn import Order, check_order, spawn
from pycron.wire import PROTOCOL, Decoder, Message, encode

_CHUNK = 65_536
_STARTS_A_TURN = 16  # then the rest of the work has its turn
_MESSAGE_LIMIT = 64 * 2**20
_FIRST_CONTACT = 60.0  # seconds
_PR_SET_CHILD_SUBREAPER = 36
_PAUSE = 1.0  # seconds, after no descriptor could be had for a connection


class _Output:
    """What a command prints: read from its pipe, kept in a file up to a limit, the rest counted."""

    def __init__(self, pipe: int, path: str, limit: int) -> None:
        self.pipe = pipe
        self.total = 0
        self.kept = 0
        self._path = path
        self._room = limit
        self._file: int | None = None

    @property
    def open(self) -> bool:
        return self.pipe >= 0

    def pump(self) -> bool:
        """Take what is there, a chunk at the most; False at the end of the pipe."""
        try:
            data = os.read(self.pipe, _CHUNK)
        except BlockingIOError:
            return True
        self.total += len(data)
        self._keep(data[: self._room])
        return bool(data)

    def drain(self) -> None:
        """Take what an ended command left in the pipe; its children may go on writing for ever."""
        for _ in range(1 + 2**20 // _CHUNK):
            before = self.total
            if not self.pump() or self.total == before:
                return

    def _keep(self, data: bytes) -> None:
        if not data:
            return
        try:
            if self._file is None:
                self._file = self._create()
            written = os.write(self._file, data)
            self.kept += written
            self._room -= written
        except OSError:
            self._room = 0  # a full disk ends the recording, never the command

    def _create(self) -> int:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            return os.open(self._path, flags, 0o600)
        except FileNotFoundError:
            os.mkdir(os.path.dirname(self._path), 0o700)
            return os.open(self._path, flags, 0o600)

    def close(self) -> None:
        os.close(self.pipe)
        self.pipe = -1
        if self._file is not None:
            os.close(self._file)


class _Attempt:
    """A command that was started and is not forgotten yet. `ended` is its message, once it is.

    `signals`: what is to be sent as soon as it has a pid.
    """

    __slots__ = ("ended", "id", "output", "pid", "report_output", "signals", "started")

    def __init__(self, order: Order) -> None:
        self.id: str = order["id"]
        self.report_output: bool = order["report_output"]
        self.pid = 0
        self.started = 0.0
        self.signals: list[int] = []
        self.output: _Output | None = None
        self.ended: Message | None = None

    def message(self) -> Message:
        return self.ended or {
            "type": "started", "id": self.id, "pid": self.pid, "started": self.started,
        }  # fmt: skip


class Runner:
    """One listening socket, at most one daemon, any number of commands."""

    def __init__(self, listener: socket.socket) -> None:
        self._instance = f"{os.getpid()}-{time.time_ns()}"
        self._listener = listener
        self._listen_again: float | None = None
        self._daemon: socket.socket | None = None
        self._greeted = False
        self._decoder = Decoder(_MESSAGE_LIMIT)
        self._outgoing = bytearray()
        self._grown: set[str] = set()
        self._leaving = False
        self._deadline: float | None = time.monotonic() + _FIRST_CONTACT
        self._orders: deque[Order] = deque()
        self._held: dict[str, Order] = {}
        self._attempts: dict[str, _Attempt] = {}
        self._by_pid: dict[int, _Attempt] = {}
        self._failures: dict[str, str] = {}
        self._poll = select.epoll()
        self._readers: dict[int, Callable[[], None]] = {}
        self._files = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (self._files[1], self._files[1]))
        self._children = self._signal_pipe()
        self._errors, self._errors_in = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._watch(self._errors, self._read_failures)
        self._watch(listener.fileno(), self._accept)

    def run(self) -> None:
        """Until there is neither a daemon nor anything left to keep."""
        while not self._done():
            waits = self._deadline is not None or self._listen_again is not None
            timeout = 0.0 if self._orders else _PAUSE if waits else -1.0
            for descriptor, events in self._poll.poll(timeout):
                if events & select.EPOLLOUT:
                    self._send()
                if events & ~select.EPOLLOUT and descriptor in self._readers:
                    self._readers[descriptor]()
            for _ in range(min(_STARTS_A_TURN, len(self._orders))):
                self._start(self._orders.popleft())
            self._send()
            self._resume_listening()

    def _done(self) -> bool:
        """Nothing runs, no pipe is held open for a background child, and nobody will ask."""
        if self._orders or self._by_pid or len(self._readers) > self._own_readers:
            return False
        if self._leaving:
            return self._daemon is None or not (self._attempts or self._outgoing)
        waited = self._deadline is None or time.monotonic() > self._deadline
        return self._daemon is None and not self._attempts and waited

    @property
    def _own_readers(self) -> int:
        """How many descriptors are watched that are no command's: see __init__ and _accept."""
        return 3 + (self._daemon is not None)

    # ---- descriptors

    def _watch(self, descriptor: int, reader: Callable[[], None]) -> None:
        self._readers[descriptor] = reader
        self._poll.register(descriptor, select.EPOLLIN)

    def _unwatch(self, descriptor: int) -> None:
        del self._readers[descriptor]
        self._poll.unregister(descriptor)

    def _signal_pipe(self) -> int:
        receiver, sender = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.set_wakeup_fd(sender, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        # A terminal's Ctrl-C is for the daemon, which says what is to become of the commands.
        for number in (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        self._watch(receiver, self._reap)
        return receiver

    # ---- the daemon

    def _accept(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except OSError:  # it has gone, or there is no descriptor to be had
            self._poll.modify(self._listener.fileno(), 0)
            self._listen_again = time.monotonic() + _PAUSE
            return
        _, uid, _ = credentials(connection)
        if self._daemon is not None:
            self._read_daemon()  # its last words, if it is dead
        if uid not in (0, os.geteuid()) or self._daemon is not None:
            connection.close()
            return
        connection.setblocking(False)
        self._daemon = connection
        self._greeted = False
        self._decoder = Decoder(_MESSAGE_LIMIT)
        self._deadline = None
        self._leaving = False
        self._watch(connection.fileno(), self._read_daemon)

    def _resume_listening(self) -> None:
        if self._listen_again is not None and time.monotonic() >= self._listen_again:
            self._listen_again = None
            self._poll.modify(self._listener.fileno(), select.EPOLLIN)

    def _read_daemon(self) -> None:
        while self._daemon is not None:
            try:
                data = self._daemon.recv(2**20)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if not data:
                self._drop_daemon()
                return
            try:
                for message in self._decoder.feed(data):
                    self._take(message)
            except (ValueError, KeyError, TypeError) as error:  # garbage: it is no daemon of ours
                sys.stderr.write(f"runner: dropped the connection: {error!r}\n")
                self._drop_daemon()

    def _drop_daemon(self) -> None:
        assert self._daemon is not None
        self._unwatch(self._daemon.fileno())
        self._daemon.close()
        self._daemon = None
        self._greeted = False
        self._outgoing.clear()
        self._grown.clear()
        for attempt in self._held:
            del self._attempts[attempt]
        self._held.clear()

    def _take(self, message: Message) -> None:
        match message.get("type"):
            case "hello":
                self._greet()
            case "start":
                check_order(message)
                if message["id"] not in self._attempts:
                    self._take_order(message)
            case "go":
                for attempt in message["ids"]:
                    if attempt in self._held:
                        self._orders.append(self._held.pop(attempt))
            case "drop":
                if self._held.pop(message["id"], None):
                    del self._attempts[message["id"]]
            case "ack":
                for attempt in message["ids"]:
                    self._forget(attempt)
            case "signal":
                self._signal(message["id"], message["signal"])
            case "leave":
                self._leaving = True

    def _take_order(self, order: Order) -> None:
        self._attempts[order["id"]] = _Attempt(order)
        if order["hold"]:
            self._held[order["id"]] = order
        else:
            self._orders.append(order)

    def _greet(self) -> None:
        while self._orders:  # of a daemon that is dead: it recorded them as begun
            self._start(self._orders.popleft())
        self._outgoing.clear()
        self._greeted = True
        self._say(
            {
                "type": "hello",
                "protocol": PROTOCOL,
                "instance": self._instance,
                "attempts": [attempt.message() for attempt in self._attempts.values()],
            }
        )

    def _say(self, message: Message) -> None:
        if self._greeted:
            self._outgoing += encode([message])

    def _send(self) -> None:
        if self._daemon is None or not self._greeted:
            return
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
        wanted = select.EPOLLIN | (select.EPOLLOUT if self._outgoing else 0)
        self._poll.modify(self._daemon.fileno(), wanted)

    # ---- commands

    def _start(self, order: Order) -> None:
        attempt = self._attempts[order["id"]]
        try:
            receiver, sender = os.pipe2(os.O_CLOEXEC)
        except OSError as error:
            self._refuse(attempt, error)
            return
        try:
            attempt.pid = spawn(order, sender, self._errors_in, self._files)
        except OSError as error:
            os.close(receiver)
            self._refuse(attempt, error)
            return
        finally:
            os.close(sender)
        attempt.started = time.time()
        for number in attempt.signals:
            os.kill(attempt.pid, number)
        attempt.output = _Output(receiver, order["output"], order["output_limit"])
        self._by_pid[attempt.pid] = attempt
        os.set_blocking(receiver, False)
        self._watch(receiver, lambda: self._pump(attempt))
        self._say(attempt.message())

    def _refuse(self, attempt: _Attempt, error: OSError) -> None:
        reason = f"cannot fork: {error.strerror}"
        attempt.ended = {"type": "refused", "id": attempt.id, "reason": reason}
        self._say(attempt.ended)

    def _pump(self, attempt: _Attempt) -> None:
        output = attempt.output
        assert output is not None
        if not output.pump():
            self._unwatch(output.pipe)
            output.close()
        if attempt.report_output:
            self._grown.add(attempt.id)

    def _reap(self) -> None:
        try:
            while os.read(self._children, 4096):
                pass
        except BlockingIOError:
            pass
        while True:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            attempt = self._by_pid.pop(pid, None)
            if attempt is not None:  # else an orphan of some command, adopted as its subreaper
                self._end(attempt, status, usage)

    def _end(self, attempt: _Attempt, status: int, usage: resource.struct_rusage) -> None:
        code = os.waitstatus_to_exitcode(status)
        assert attempt.output is not None
        if attempt.output.open:
            attempt.output.drain()
        self._read_failures()
        attempt.ended = {
            "type": "ended",
            "id": attempt.id,
            "pid": attempt.pid,
            "started": attempt.started,
            "ended": time.time(),
            "exit_status": code if code >= 0 else None,
            "signal": -code if code < 0 else None,
            "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 6),
            "memory_peak": usage.ru_maxrss * 1024,
            "output_bytes": attempt.output.total,
            "output_kept": attempt.output.kept,
            "cause": None,
            "reason": self._failures.pop(attempt.id, None),
        }
        if attempt.report_output:
            self._grown.add(attempt.id)
        self._say(attempt.ended)

    def _read_failures(self) -> None:
        """What children said about why they could not run their command."""
        try:
            text = os.read(self._errors, _CHUNK).decode("utf-8", "replace")
        except BlockingIOError:
            return
        for line in text.rstrip("\n").split("\n"):
            attempt, _, reason = line.partition(" ")
            self._failures[attempt] = reason

    def _signal(self, id: str, number: int) -> None:
        attempt = self._attempts.get(id)
        signal.Signals(number)  # a ValueError for what is none
        if attempt is not None and not attempt.pid and attempt.ended is None:
            attempt.signals.append(number)
        if attempt is None or attempt.pid not in self._by_pid:
            return  # ended: its pid may be somebody else's by now
        try:
            try:
                os.killpg(attempt.pid, number)
            except ProcessLookupError:
                os.kill(attempt.pid, number)  # not the leader of its group yet
        except PermissionError:
            sys.stderr.write(f"runner: {id}: not permitted to signal its processes\n")

    def _forget(self, id: str) -> None:
        attempt = self._attempts.get(id)
        if attempt is not None and attempt.ended is not None:
            del self._attempts[id]  # its pipe is still pumped where a child of it has it open


def _reset_signals() -> None:
    """Whatever was blocked or ignored by who started this process: commands get none of it."""
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    for number in signal.valid_signals() - {signal.SIGPIPE, signal.SIGXFSZ}:
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)


def main() -> None:
    """`python -m pycron.runner DESCRIPTOR`: the listening socket, inherited."""
    descriptor = int(sys.argv[1])
    for other in os.listdir("/proc/self/fd"):
        if int(other) > 2 and int(other) != descriptor:
            try:
                os.close(int(other))
            except OSError:
                pass  # the one that listed them
    os.set_inheritable(descriptor, False)
    _reset_signals()
    os.umask(0o022)
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    runner = Runner(socket.socket(fileno=descriptor))
    gc.freeze()
    gc.disable()
    runner.run()


if __name__ == "__main__":
    main()
