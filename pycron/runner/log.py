"""The log of the runner itself. Imported by the runner: it stays small."""

import os

_STDERR = 2


def say(text: str) -> None:
    """Write a line to the log; a log that cannot be written to must not end the runner."""
    try:
        os.write(_STDERR, f"runner: {text}\n".encode(errors="backslashreplace"))
    except OSError:
        pass
