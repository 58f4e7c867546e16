"""Keys, one at a time, from the terminal of a program that has the whole screen."""

import contextlib
import os
import select
import sys
import termios
import tty
from collections.abc import Iterator

UP, DOWN = "up", "down"
_ARROWS = {"\x1b[A": UP, "\x1b[B": DOWN, "\x1bOA": UP, "\x1bOB": DOWN}
_LONGEST = 32  # bytes of what one key sends


@contextlib.contextmanager
def single_keys() -> Iterator[None]:
    """Within, keys arrive without Enter and are not shown; Ctrl-C and Ctrl-Z work as ever."""
    if not sys.stdin.isatty():
        yield
        return
    before = termios.tcgetattr(sys.stdin)
    try:
        tty.setcbreak(sys.stdin)
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)


def next_key(seconds: float) -> str | None:
    """The key that is pressed within so many seconds: a character, UP or DOWN; None without."""
    ready, _, _ = select.select([sys.stdin] if sys.stdin.isatty() else [], [], [], seconds)
    if not ready:
        return None
    text = os.read(sys.stdin.fileno(), _LONGEST).decode(errors="replace")
    return _ARROWS.get(text, text[:1])
