"""The log of the agent itself: what no daemon may be there to be told."""

import sys


def say(text: str) -> None:
    """A log that cannot be written to does not end the agent."""
    try:
        sys.stderr.write(f"cluster: {text}\n")
        sys.stderr.flush()
    except OSError:
        pass
