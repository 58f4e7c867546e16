"""The daemon's directories: made, checked, and locked for one daemon."""

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from pycron.system.links import is_read_only
from pycron.system.paths import Paths
from pycron.tables.layouts import Layout


class AlreadyRunning(Exception):
    """Another daemon uses this state directory."""


class NoSafeDirectory(Exception):
    """There is no directory for the daemon's state to which only its user can write."""


@contextlib.contextmanager
def temporary_directory() -> Iterator[Path]:
    """A directory for the time of the block, in memory if possible. Raises NoSafeDirectory."""
    import tempfile

    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108
    try:
        directory = tempfile.mkdtemp(prefix="pycron-", dir=memory)
    except FileNotFoundError:
        reason = "neither /dev/shm nor a temporary directory can be written to (--state-dir D)"
        raise NoSafeDirectory(f"no place for the state: {reason}") from None
    try:
        yield Path(directory)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def make_directory(path: Path, mode: int) -> None:
    """Create a directory, or check that no other user could have prepared or can change it.

    Raises NoSafeDirectory or OSError.
    """
    try:
        path.mkdir(parents=True)
    except FileExistsError:
        status = path.stat()
        others_write = status.st_mode & 0o022 and not is_read_only(path)
        if status.st_uid != os.geteuid() or others_write:
            reason = "it must be this user's, and nobody else may write to it"
            raise NoSafeDirectory(f"{path}: not a safe directory: {reason}") from None
        if mode & ~status.st_mode & 0o777:
            path.chmod(status.st_mode | mode)  # an earlier version gave it fewer permissions
    else:
        path.chmod(mode)


@contextlib.contextmanager
def locked(where: Paths) -> Iterator[None]:
    """Hold the lock of the state directory. Raises AlreadyRunning."""
    with _lock_file(where.lock) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            pid = file.read().strip()
            raise AlreadyRunning(f"another pycrond (pid {pid}) runs on {where.state}") from None
        with contextlib.suppress(
            OSError
        ):  # on a full or read-only disk the file only lacks the pid
            where.lock.write_text(f"{os.getpid()}\n")
        yield


def _lock_file(path: Path) -> TextIO:
    try:
        return path.open("a+")
    except OSError:
        if not path.exists():
            raise
        return path.open()  # the file of an earlier daemon, on a disk that cannot be written to


def make_spool(layout: Layout) -> None:
    """Make the spool, or check it. The spool of another cron keeps its owner and its mode.

    Raises NoSafeDirectory or OSError.
    """
    if not layout.is_foreign:
        make_directory(layout.spool, 0o700)
        return
    try:
        layout.spool.mkdir(mode=0o700, parents=True)
    except FileExistsError:
        status = layout.spool.stat()
        if status.st_uid != 0 or status.st_mode & 0o002:
            reason = "it must be root's, and not everybody may write to it"
            raise NoSafeDirectory(f"{layout.spool}: not a safe spool: {reason}") from None
    else:
        os.chown(layout.spool, 0, layout.spool_gid or 0)
        layout.spool.chmod(layout.spool_mode)
