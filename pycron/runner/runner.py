"""The runner: the parent of every command.

It forks (starters.py), copies output into files (output_pipes.py), waits, and tells the daemon
(daemon_connection.py). It decides nothing; it ends what exceeds the limits (limits.py),
with or without a daemon. It outlives the daemon: what it has not been able to tell, or what was not
acknowledged, is told to the next one (attempts.py). When there is no daemon and nothing left to
keep, it exits; at once where the last daemon said good-bye.

Its memory is what a fork costs, so it imports next to nothing, and everything it needs at once: the
files on disk may be another version's by the time it would import them.
"""

import gc
import os
import resource
import signal
import socket
import sys
import time

from pycron.protocol.framing import PROTOCOL, Message
from pycron.runner.attempts import Attempts, Usage
from pycron.runner.daemon_connection import DaemonConnection
from pycron.runner.event_loop import EventLoop
from pycron.runner.launcher import Launcher
from pycron.runner.limits import TreeLimits
from pycron.runner.output_pipes import OutputPipes
from pycron.runner.process_tree import wake_orphans
from pycron.runner.spawn import check_end, check_order
from pycron.runner.start_failures import StartFailures
from pycron.runner.starters import Starters
from pycron.system.cgroup import Delegation, take_delegation

# Seconds that starters have the processors to themselves, and in which ends and outputs add up: a
# turn of the loop for each of them would take its time from the commands.
_PACE = 0.004


class Runner:
    """One listening socket, at most one daemon, any number of commands; this connects them."""

    def __init__(self, listener: socket.socket, delegation: Delegation | None) -> None:
        self._instance = f"{os.getpid()}-{time.time_ns()}"
        self._cgroup = delegation.path if delegation else None
        self._loop = loop = EventLoop()
        self._children = _signal_pipe()
        loop.watch(self._children, self._reap)
        self._link = DaemonConnection(listener, loop, self._take, self._daemon_gone)
        self._output_pipes = OutputPipes(loop, self._link)
        self._tree_limits = TreeLimits(loop, delegation)
        start_failures = StartFailures(loop)
        self._attempts = Attempts(self._link, self._output_pipes, self._tree_limits, start_failures)
        files = _take_all_files()
        launcher = Launcher(
            self._attempts, self._output_pipes, self._tree_limits, start_failures, files
        )
        self._starters = Starters(self._attempts, launcher)

    def run(self) -> None:
        """Until there is neither a daemon nor anything left to keep."""
        while not self._done():
            if self._starters.at_work:
                time.sleep(_PACE)
            self._loop.turn(min(self._starters.patience(), self._link.patience()))
            self._starters.step()
            if self._loop.alarm():  # they set it for what comes next
                self._output_pipes.tend()
                self._tree_limits.tend(self._attempts.running)
            self._link.send(busy=self._starters.enough_to_do)
            self._link.resume_listening()

    def _done(self) -> bool:
        """Nothing runs, no pipe is held open for a background child, and nobody will ask."""
        if not self._starters.idle or self._attempts.running or self._tree_limits.any_ending:
            return False
        return not self._output_pipes.pipes and self._link.nobody_will_ask(bool(self._attempts))

    # ---- the daemon

    def _take(self, message: Message) -> None:
        match message.get("type"):
            case "hello":
                self._greet()
            case "start":
                self._order(message)
            case "go":
                self._starters.go(message["until"])
            case "drop":
                self._starters.drop(message["id"])
            case "ack":
                for attempt in message["ids"]:
                    self._attempts.forget(attempt)
            case "signal":
                self._attempts.signal(message["id"], message["signal"])
            case "end":
                check_end(message)
                self._end(message)
            case "bye":
                self._link.part(leave=False)
            case "leave":
                self._link.part(leave=True)

    def _order(self, order: Message) -> None:
        """One that none can carry out is no reason to part with who carries out all others."""
        try:
            check_order(order)
        except ValueError as error:
            self._link.refuse(str(order["id"]), str(error))
            return
        if self._attempts.get(order["id"]) is None:
            self._starters.order(order)

    def _greet(self) -> None:
        hello = {
            "type": "hello",
            "protocol": PROTOCOL,
            "instance": self._instance,
            "cgroup": self._cgroup,
            "attempts": self._attempts.messages(),
        }
        self._link.greet(hello)

    def _end(self, order: Message) -> None:
        attempt = self._attempts.get(order["id"])
        if attempt is None or attempt.ended is not None:
            return
        if attempt.pid:
            self._attempts.end(attempt, order)
        else:
            self._starters.call_off(attempt, order)

    def _daemon_gone(self) -> None:
        self._starters.drop_held()

    # ---- children

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

    def _reaped(self, pid: int, status: int, usage: Usage) -> None:
        """A command, a starter, or an orphan of some command, adopted as its subreaper."""
        if pid in self._starters:
            self._starters.reaped(pid, status, usage)
            return
        if self._attempts.of_process(pid) is None:
            self._starters.hear()  # the last word of one that has ended
        attempt = self._attempts.of_process(pid)
        if attempt is not None:
            self._attempts.ended(attempt, status, usage)


def _signal_pipe() -> int:
    """It can be read when a child has ended."""
    receiver, sender = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    signal.set_wakeup_fd(sender, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    # A terminal's Ctrl-C is for the daemon, which says what is to become of the commands.
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    return receiver


def _take_all_files() -> tuple[int, int]:
    """Open as many files as the runner may at all; the limit before, which commands get."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit[1], limit[1]))
    return limit


def _reset_signals() -> None:
    """Whatever was blocked or ignored by who started this process: commands get none of it."""
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    for number in signal.valid_signals() - {signal.SIGPIPE, signal.SIGXFSZ}:
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)


def main() -> None:
    """`python -m pycron.runner DESCRIPTOR`: the listening socket, inherited.

    Whoever starts it has made it a subreaper: see runner_client.py.
    """
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
    wake_orphans()
    runner = Runner(socket.socket(fileno=descriptor), take_delegation())
    gc.freeze()
    gc.disable()
    runner.run()
