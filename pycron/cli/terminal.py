"""The terminal: what a stranger wrote is made visible there; a file or a pipe gets it unchanged.

Tables, reasons, outputs and names come from other users. On a terminal their control characters
could write into the input of the person who reads them, or hide and turn text: escape sequences,
C1, bidirectional marks. So the streams of a program are exchanged when it begins, and whatever it
writes later goes through `visible`: messages of argparse, prompts and tracebacks, too.
"""

import io
import sys
from typing import TextIO

from pycron.model.text import visible

_CLEAR = "\x1b[H\x1b[2J"


class VisibleText(io.TextIOBase):
    """A stream to a terminal. It has no `buffer`, so bytes cannot go past `visible`."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        shown = visible(text).encode(self.encoding, "backslashreplace").decode(self.encoding)
        self.stream.write(shown)
        return len(text)

    def flush(self) -> None:
        self.stream.flush()

    def fileno(self) -> int:
        return self.stream.fileno()

    def isatty(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self.stream.encoding


def guard_terminal() -> None:
    """From now on, what goes to a terminal through sys.stdout and sys.stderr is visible."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream.isatty() and not isinstance(stream, VisibleText):
            setattr(sys, name, VisibleText(stream))


def write_bytes(data: bytes) -> None:
    """Write a stranger's bytes to the standard output: unchanged, or visible on a terminal."""
    if sys.stdout.isatty():
        sys.stdout.write(data.decode("utf-8", "surrogateescape"))
    else:
        sys.stdout.buffer.write(data)


def write_raw(data: bytes) -> None:
    """The same, but unchanged also on a terminal: its reader has asked for that."""
    sys.stdout.flush()
    raw(sys.stdout).buffer.write(data)


def clear_screen() -> None:
    raw(sys.stdout).write(_CLEAR)


def raw(stream: TextIO) -> TextIO:
    """The stream itself, for a program's own escape sequences."""
    return stream.stream if isinstance(stream, VisibleText) else stream
