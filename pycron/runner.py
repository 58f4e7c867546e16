"""The runner: the parent of every command.

It forks, pumps output into files, waits, and tells the daemon (wire.py). It decides nothing; it
ends what goes beyond the limits of its order, with or without a daemon. It outlives the daemon:
what it has not been able to tell, or what was not acknowledged, is told to the next one. When there
is no daemon and nothing left to keep, it exits; at once where the last daemon said good-bye.

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
from collections.abc import Callable
from itertools import islice
from operator import itemgetter

from pycron.cgroup import Cgroup, Delegation, take_delegation
from pycron.orders import Orders, User, user_of
from pycron.recording import CHUNK, Recording
from pycron.sockets import credentials
from pycron.spawn import (
    NO_PROCESS,
    STARTED,
    UNTOUCHED,
    Batch,
    Launch,
    Order,
    check_end,
    check_order,
    kind_of,
)
from pycron.tree import NEVER, Tree, marked, private_memory
from pycron.wire import PROTOCOL, Decoder, Message, encode

_READY = 2  # orders that a starter is forked for ahead of their time
BATCH = 32  # commands that one starter starts at the most
STARTERS = 2 * (os.cpu_count() or 1)  # at a time, of one user
_WORD_PACE = 1.0  # seconds between two words to the daemon, while there is something to start
_STARTER_PACE = 0.25  # seconds between two looks at what starters have done
_STARTER_PATIENCE = 1.0  # seconds after which one is overdue
_MESSAGE_LIMIT = 64 * 2**20
_FIRST_CONTACT = 60.0  # seconds
_PR_SET_CHILD_SUBREAPER = 36
_PAUSE = 1.0  # seconds, after no descriptor could be had for a connection
_HOLDING = 1.0  # seconds for which what a command has printed may be nowhere but here
_MEMORY_PACE = 1.0  # seconds between two looks at what trees without a cgroup have
_KILLED = "killed while it was being started"
_REMOVAL_PACE = 5.0  # seconds, while background children keep the cgroup of an ended Attempt
_LONGEST_WAIT = 86_400.0  # seconds; epoll takes no more than 24 days

_Usage = resource.struct_rusage


class _Attempt:
    """A command that was started and is not forgotten yet. `ended` is its message, once it is.

    `signals`: what is to be sent as soon as it has a pid. `deadline`: the instant (monotonic) at
    which its time is out. `cause` and `reason`: why it was ended, where it did not end by itself.
    `starter`: the pid of the process that is about to start it, 0 when none is; `order`: what it
    then starts; `end_order`: the order to end it that has come meanwhile.
    """

    __slots__ = (
        "cause", "deadline", "end_order", "ended", "id", "kill_after", "memory_max", "order",
        "output", "pid", "reason", "report_output", "signals", "started", "starter", "timeout",
        "tree",
    )  # fmt: skip

    def __init__(self, order: Order) -> None:
        self.id: str = order["id"]
        self.report_output: bool = order["report_output"]
        self.timeout: int | None = order["timeout"]
        self.kill_after: int = order["kill_after"]
        self.memory_max: int | None = order["memory_max"]
        self.pid = 0
        self.started = 0.0
        self.deadline = NEVER
        self.signals: tuple[int, ...] = ()
        self.output: Recording | None = None
        self.tree = Tree()
        self.cause: str | None = None
        self.reason: str | None = None
        self.ended: Message | None = None
        self.order: Order | None = order
        self.starter = 0
        self.end_order: Message | None = None

    def message(self) -> Message:
        if self.ended is not None:
            return self.ended
        if not self.pid:
            return {"type": "starting", "id": self.id}
        return {"type": "started", "id": self.id, "pid": self.pid, "started": self.started}


class _Starter:
    """A batch at work. `next`: the first of its commands that is not known to have been started."""

    __slots__ = ("attempts", "batch", "next", "since", "user")

    def __init__(self, batch: Batch, attempts: list[_Attempt], user: User) -> None:
        self.batch = batch
        self.attempts = attempts
        self.user = user
        self.next = 0
        self.since = time.monotonic()

    @property
    def overdue(self) -> bool:
        """Its user has stopped it, or a file system keeps it waiting."""
        return time.monotonic() - self.since > _STARTER_PATIENCE


class Runner:
    """One listening socket, at most one daemon, any number of commands."""

    def __init__(self, listener: socket.socket, delegation: Delegation | None) -> None:
        self._instance = f"{os.getpid()}-{time.time_ns()}"
        self._delegation = delegation
        self._listener = listener
        self._listen_again: float | None = None
        self._daemon: socket.socket | None = None
        self._greeted = False
        self._blocked = False  # the daemon takes nothing more for the moment
        self._decoder = Decoder(_MESSAGE_LIMIT)
        self._outgoing = bytearray()
        self._news: dict[str, _Attempt] = {}  # what the daemon is still to hear of
        self._grown: set[str] = set()
        self._next_word = 0.0
        self._bye = False
        self._leaving = False
        self._deadline: float | None = time.monotonic() + _FIRST_CONTACT
        self._orders = Orders()
        self._held: dict[str, Order] = {}
        self._starters: dict[int, _Starter] = {}
        self._ready: _Starter | None = None  # it waits for the word with the first that are held
        self._attempts: dict[str, _Attempt] = {}
        self._by_pid: dict[int, _Attempt] = {}
        self._failures: dict[str, str] = {}
        self._ending: list[Tree] = []
        self._left: list[Cgroup] = []
        self._alarm = NEVER
        self._memory_due = NEVER
        self._holding: set[Recording] = set()
        self._holding_due = NEVER
        self._urge_due = 0.0
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
            for descriptor, events in self._poll.poll(self._patience()):
                if events & select.EPOLLOUT:
                    self._send()
                if events & ~select.EPOLLOUT and descriptor in self._readers:
                    self._readers[descriptor]()
            if self._may_start:
                self._start_batch()
            if self._held and self._ready is None and not self._orders:
                self._get_ready()
            if self._starters:
                self._hear_starters()
                self._urge_starters()
            if time.monotonic() >= self._alarm:
                self._tend()
            self._send()
            self._resume_listening()

    def _patience(self) -> float:
        """How long to wait for a descriptor, in seconds."""
        if self._may_start:
            return 0.0
        waits = self._deadline is not None or self._listen_again is not None
        until_alarm = max(0.0, self._alarm - time.monotonic())
        pause = _STARTER_PACE if self._starters else _PAUSE if waits else _LONGEST_WAIT
        return min(until_alarm, pause)

    @property
    def _may_start(self) -> bool:
        """Whether there is room for one more starter, and somebody whose commands it can start."""
        if not self._orders:
            return False
        in_time = sum(not starter.overdue for starter in self._starters.values())
        return in_time < 2 * STARTERS and self._orders.any_but(self._barred())

    def _barred(self) -> set[User]:
        """Who gets no further starter now.

        With as many at work as there should be, that is everybody who has one: so nobody has to
        wait for another user's. Somebody with an overdue one has them one after the other.
        """
        starters = self._starters.values()
        slow = {starter.user for starter in starters if starter.overdue}
        in_time = [starter.user for starter in starters if not starter.overdue]
        return {user for user in in_time if len(in_time) >= STARTERS or user in slow}

    def _done(self) -> bool:
        """Nothing runs, no pipe is held open for a background child, and nobody will ask."""
        if self._orders or self._starters or self._by_pid or self._ending:
            return False
        if len(self._readers) > self._own_readers:
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
        self._greeted = self._blocked = False
        self._decoder = Decoder(_MESSAGE_LIMIT)
        self._deadline = None
        self._bye = self._leaving = False
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
        self._news.clear()
        self._grown.clear()
        if not self._bye:  # only this runner can tell the next daemon what was never started
            self._deadline = time.monotonic() + _FIRST_CONTACT
        self._stand_down()
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
                self._let_go(message["until"])
                for attempt, order in list(self._held.items()):
                    if order["hold"] <= message["until"]:
                        self._orders.add(self._held.pop(attempt))
            case "drop":
                if self._held.pop(message["id"], None):
                    self._stand_down()
                    del self._attempts[message["id"]]
            case "ack":
                for attempt in message["ids"]:
                    self._forget(attempt)
            case "signal":
                self._signal(message["id"], message["signal"])
            case "end":
                check_end(message)
                self._end_by_order(message)
            case "bye":
                self._bye = True
            case "leave":
                self._bye = self._leaving = True

    def _take_order(self, order: Order) -> None:
        self._attempts[order["id"]] = _Attempt(order)
        if order["hold"] is not None:
            self._held[order["id"]] = order
        else:
            self._orders.add(order)

    def _greet(self) -> None:
        self._greeted = True
        self._news.clear()
        hello = {
            "type": "hello",
            "protocol": PROTOCOL,
            "instance": self._instance,
            "cgroup": self._delegation.path if self._delegation else None,
            "attempts": [attempt.message() for attempt in self._attempts.values()],
        }
        self._outgoing[:] = encode([hello])

    def _tell(self, attempt: _Attempt) -> None:
        """With the next word: of one that has ended by then, no more than its end."""
        if self._greeted:
            self._news[attempt.id] = attempt

    def _send(self) -> None:
        if self._daemon is None or not self._greeted:
            return
        if self._orders and time.monotonic() < self._next_word:
            return  # what is due is started first; the daemon would only take the time for it
        self._next_word = time.monotonic() + _WORD_PACE
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
            self._poll.modify(self._daemon.fileno(), wanted)
            self._blocked = blocked

    # ---- commands

    def _start_batch(self) -> None:
        """Start the first orders that wait, as many of one kind as one starter may have."""
        size = min(BATCH, -(-len(self._orders) // STARTERS))
        orders = self._orders.next_turn(self._barred())
        launches: list[Launch] = []
        attempts: list[_Attempt] = []
        while orders and len(launches) < size:
            order = orders[0]
            attempt = self._attempts.get(order["id"])
            if attempt is None or attempt.ended is not None:  # it was ended before it was started
                orders.popleft()
                continue
            if launches and not _fits(launches[-1], order, attempt):
                break
            orders.popleft()
            launch = self._prepare(attempt, order)
            if launch is not None:
                launches.append(launch)
                attempts.append(attempt)
        if launches:
            self._launch(_Starter(Batch(launches), attempts, user_of(launches[0].order)))

    def _prepare(self, attempt: _Attempt, order: Order) -> Launch | None:
        receiver = sender = -1
        attempt.tree.cgroup = self._cgroup_for(order)
        try:
            receiver, sender = os.pipe2(os.O_CLOEXEC)
            launch = Launch(order, attempt.tree, sender)
        except OSError as error:
            for descriptor in (receiver, sender):
                if descriptor >= 0:
                    os.close(descriptor)
            self._fail(attempt, f"cannot fork: {error.strerror}")
            return None
        os.set_blocking(receiver, False)
        attempt.output = Recording(
            receiver, order["output"], order["output_limit"], order["short_output"]
        )
        self._watch(receiver, lambda: self._pump(attempt))
        return launch

    def _get_ready(self) -> None:
        """Fork the starter of the first orders that are held; it waits for the word as well."""
        first = min(self._held.values(), key=itemgetter("hold"))
        alike = (
            order
            for order in self._held.values()
            if order["hold"] == first["hold"] and kind_of(order) == kind_of(first)
        )
        orders = list(islice(alike, _READY))
        attempts = [self._attempts[order["id"]] for order in orders]
        launches: list[Launch] = []
        for attempt, order in zip(attempts, orders, strict=True):
            launch = self._prepare(attempt, order)
            if launch is None:  # no descriptor is to be had: it is refused
                del self._held[order["id"]]
                for each in launches:
                    each.close()
                    self._close_output(self._attempts[each.order["id"]])
                return
            launches.append(launch)
        starter = _Starter(Batch(launches, waits=True), attempts, user_of(orders[0]))
        starter.since = NEVER  # it is not to be at work before the word
        if self._launch(starter):
            self._ready = starter

    def _let_go(self, until: int) -> None:
        starter = self._ready
        if starter is None or starter.batch.launches[0].order["hold"] > until:
            return
        self._ready = None
        starter.batch.let_go(go=True)
        starter.since = time.monotonic()
        for attempt in starter.attempts:
            del self._held[attempt.id]

    def _stand_down(self) -> None:
        """The starter that waits exits; its orders are held like the others."""
        starter, self._ready = self._ready, None
        if starter is not None:
            starter.batch.let_go(go=False)
            for attempt in starter.attempts:
                self._close_output(attempt)
                self._leave_behind(attempt.tree)
                attempt.starter = 0
            starter.attempts = []

    def _launch(self, starter: "_Starter") -> bool:
        try:
            pid = starter.batch.start(self._errors_in, self._files)
        except OSError as error:
            for attempt in starter.attempts:
                self._held.pop(attempt.id, None)
                self._close_output(attempt)
                self._fail(attempt, f"cannot fork: {error.strerror}")
            return False
        self._starters[pid] = starter
        for attempt in starter.attempts:
            attempt.starter = pid
        return True

    def _fail(self, attempt: _Attempt, reason: str) -> None:
        self._leave_behind(attempt.tree)
        self._refuse(attempt, None, reason)

    def _hear_starters(self) -> None:
        """Take the commands that starters have started."""
        for starter in list(self._starters.values()):
            while starter.next < len(starter.attempts):
                pid, started, state = starter.batch.told(starter.next)
                if state != STARTED:
                    break
                attempt = starter.attempts[starter.next]
                starter.next += 1
                attempt.starter = 0
                if pid == NO_PROCESS:
                    self._take_failure(attempt)
                else:
                    self._take_command(attempt, pid, started)

    def _urge_starters(self) -> None:
        """Whoever stops their starters, and what is about to be a command, stops neither for long.

        A command that isn't known yet can't be ended, nor can its time be measured.
        """
        now = time.monotonic()
        overdue = {pid: s for pid, s in self._starters.items() if s.overdue}
        if not overdue or now < self._urge_due:
            return
        self._urge_due = now + _STARTER_PATIENCE
        begun = [s.attempts[s.next].tree for s in overdue.values() if s.next < len(s.attempts)]
        bearers = marked(tree.mark for tree in begun)
        for tree in begun:
            tree.wake(bearers[tree.mark])
        for pid in overdue:
            os.kill(pid, signal.SIGCONT)

    def _take_command(self, attempt: _Attempt, pid: int, started: float) -> None:
        attempt.pid, attempt.started = pid, started
        attempt.tree.leader = pid
        attempt.order = None  # thousands may run
        self._by_pid[pid] = attempt
        self._set_limits(attempt)
        self._tell(attempt)
        for number in attempt.signals:
            os.kill(pid, number)
        if attempt.end_order is not None:
            self._end_by_order(attempt.end_order)

    def _take_failure(self, attempt: _Attempt) -> None:
        """No process could be had to be the command."""
        self._close_output(attempt)
        self._read_failures()
        self._fail(attempt, self._failures.pop(attempt.id, "cannot fork"))

    def _starter_ended(self, starter: "_Starter", pid: int, status: int, usage: _Usage) -> None:
        """One that was killed at its work leaves commands that nobody has started."""
        if starter is self._ready:  # somebody has killed it
            self._stand_down()
        self._hear_starters()
        del self._starters[pid]
        for index in reversed(range(starter.next, len(starter.attempts))):
            attempt = starter.attempts[index]
            attempt.starter = 0
            _, started, state = starter.batch.told(index)
            if state == UNTOUCHED:
                self._put_back(attempt)
            else:  # it was about to be the command itself, and may have started it all the same
                attempt.pid, attempt.started = pid, started
                why = attempt.end_order or {"cause": None, "reason": _KILLED}
                self._end_tree(attempt, why["cause"], why["reason"], 0)
                self._end(attempt, status, usage)

    def _put_back(self, attempt: _Attempt) -> None:
        assert attempt.order is not None
        self._close_output(attempt)
        self._leave_behind(attempt.tree)
        if attempt.end_order is not None:
            self._end_by_order(attempt.end_order)
        else:
            self._orders.put_back(attempt.order)

    def _cgroup_for(self, order: Order) -> Cgroup | None:
        if self._delegation is None:
            return None
        return self._delegation.make(order["id"], order["memory_max"], order["processes_max"])

    def _set_limits(self, attempt: _Attempt) -> None:
        now = time.monotonic()
        if attempt.timeout is not None:
            attempt.deadline = now + attempt.timeout
            self._wake_at(attempt.deadline)
        if attempt.memory_max is not None:
            self._memory_due = min(self._memory_due, now + _MEMORY_PACE)
            self._wake_at(self._memory_due)

    def _refuse(self, attempt: _Attempt, cause: str | None, reason: str) -> None:
        attempt.ended = {"type": "refused", "id": attempt.id, "cause": cause, "reason": reason}
        self._tell(attempt)

    def _pump(self, attempt: _Attempt) -> None:
        output = attempt.output
        assert output is not None
        if not output.pump():
            self._close_output(attempt)
        if output.held:
            self._hold(output)
        if attempt.report_output:
            self._grown.add(attempt.id)

    def _hold(self, output: Recording) -> None:
        if not self._holding:
            self._holding_due = time.monotonic() + _HOLDING
            self._wake_at(self._holding_due)
        self._holding.add(output)

    def _close_output(self, attempt: _Attempt) -> None:
        assert attempt.output is not None
        if attempt.output.open:
            self._unwatch(attempt.output.pipe)
            attempt.output.close()

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
            self._reaped(pid, status, usage)

    def _reaped(self, pid: int, status: int, usage: _Usage) -> None:
        """A command, a starter, or an orphan of some command, adopted as its subreaper."""
        if pid in self._starters:
            self._starter_ended(self._starters[pid], pid, status, usage)
            return
        if pid not in self._by_pid:
            self._hear_starters()  # the last word of one that has ended
        attempt = self._by_pid.pop(pid, None)
        if attempt is not None:
            self._end(attempt, status, usage)

    def _end(self, attempt: _Attempt, status: int, usage: _Usage) -> None:
        code = os.waitstatus_to_exitcode(status)
        output, tree = attempt.output, attempt.tree
        assert output is not None
        if output.open and not output.drain():
            self._close_output(attempt)
        # Without a daemon it could be here for long, and with many others.
        short = output.take_short() if self._greeted else None
        output.finish()
        self._read_failures()
        self._blame_memory(attempt)
        attempt.ended = {
            "type": "ended",
            "id": attempt.id,
            "pid": attempt.pid,
            "started": attempt.started,
            "ended": time.time(),
            "exit_status": code if code >= 0 else None,
            "signal": -code if code < 0 else None,
            "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 6),
            "memory_peak": (tree.cgroup and tree.cgroup.memory_peak()) or usage.ru_maxrss * 1024,
            "output_bytes": output.total,
            "output_kept": output.kept,
            "output": short and short.decode("latin-1"),
            "cause": attempt.cause,
            "reason": attempt.reason or self._failures.get(attempt.id),
        }
        self._failures.pop(attempt.id, None)
        self._leave_behind(tree)
        if attempt.report_output:
            self._grown.add(attempt.id)
        self._tell(attempt)

    def _leave_behind(self, tree: Tree) -> None:
        """The command itself has ended; what is left of its tree may still have to be."""
        tree.leader = 0
        if tree.ending:
            tree.due = time.monotonic()
            self._wake_at(tree.due)
        if tree.cgroup is not None and not tree.cgroup.remove():
            self._left.append(tree.cgroup)
            self._wake_at(time.monotonic() + _REMOVAL_PACE)

    def _read_failures(self) -> None:
        """What children said about why they could not run their command."""
        try:
            text = os.read(self._errors, CHUNK).decode("utf-8", "replace")
        except BlockingIOError:
            return
        for line in text.rstrip("\n").split("\n"):
            attempt, _, reason = line.partition(" ")
            self._failures[attempt] = reason

    def _signal(self, id: str, number: int) -> None:
        attempt = self._attempts.get(id)
        signal.Signals(number)  # a ValueError for what is none
        if attempt is not None and not attempt.pid and attempt.ended is None:
            attempt.signals += (number,)  # for when it has one
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

    # ---- ending what did not end by itself

    def _end_by_order(self, message: Message) -> None:
        attempt = self._attempts.get(message["id"])
        if attempt is None or attempt.ended is not None:
            return
        if attempt.id in self._held:
            self._stand_down()
            del self._held[attempt.id]
        if attempt.starter:
            attempt.end_order = message  # for when it has a pid
            if self._starters[attempt.starter].overdue:
                os.kill(attempt.starter, signal.SIGKILL)
        elif not attempt.pid:
            self._refuse(attempt, message["cause"], message["reason"])
        else:
            self._end_tree(attempt, message["cause"], message["reason"], message["kill_after"])

    def _end_tree(self, attempt: _Attempt, cause: str | None, reason: str, kill_after: int) -> None:
        tree = attempt.tree
        if not tree.ending:
            attempt.cause, attempt.reason = cause, reason
            self._ending.append(tree)
        tree.end(time.monotonic(), kill_after)
        self._wake_at(tree.due)

    def _wake_at(self, instant: float) -> None:
        self._alarm = min(self._alarm, instant)

    def _tend(self) -> None:
        """Everything that is due by the clock; it sets the alarm for what comes next.

        Of the end of a tree it is one step, so that other commands are started in time.
        """
        now = time.monotonic()
        self._alarm = NEVER
        self._end_overdue(now)
        self._write_held(now)
        watched = self._watched(now)
        due = [tree for tree in self._ending if tree.due <= now]
        bearers = marked([*(attempt.tree.mark for attempt in watched), *(t.mark for t in due)])
        for attempt in watched:
            self._check_memory(attempt, bearers[attempt.tree.mark])
        for tree in due:
            if not tree.step(bearers[tree.mark], now):
                self._ending.remove(tree)
        for tree in self._ending:
            self._wake_at(tree.due)
        self._remove_cgroups(now)

    def _end_overdue(self, now: float) -> None:
        for attempt in self._by_pid.values():
            if attempt.deadline <= now:
                attempt.deadline = NEVER
                reason = f"ran longer than {attempt.timeout} seconds (CRON_TIMEOUT)"
                self._end_tree(attempt, "timeout", reason, attempt.kill_after)
            self._wake_at(attempt.deadline)

    def _write_held(self, now: float) -> None:
        """What commands have printed that are still at it; of those that have ended, nothing."""
        if now >= self._holding_due:
            for output in self._holding:
                output.write_held()
            self._holding.clear()
            self._holding_due = NEVER
        self._wake_at(self._holding_due)

    def _watched(self, now: float) -> list[_Attempt]:
        """Those whose memory has to be looked at now, because the kernel doesn't limit it."""
        limited = []
        if now >= self._memory_due:
            limited = [a for a in self._by_pid.values() if a.memory_max is not None]
            self._memory_due = now + _MEMORY_PACE if limited else NEVER
        self._wake_at(self._memory_due)
        return [attempt for attempt in limited if not attempt.tree.memory_is_limited]

    def _check_memory(self, attempt: _Attempt, pids: set[int]) -> None:
        assert attempt.memory_max is not None
        if private_memory(pids) > attempt.memory_max:
            self._end_tree(attempt, "memory", _too_much_memory(attempt.memory_max), 0)

    def _blame_memory(self, attempt: _Attempt) -> None:
        """The kernel has killed a command: for its own limit, or because nobody had any left."""
        cgroup = attempt.tree.cgroup
        if attempt.cause is None and cgroup is not None and cgroup.out_of_memory():
            attempt.cause = "memory"
            attempt.reason = "the machine ran out of memory"
            if attempt.memory_max is not None:
                attempt.reason = _too_much_memory(attempt.memory_max)

    def _remove_cgroups(self, now: float) -> None:
        """A background child that goes on keeps that of its Attempt."""
        self._left = [cgroup for cgroup in self._left if not cgroup.remove()]
        if self._left:
            self._wake_at(now + _REMOVAL_PACE)


def _fits(last: Launch, order: Order, attempt: _Attempt) -> bool:
    """Whether an order can follow another one in its batch; see Tree.join."""
    return kind_of(order) == kind_of(last.order) and attempt.tree.mark < last.tree.mark


def _too_much_memory(limit: int) -> str:
    return f"used more than {limit} bytes of memory (CRON_MEMORY_MAX)"


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
    runner = Runner(socket.socket(fileno=descriptor), take_delegation())
    gc.freeze()
    gc.disable()
    runner.run()


if __name__ == "__main__":
    main()
