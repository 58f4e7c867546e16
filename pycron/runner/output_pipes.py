"""What commands print, on its way from their pipes into their recordings.

Imported by the runner: it stays small.
"""

import os
import time

from pycron.runner.attempt import Attempt
from pycron.runner.daemon_connection import DaemonConnection
from pycron.runner.event_loop import NEVER, EventLoop
from pycron.runner.output_capture import OutputCapture
from pycron.runner.spawn import Order

_HOLDING = 1.0  # seconds for which what a command has printed may be nowhere but here
# Seconds after its start before a command's pipe is watched. Most end sooner, and what is in the
# pipe then is taken at once; one that prints more than a pipe holds waits so long, once.
_UNWATCHED = 0.02


class OutputPipes:
    """All pipes that are open; a background child may keep that of its Attempt."""

    def __init__(self, loop: EventLoop, link: DaemonConnection) -> None:
        self.pipes = 0
        self._loop = loop
        self._link = link
        self._holding: set[OutputCapture] = set()
        self._holding_due = NEVER
        self._unwatched: dict[Attempt, float] = {}  # that have started: when they are to be

    def open(self, attempt: Attempt, order: Order, pipe: int) -> None:
        """`pipe`: its end to read from. It isn't watched before the command is known to run."""
        os.set_blocking(pipe, False)
        attempt.output = OutputCapture(
            pipe, order["output"], order["output_limit"], order["short_output"]
        )
        self.pipes += 1

    def started(self, attempt: Attempt) -> None:
        """Its command runs: it is watched from a moment on, or at once where somebody looks on."""
        if attempt.report_output:
            self._watch(attempt)
            return
        due = self._unwatched[attempt] = time.monotonic() + _UNWATCHED
        self._loop.wake_at(due)

    def close(self, attempt: Attempt) -> None:
        output = attempt.output
        assert output is not None
        if output.open:
            self._unwatched.pop(attempt, None)
            if self._loop.watches(output.pipe):
                self._loop.unwatch(output.pipe)
            output.close()
            self.pipes -= 1

    def drain(self, attempt: Attempt) -> OutputCapture:
        """Take what an ended command left in its pipe; what its children print comes later."""
        output = attempt.output
        assert output is not None
        if output.open and not output.drain():
            self.close(attempt)
        elif output.open and not self._loop.watches(output.pipe):
            self._watch(attempt)
        return output

    def tend(self) -> None:
        """DirectoryWatch those that run longer, and write what they have printed."""
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
        self._loop.watch(attempt.output.pipe, lambda: self._pump(attempt))

    def _pump(self, attempt: Attempt) -> None:
        output = attempt.output
        assert output is not None
        if not output.pump():
            self.close(attempt)
        if output.held:
            self._hold(output)
        self._link.tell_of_output(attempt)

    def _hold(self, output: OutputCapture) -> None:
        if not self._holding:
            self._holding_due = time.monotonic() + _HOLDING
            self._loop.wake_at(self._holding_due)
        self._holding.add(output)
