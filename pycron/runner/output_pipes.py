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
from pycron.runner.output_capture import OutputCapture

_HOLD_TIME = 1.0  # seconds for which output may be in the runner's memory only
# Seconds after its start before a command's pipe is watched. Most commands end sooner, and the
# runner then reads the pipe at once; one that prints more than a pipe holds waits so long, once.
_UNWATCHED_TIME = 0.02
_MOST_LEFT = 4096  # pipes that background children of ended Attempts have open


class OutputPipes:
    """All open pipes: `count` of them.

    A background child may keep the pipe of its Attempt open after the command has ended. Such pipes
    take at most a half of the runner's descriptors, so that commands always get theirs. Beyond
    that, the user who has most of them loses the oldest one.
    """

    def __init__(self, loop: EventLoop, daemon: DaemonConnection) -> None:
        self.count = 0
        self._loop = loop
        self._daemon = daemon
        self._holding: set[OutputCapture] = set()
        self._holding_due = NEVER
        self._unwatched: dict[Attempt, float] = {}  # have started: when to watch their pipe
        # Those of ended Attempts, by user, the oldest first.
        self._left: defaultdict[int, dict[Attempt, None]] = defaultdict(dict)

    def open(self, attempt: Attempt, pipe: int) -> None:
        """`pipe`: the end to read from. It is not watched before the command has started."""
        os.set_blocking(pipe, False)
        start = attempt.start_message
        attempt.output = OutputCapture(
            pipe, start["output"], start["output_limit"], start["short_output"]
        )
        self.count += 1

    def started(self, attempt: Attempt) -> None:
        """The command runs: its pipe is watched soon, or at once if the daemon shows the output."""
        if attempt.report_output:
            self._watch(attempt)
            return
        due = self._unwatched[attempt] = time.monotonic() + _UNWATCHED_TIME
        self._loop.wake_at(due)

    def close(self, attempt: Attempt) -> None:
        output = attempt.output
        assert output is not None
        if output.open:
            self._unwatched.pop(attempt, None)
            if self._loop.watches(output.pipe):
                self._loop.unwatch(output.pipe)
            output.close()
            self.count -= 1
        left = self._left.get(attempt.tree.owner, {})
        if attempt in left:
            del left[attempt]
            if not left:
                del self._left[attempt.tree.owner]

    def drain(self, attempt: Attempt) -> OutputCapture:
        """Read what an ended command left in its pipe; its children may still print more."""
        output = attempt.output
        assert output is not None
        if output.open and not output.drain():
            self.close(attempt)
        elif output.open:
            if not self._loop.watches(output.pipe):
                self._watch(attempt)
            self._left[attempt.tree.owner][attempt] = None
            while sum(map(len, self._left.values())) > _most_left():
                self.make_room()
        return output

    def make_room(self) -> bool:
        """Close the oldest pipe of an ended Attempt of the user who has most; False if none has."""
        most = max(self._left.values(), key=len, default=None)
        if not most:
            return False
        oldest = next(iter(most))
        say(f"{oldest.id}: closed the output of its background processes, as too many are open")
        self.close(oldest)
        return True

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
        assert attempt.output is not None
        self._unwatched.pop(attempt, None)
        self._loop.watch(attempt.output.pipe, lambda: self._read(attempt))

    def _read(self, attempt: Attempt) -> None:
        output = attempt.output
        assert output is not None
        if not output.read():
            self.close(attempt)
        if output.held:
            self._hold(output)
        self._daemon.tell_of_output(attempt)

    def _hold(self, output: OutputCapture) -> None:
        if not self._holding:
            self._holding_due = time.monotonic() + _HOLD_TIME
            self._loop.wake_at(self._holding_due)
        self._holding.add(output)


def _most_left() -> int:
    descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return min(_MOST_LEFT, descriptors // 2)
