"""The receipt of a delivery: a file that says that it was sent.

If the runner is killed, the program that it had started goes on, and nobody knows how it ends. The
next Attempt waits for it here, and sends nothing if it was sent.
"""

import fcntl
import os

_SENT = b"sent\n"


class Receipt:
    """The receipt of one delivery; all its Attempts have the same file."""

    def __init__(self, path: str) -> None:
        """Wait until no other program has this receipt. Raises OSError."""
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        self._file = os.open(path, flags, 0o600)
        fcntl.flock(self._file, fcntl.LOCK_EX)  # until this process ends

    @property
    def is_sent(self) -> bool:
        """Whether an earlier Attempt has sent the delivery."""
        return os.pread(self._file, len(_SENT), 0) == _SENT

    def write(self) -> None:
        """The delivery was sent. Raises OSError."""
        os.pwrite(self._file, _SENT, 0)
