"""The directory of a foreground daemon without a state directory: it ends with that daemon.

A daemon that is killed leaves it. No other daemon finds it, so the runner removes it.

Imported by the runner: it stays small.
"""

import fcntl
import os
import time
from contextlib import suppress

from pycron.runner.log import say

_PATIENCE = 5.0  # seconds for a daemon that is being killed


def remove(directory: str) -> None:
    """Remove a directory and what is in it, unless its daemon lives and holds the lock in it.

    It may have directories of other users, who could put a symlink in the place of one meanwhile:
    os.fwalk() follows none.
    """
    try:
        lock = os.open(f"{directory}/lock", os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return  # the daemon has ended in good order, and has removed it
    try:
        _take(lock)
        for _, directories, files, at in os.fwalk(directory, topdown=False):
            for name in (*files, *directories):
                _remove_entry(name, at)
        os.rmdir(directory)
    except OSError as error:
        say(f"{directory}: {error.strerror}: not removed")
    finally:
        os.close(lock)


def _take(lock: int) -> None:
    """Take the lock. Raises BlockingIOError if its owner lives on.

    A process that is killed closes its descriptors one after the other.
    """
    until = time.monotonic() + _PATIENCE
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > until:
                raise
            time.sleep(0.01)
        else:
            return


def _remove_entry(name: str, at: int) -> None:
    with suppress(IsADirectoryError, PermissionError):  # unlink(2) of a directory
        os.unlink(name, dir_fd=at)
        return
    os.rmdir(name, dir_fd=at)
