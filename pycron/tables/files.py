"""One table file: checked, read, installed, removed."""

import errno
import os
import stat
from pathlib import Path

from pycron.model.job import Source
from pycron.model.problem import Problem, Severity
from pycron.system.files import sync_directory

Signature = tuple[int, ...]


_UNREAD: Signature = ()


class Unreadable(Exception):
    """A table that may not be read: a code for machines, and the reason with what to do."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code = code


def read_table(
    path: str, owners: set[int] | None, most_bytes: int, trusted: bool = False
) -> tuple[str, Signature]:
    """The text of a table and what identifies this version of it.

    Raises Unreadable, or FileNotFoundError.
    """
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | (0 if trusted else os.O_NOFOLLOW)
    try:
        descriptor = os.open(path, flags)
    except FileNotFoundError:
        raise
    except OSError as error:
        if not trusted and stat.S_ISLNK(os.lstat(path).st_mode):
            raise Unreadable("symlink", "a symbolic link: put the file itself here") from None
        if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOMEM):
            raise  # it is not the table's fault
        raise Unreadable("unreadable", f"cannot be read: {error.strerror}") from None
    try:
        status = os.fstat(descriptor)
        _check(status, owners, most_bytes, trusted)
        data = _read_all(descriptor, most_bytes)
    except OSError as error:
        raise Unreadable("unreadable", f"cannot be read: {error.strerror}") from None
    finally:
        os.close(descriptor)
    return data.decode("utf-8", "surrogateescape"), _signature(status)


def _check(status: os.stat_result, owners: set[int] | None, most_bytes: int, trusted: bool) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise Unreadable("not-a-file", f"{_kind(status.st_mode)}, no regular file: remove it")
    if status.st_size > most_bytes:
        raise _too_large(most_bytes)
    if trusted:
        return
    if owners is not None and status.st_uid not in owners:
        uids = " or ".join(str(uid) for uid in sorted(owners))
        raise Unreadable("wrong-owner", f"belongs to uid {status.st_uid}, not to {uids}: chown it")
    if status.st_mode & 0o022:
        mode = f"{stat.S_IMODE(status.st_mode):04o}"
        raise Unreadable("writable", f"others can write to it (mode {mode}): chmod go-w")
    if status.st_nlink != 1:
        raise Unreadable("hard-link", f"has {status.st_nlink} names: a table has one")


def _read_all(descriptor: int, most_bytes: int) -> bytes:
    parts: list[bytes] = []
    left = most_bytes + 1
    while left and (part := os.read(descriptor, min(left, 2**20))):
        parts.append(part)
        left -= len(part)
    if not left:
        raise _too_large(most_bytes)
    return b"".join(parts)


def too_many(most: int) -> str:
    """Why there is no room for one more table."""
    return f"no room for another table (limits.tables is {most})"


def _too_large(most_bytes: int) -> Unreadable:
    hint = "limits.table_bytes in pycron.toml"
    return Unreadable("too-large", f"larger than {most_bytes} bytes ({hint})")


def _kind(mode: int) -> str:
    kinds = {
        stat.S_IFDIR: "a directory",
        stat.S_IFIFO: "a FIFO",
        stat.S_IFSOCK: "a socket",
        stat.S_IFCHR: "a device",
        stat.S_IFBLK: "a device",
    }
    return kinds.get(stat.S_IFMT(mode), "something else")


def _signature(status: os.stat_result) -> Signature:
    """Changes with the text, the owner and the permissions of a file."""
    return (
        status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns,
    )  # fmt: skip


def problem_of(source: Source, error: Unreadable) -> Problem:
    """What keeps a table from being read, as a problem of the whole of it."""
    return Problem(source.name, 0, 1, Severity.ERROR, error.code, str(error))


def install(path: Path, text: str, owner: tuple[int, int] | None) -> None:
    """Put a table in place: whole, or not at all. Raises OSError.

    `owner`: the (uid, gid) it shall have.
    """
    import tempfile  # 1 MB, and only an edit asks for it

    descriptor, temporary = tempfile.mkstemp(prefix=".new-", dir=path.parent)
    try:
        with open(descriptor, "wb") as file:
            file.write(text.encode("utf-8", "surrogateescape"))
            file.flush()
            if owner is not None:
                os.fchown(descriptor, *owner)
            os.fsync(descriptor)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
    sync_directory(path.parent)


def remove(path: Path) -> None:
    """Delete a table for good. Raises OSError."""
    path.unlink()
    sync_directory(path.parent)
