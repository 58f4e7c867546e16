"""What the runner itself has to say, in its log. Imported by the runner: it stays small."""

import os

_STDERR = 2


def say(text: str) -> None:
    """A line of the log; nobody's commands are to end because it can't be written."""
    try:
        os.write(_STDERR, f"runner: {text}\n".encode(errors="backslashreplace"))
    except OSError:
        pass
