"""Why commands could not be run, as those say who were to run them; see spawn.py.

Imported by the runner: it stays small.
"""

import os

from pycron.runner.event_loop import EventLoop
from pycron.runner.output_capture import CHUNK


class StartFailures:
    """A pipe with a line for each of them; `inlet` is where it is written to."""

    def __init__(self, loop: EventLoop) -> None:
        self._pipe, self.inlet = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._reasons: dict[str, str] = {}
        loop.watch(self._pipe, self._read)

    def take(self, id: str) -> str | None:
        """The reason of an Attempt, once."""
        self._read()
        return self._reasons.pop(id, None)

    def _read(self) -> None:
        try:
            text = os.read(self._pipe, CHUNK).decode("utf-8", "replace")
        except BlockingIOError:
            return
        for line in text.rstrip("\n").split("\n"):
            attempt, _, reason = line.partition(" ")
            self._reasons[attempt] = reason
