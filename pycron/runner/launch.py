"""The descriptors that the runner prepares for a command before a starter starts it.

Imported by the runner: it stays small.
"""

import os
from functools import cache

from pycron.runner.attempt import Attempt


class Launch:
    """A start message, what PAM adds to it, the process tree and the descriptors of its command.

    `output` becomes its stdout, and `errors`, which may be the same, its stderr. `door` is the
    descriptor through which a process enters the cgroup of the tree (-1: no cgroup).
    """

    __slots__ = ("door", "errors", "output", "session", "start", "stdin", "tree")

    def __init__(self, attempt: Attempt, output: int, errors: int) -> None:
        """Raises OSError if there is no descriptor to be had."""
        self.start = attempt.start_message
        self.session = attempt.session
        self.tree = tree = attempt.tree
        self.output = output
        self.errors = errors
        self.door = tree.cgroup.open_door() if tree.cgroup is not None else -1
        try:
            self.stdin = _stdin(self.start["stdin"])
        except OSError:
            if self.door >= 0:
                os.close(self.door)
            raise

    @property
    def descriptors(self) -> set[int]:
        each = (self.stdin, self.output, self.errors, self.door)
        return {descriptor for descriptor in each if descriptor >= 0}

    def join(self) -> None:
        """Make the calling process a member of the tree. Raises OSError."""
        self.tree.join(self.door)

    def close(self) -> None:
        """Close this process's copies of the descriptors; the command has its own."""
        for descriptor in self.descriptors - {_no_input()}:
            os.close(descriptor)


@cache
def _no_input() -> int:
    """The stdin of every command that has no input: one descriptor for all of them."""
    return os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)


def _stdin(text: str | None) -> int:
    """A descriptor from which the command reads its input; never the runner's own stdin."""
    if text is None:
        return _no_input()
    descriptor = os.memfd_create("stdin", os.MFD_CLOEXEC)
    try:
        data = text.encode("utf-8", "surrogateescape")
        while data:
            data = data[os.write(descriptor, data) :]
        os.lseek(descriptor, 0, os.SEEK_SET)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor
