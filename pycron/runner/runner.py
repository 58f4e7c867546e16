"""The runner: the parent of every command.

It starts commands (starters.py), copies their output into files (output_pipes.py), waits for them
and tells the daemon (daemon_connection.py). It decides nothing; it ends what exceeds its limits
(tree_limits.py), with or without a daemon. It outlives the daemon: what a daemon did not
acknowledge is told to the next one (attempts.py). It exits when there is no daemon and nothing is
left to keep: at once if the last daemon said good-bye, otherwise after a minute. If no daemon can
come back, or after SIGTERM, it exits when no command runs.

The cost of a fork grows with the memory of the runner, so it imports as little as possible. It
imports everything at the start: later, the files on disk may belong to another version.
"""

import gc
import os
import resource
import signal
import socket
import sys
import time

from pycron.protocol.runner_messages import (
    PROTOCOL,
    DaemonMessage,
    EndMessage,
    RunnerHello,
    StartMessage,
)
from pycron.runner import own_directory
from pycron.runner.attempts import Attempts, Usage
from pycron.runner.daemon_connection import DaemonConnection
from pycron.runner.event_loop import EventLoop
from pycron.runner.launcher import Launcher
from pycron.runner.lease_watch import LeaseWatch
from pycron.runner.left_attempts import LeftAttempts
from pycron.runner.output_pipes import OutputPipes
from pycron.runner.running_file import RunningFile
from pycron.runner.session_helper import SessionHelper
from pycron.runner.sessions import Sessions
from pycron.runner.start_failures import StartFailures
from pycron.runner.starters import Starters
from pycron.runner.tree_limits import TreeLimits
from pycron.system.cgroup import Delegation, take_delegation
from pycron.system.processor_share import ProcessorShare

# Seconds per turn of the event loop in which starters have the processors to themselves while ends
# and outputs accumulate. A turn for each of those would take time from the commands.
_PAUSE = 0.004


class Runner:
    """Connects one listening socket, at most one daemon and any number of commands."""

    def __init__(
        self,
        listener: socket.socket,
        delegation: Delegation | None,
        running_file: RunningFile,
        *,
        comes_back: bool,
    ) -> None:
        """`comes_back`: another daemon may find this runner when its daemon was killed."""
        self._instance = f"{os.getpid()}-{time.time_ns()}"
        self._cgroup = delegation.path if delegation else None
        self._loop = loop = EventLoop()
        self._signals = _signal_pipe()
        loop.watch(self._signals, self._signalled)
        self._daemon = DaemonConnection(
            listener, loop, self._take, self._daemon_gone, comes_back=comes_back
        )
        self._output_pipes = OutputPipes(loop, self._daemon)
        self._tree_limits = TreeLimits(loop, delegation, running_file)
        self._lease_watch = LeaseWatch(loop, self._end)
        self._left = LeftAttempts(self._daemon, self._tree_limits, running_file.take_over())
        failures = StartFailures(loop)
        files = _take_all_files()
        helper = SessionHelper(loop, files)
        self._attempts = Attempts(
            self._daemon, self._output_pipes, self._tree_limits, failures, helper
        )
        launcher = Launcher(
            self._attempts, self._output_pipes, self._tree_limits, failures, files, running_file
        )
        self._starters = Starters(self._attempts, launcher)
        self._sessions = Sessions(helper, self._attempts, self._starters.add)

    def run(self) -> None:
        """Run until there is neither a daemon nor anything left to keep."""
        while not self._done():
            if self._starters.working:
                self._tree_limits.expect_starts()
                time.sleep(_PAUSE)
            self._loop.turn(self._patience())
            self._sessions.step()
            self._starters.step()
            if self._loop.alarm():  # both set the next alarm
                self._output_pipes.tend()
                self._tree_limits.tend(self._attempts.running)
                self._left.step()
                self._lease_watch.tend(self._attempts.not_ended)
            self._output_pipes.resume()
            self._daemon.send(busy=self._starters.many_due)
            self._daemon.resume_listening()

    def _patience(self) -> float:
        parts = (self._starters, self._sessions, self._daemon)
        return min(part.patience() for part in parts)

    def _done(self) -> bool:
        """Whether nothing runs, no background child has an output pipe, and no daemon is due."""
        if not self._idle:
            return False
        if self._daemon.is_over:
            return True
        left_to_tell = bool(self._attempts or self._left)
        return not self._output_pipes.count and self._daemon.nobody_will_ask(left_to_tell)

    @property
    def _idle(self) -> bool:
        """Whether no command runs or is being started."""
        starting = not (self._starters.idle and self._sessions.idle)
        return not (starting or self._attempts.running or self._tree_limits.any_ending)

    # ---- the daemon

    def _take(self, message: DaemonMessage) -> None:
        match message["type"]:
            case "hello":
                self._greet(message["protocol"])
            case "start":
                self._start(message)
            case "go":
                self._sessions.go(message["until"])
                self._starters.go(message["until"])
            case "drop":
                self._sessions.drop(message["id"])
                self._starters.drop(message["id"])
            case "taken":
                self._daemon.taken(message["bytes"])
            case "ack":
                for attempt in message["ids"]:
                    self._attempts.forget(attempt)
                    self._left.forget(attempt)
            case "signal":
                self._attempts.signal(message["id"], message["signal"])
            case "end":
                self._end(message)
            case "bye":
                self._daemon.part(leave=False)
            case "leave":
                self._daemon.part(leave=True)

    def _start(self, message: StartMessage) -> None:
        if self._attempts.get(message["id"]) is not None or message["id"] in self._left:
            return
        if message["lease"] is not None:
            self._lease_watch.begin()
        if message["session"] is not None:
            self._sessions.start(message)
        else:
            self._starters.start(message)

    def _greet(self, protocol: int) -> None:
        hello: RunnerHello = {
            "type": "hello",
            "protocol": PROTOCOL,
            "instance": self._instance,
            "cgroup": self._cgroup,
            "attempts": [*self._attempts.messages(), *self._left.messages()],
        }
        self._daemon.greet(hello, protocol)

    def _end(self, message: EndMessage) -> None:
        attempt = self._attempts.get(message["id"])
        if attempt is None or attempt.ended is not None:
            return
        if attempt.pid:
            self._attempts.end(attempt, message)
        else:
            self._starters.end(attempt, message)

    def _daemon_gone(self) -> None:
        self._sessions.drop_held()
        self._starters.drop_held()

    # ---- signals

    def _signalled(self) -> None:
        try:
            while numbers := os.read(self._signals, 4096):
                if signal.SIGTERM in numbers:
                    self._daemon.end(idle=self._idle)
        except BlockingIOError:
            pass
        self._reap()

    def _reap(self) -> None:
        while True:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            self._reaped(pid, status, usage)

    def _reaped(self, pid: int, status: int, usage: Usage) -> None:
        """A command, a starter, or an orphan of a command that the runner has as its subreaper."""
        if pid in self._starters:
            self._starters.reaped(pid, status, usage)
            return
        if self._attempts.of_process(pid) is None:
            self._starters.take_progress()  # it may be a command that was started just now
        attempt = self._attempts.of_process(pid)
        if attempt is not None:
            self._attempts.ended(attempt, status, usage)


