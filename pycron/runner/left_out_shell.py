"""What a shell that was left out would have said of the end of its command.

dash waits for its command even if there is nothing more to do. When a signal ends the command, dash
says so on its stderr, and exits with 128 and the number of the signal.

Imported by the runner: it stays small.
"""

import os
import signal

_SIGNALLED = 128
_LONGEST = 32  # bytes of the name of a signal
_UNTOLD = (signal.SIGINT, signal.SIGPIPE)


def status_told(status: int) -> int:
    """The status of the shell, after this status of its command; both as wait(2) has them."""
    return _SIGNALLED + os.WTERMSIG(status) << 8 if os.WIFSIGNALED(status) else status


def words_told(status: int) -> bytes:
    """What the shell prints after this status of its command."""
    if not os.WIFSIGNALED(status) or os.WTERMSIG(status) in _UNTOLD:
        return b""
    name = signal.strsignal(os.WTERMSIG(status)) or ""
    return f"{name[:_LONGEST]}{' (core dumped)' if os.WCOREDUMP(status) else ''}\n".encode()
