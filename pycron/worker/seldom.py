"""Lines of the log that strangers can cause, by what they write to the broker."""

import time
from collections.abc import Callable

_BETWEEN = 60.0  # seconds


class Seldom:
    """Says a line at most once a minute; the others are left out."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._next = time.monotonic()

    def __call__(self, text: str) -> None:
        now = time.monotonic()
        if now >= self._next:
            self._next = now + _BETWEEN
            self._say(text)