def _signal_pipe() -> int:
    """A descriptor from which the numbers of signals can be read: SIGCHLD and SIGTERM."""
    receiver, sender = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    signal.set_wakeup_fd(sender, warn_on_full_buffer=False)
    for number in (signal.SIGCHLD, signal.SIGTERM):
        signal.signal(number, lambda *_: None)
    # A terminal's Ctrl-C is for the daemon, which decides what happens to the commands.
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)
    return receiver


def _take_all_files() -> tuple[int, int]:
    """Raise the runner's limit of open files to the hard limit; returns the limit before.

    Commands get the limit before.
    """
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit[1], limit[1]))
    return limit


def _reset_signals() -> None:
    """Commands must not inherit what the parent of this process has blocked or ignored."""
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    for number in signal.valid_signals() - {signal.SIGPIPE, signal.SIGXFSZ}:
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)


def _close_all_but(descriptor: int) -> None:
    """Close every inherited descriptor except this one and the standard ones."""
    for other in os.listdir("/proc/self/fd"):
        if int(other) > 2 and int(other) != descriptor:
            try:
                os.close(int(other))
            except OSError:
                pass  # the one that was open while listdir() read the directory


def main() -> None:
    """`python -m pycron.runner DESCRIPTOR FILE [DIRECTORY]`.

    The listening socket, the running file (running_file.py), and the directory that the runner
    removes if the daemon is killed (own_directory.py). The process that starts the runner has made
    it a subreaper: see executor/launch.py.
    """
    descriptor = int(sys.argv[1])
    _close_all_but(descriptor)
    os.set_inheritable(descriptor, False)
    _reset_signals()
    os.umask(0o022)
    listener, running_file = socket.socket(fileno=descriptor), RunningFile(sys.argv[2])
    own = sys.argv[3] if len(sys.argv) > 3 else None
    runner = Runner(listener, take_delegation(), running_file, comes_back=own is None)
    ProcessorShare().keep(raised=True)
    gc.freeze()
    gc.disable()
    runner.run()
    if own is not None:
        own_directory.remove(own)
