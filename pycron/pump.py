"""What commands print, on its way from their pipes into their recordings.

Imported by the runner: it stays small.
"""

import os
import time

from pycron.attempt import Attempt
from pycron.daemon_link import DaemonLink
from pycron.loop import NEVER, Loop
from pycron.recording import Recording
from pycron.spawn import Order

_HOLDING = 1.0  # seconds for which what a command has printed may be nowhere but here


class Pump:
    """All pipes that are open; a background child may keep that of its Attempt."""

    def __init__(self, loop: Loop, link: DaemonLink) -> None:
        self.pipes = 0
        self._loop = loop
        self._link = link
        self._holding: set[Recording] = set()
        self._holding_due = NEVER

    def open(self, attempt: Attempt, order: Order, pipe: int) -> None:
        """`pipe`: its end to read from."""
        os.set_blocking(pipe, False)
        attempt.output = Recording(
            pipe, order["output"], order["output_limit"], order["short_output"]
        )
        self._loop.watch(pipe, lambda: self._pump(attempt))
        self.pipes += 1

    def close(self, attempt: Attempt) -> None:
        assert attempt.output is not None
        if attempt.output.open:
            self._loop.unwatch(attempt.output.pipe)
            attempt.output.close()
            self.pipes -= 1

    def drain(self, attempt: Attempt) -> Recording:
        """Take what an ended command left in its pipe."""
        assert attempt.output is not None
        if attempt.output.open and not attempt.output.drain():
            self.close(attempt)
        return attempt.output

    def tend(self) -> None:
        """Write what commands have printed that are still at it; of the ended ones, nothing."""
        if time.monotonic() >= self._holding_due:
            for output in self._holding:
                output.write_held()
            self._holding.clear()
            self._holding_due = NEVER
        self._loop.wake_at(self._holding_due)

    def _pump(self, attempt: Attempt) -> None:
        output = attempt.output
        assert output is not None
        if not output.pump():
            self.close(attempt)
        if output.held:
            self._hold(output)
        self._link.tell_of_output(attempt)

    def _hold(self, output: Recording) -> None:
        if not self._holding:
            self._holding_due = time.monotonic() + _HOLDING
            self._loop.wake_at(self._holding_due)
        self._holding.add(output)
