"""The log of the runner itself. Imported by the runner: it stays small."""

import os

_STDERR = 2
_LONGEST = 2**20  # bytes of the file; what is older is dropped


class _Log:
    """A log that cannot be written to, or is full, does not end the runner.

    `dropped`: lines that could not be written; the next line that can be tells how many.
    """

    def __init__(self) -> None:
        self.dropped = 0

    def say(self, text: str) -> None:
        if self.dropped:
            text = f"{text}\nrunner: lines that could not be written before: {self.dropped}"
        try:
            if os.fstat(_STDERR).st_size > _LONGEST:
                os.ftruncate(_STDERR, 0)
            os.write(_STDERR, f"runner: {text}\n".encode(errors="backslashreplace"))
            self.dropped = 0
        except OSError:
            self.dropped += 1


say = _Log().say
