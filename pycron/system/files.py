"""Files and directories."""

import os
import stat
from pathlib import Path

_MOST_SECRET = 4096  # bytes


class UnsafeFile(Exception):
    """A file that must not be trusted; the message says why, and what to do."""


def read_secret(path: Path) -> str:
    """The first line of a file that only root, or this user, can read and write.

    The checks are made on the open file. Raises UnsafeFile or OSError.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise UnsafeFile(f"{path}: no regular file")
        if status.st_uid not in (0, os.geteuid()):
            raise UnsafeFile(f"{path}: belongs to uid {status.st_uid}: chown it")
        if status.st_mode & 0o077:
            raise UnsafeFile(f"{path}: others may read or write it: chmod 600")
        data = os.read(descriptor, _MOST_SECRET)
    finally:
        os.close(descriptor)
    return data.decode("utf-8", "surrogateescape").partition("\n")[0]


def sync_directory(path: Path) -> None:
    """Make the entries of a directory survive a power cut (fsync(2)). Raises OSError."""
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
