"""Why commands could not be started, as their starters report it (spawn.py).

Imported by the runner: it stays small.
"""

import os

from pycron.runner.event_loop import EventLoop
from pycron.runner.output_capture import CHUNK


class StartFailures:
    """A pipe with one line for each failure; starters write the lines to `inlet`."""

    def __init__(self, loop: EventLoop) -> None:
        self._pipe, self.inlet = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._reasons: dict[str, str] = {}
        loop.watch(self._pipe, self._read)

    def take(self, id: str) -> str | None:
        """Why an Attempt could not be started; the reason is then forgotten."""
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
