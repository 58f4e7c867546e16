"""The pipes through which commands print, each with its OutputCapture.

Imported by the runner: it stays small.
"""

import os
import resource
import time
from collections import defaultdict

from pycron.runner.attempt import Attempt
from pycron.runner.daemon_connection import DaemonConnection
from pycron.runner.event_loop import NEVER, EventLoop
from pycron.runner.log import say
from pycron.runner.output_capture import CHUNK, OutputCapture

_HOLD_TIME = 1.0  # seconds for which output may be in the runner's memory only
# Seconds after its start before a command's pipe is watched. Most commands end sooner, and the
# runner then reads the pipe at once; one that prints more than a pipe holds waits so long, once.
_UNWATCHED_TIME = 0.02
_MOST_LEFT = 4096  # ended Attempts whose background children have pipes open
_LARGEST_PIPE = 2**20  # bytes


class OutputPipes:
    """All open pipes: `count` of them.

    A background child may keep the pipes of its Attempt open after the command has ended. Such
    Attempts are at most half as many as the runner's descriptors, so that commands get theirs.
    Beyond that, the user who has most of them loses the oldest one.

    While the daemon has not taken what is to be shown, pipes whose output is shown are not read.
    """

    def __init__(self, loop: EventLoop, daemon: DaemonConnection) -> None:
        self.count = 0
        self._loop = loop
        self._daemon = daemon
        self._holding: set[OutputCapture] = set()
        self._holding_due = NEVER
        self._unwatched: dict[Attempt, float] = {}  # have started: when to watch their pipes
        self._waiting: dict[int, Attempt] = {}  # pipes that are not read for the present
        # Those of ended Attempts, by user, the oldest first.
        self._left: defaultdict[int, dict[Attempt, None]] = defaultdict(dict)

    def open(self, attempt: Attempt, pipes: dict[int, str]) -> None:
        """`pipes`: the ends to read from. They are not watched before the command has started."""
        for pipe in pipes:
            os.set_blocking(pipe, False)
        start = attempt.start_message
        attempt.pipes = pipes
        path, limit, short = start["output"], start["output_limit"], start["short_output"]
        attempt.output = OutputCapture(path, limit, short)
        self.count += len(pipes)

    def started(self, attempt: Attempt) -> None:
        """The command runs: its pipe is watched soon, or at once if the daemon shows the output."""
        if attempt.report_output:
            self._watch(attempt)
            return
        due = self._unwatched[attempt] = time.monotonic() + _UNWATCHED_TIME
        self._loop.wake_at(due)

    def close(self, attempt: Attempt) -> None:
        """Close the pipes of an Attempt, whether or not they have come to their end."""
        for pipe in list(attempt.pipes):
            self._close_pipe(attempt, pipe)
        left = self._left.get(attempt.tree.owner, {})
        if attempt in left:
            del left[attempt]
            if not left:
                del self._left[attempt.tree.owner]

    def drain(self, attempt: Attempt) -> OutputCapture:
        """Read what an ended command left in its pipes; its children may still print more."""
        for pipe in list(attempt.pipes):
            self._drain_pipe(attempt, pipe)
        if attempt.pipes:
            self._watch(attempt)
            self._left[attempt.tree.owner][attempt] = None
            while sum(map(len, self._left.values())) > _most_left():
                self.make_room()
        assert attempt.output is not None
        return attempt.output

    def tell(self, attempt: Attempt, words: bytes) -> None:
        """The shell of an ended command, which was left out, prints this and closes its stderr."""
        stream = attempt.shell_stderr
        assert attempt.output is not None
        assert stream is not None
        if words:
            attempt.output.add(words)
        if not attempt.report_output:
            return
        if words:
            self._daemon.show(attempt, stream, words)
        if stream not in attempt.pipes.values():
            self._daemon.show(attempt, stream, b"")

    def make_room(self) -> bool:
        """Close the pipes of the user who has most of those of ended Attempts: the oldest one's.

        False if no ended Attempt has pipes.
        """
        most = max(self._left.values(), key=len, default=None)
        if not most:
            return False
        oldest = next(iter(most))
        say(f"{oldest.id}: closed the output of its background processes, as too many are open")
        for stream in oldest.pipes.values():
            self._daemon.show(oldest, stream, b"")
        self.close(oldest)
        return True

    def resume(self) -> None:
        """Read on when the daemon takes output again."""
        if self._waiting and not self._daemon.window_is_full:
            waiting, self._waiting = self._waiting, {}
            for pipe, attempt in waiting.items():
                self._watch_pipe(attempt, pipe)

    def tend(self) -> None:
        """Watch the pipes that are due, and write output that was held for long enough."""
        now = time.monotonic()
        due = [attempt for attempt, when in self._unwatched.items() if when <= now]
        for attempt in due:
            self._watch(attempt)
        if self._unwatched:
            self._loop.wake_at(next(iter(self._unwatched.values())))
        if now >= self._holding_due:
            for output in self._holding:
                output.write_held()
            self._holding.clear()
            self._holding_due = NEVER
        self._loop.wake_at(self._holding_due)

    def _watch(self, attempt: Attempt) -> None:
        self._unwatched.pop(attempt, None)
        for pipe in attempt.pipes:
            if pipe not in self._waiting and not self._loop.watches(pipe):
                self._watch_pipe(attempt, pipe)

    def _watch_pipe(self, attempt: Attempt, pipe: int) -> None:
        self._loop.watch(pipe, lambda: self._ready(attempt, pipe))

    def _ready(self, attempt: Attempt, pipe: int) -> None:
        output = attempt.output
        assert output is not None
        if attempt.report_output and self._daemon.window_is_full:
            self._loop.unwatch(pipe)
            self._waiting[pipe] = attempt
            return
        self._read(attempt, pipe)
        if not attempt.pipes:
            self.close(attempt)
        if output.held:
            self._hold(output)

    def _read(self, attempt: Attempt, pipe: int) -> bool:
        """Read at most one chunk, and close the pipe at its end; whether there may be more."""
        try:
            data = os.read(pipe, CHUNK)
        except BlockingIOError:
            return False
        assert attempt.output is not None
        attempt.output.add(data)
        stream = attempt.pipes[pipe]
        # The shell, which was left out, would have it open.
        open_in_shell = stream == attempt.shell_stderr and attempt.ended is None
        if attempt.report_output and (data or not open_in_shell):
            self._daemon.show(attempt, stream, data)
        if not data:
            self._close_pipe(attempt, pipe)
        return bool(data)

    def _drain_pipe(self, attempt: Attempt, pipe: int) -> None:
        """At most as much as a pipe holds, because children of the command may write for ever."""
        for _ in range(1 + _LARGEST_PIPE // CHUNK):
            if not self._read(attempt, pipe):
                return

    def _close_pipe(self, attempt: Attempt, pipe: int) -> None:
        del attempt.pipes[pipe]
        self._waiting.pop(pipe, None)
        if self._loop.watches(pipe):
            self._loop.unwatch(pipe)
        os.close(pipe)
        self.count -= 1
        if not attempt.pipes:
            assert attempt.output is not None
            self._unwatched.pop(attempt, None)
            attempt.output.close()

    def _hold(self, output: OutputCapture) -> None:
        if not self._holding:
            self._holding_due = time.monotonic() + _HOLD_TIME
            self._loop.wake_at(self._holding_due)
        self._holding.add(output)


def _most_left() -> int:
    descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return min(_MOST_LEFT, descriptors // 2)
