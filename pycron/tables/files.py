"""One table file: checked, read, installed, removed."""

import errno
import os
import stat
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

from pycron.model.job import Source
from pycron.model.problem import Problem, Severity
from pycron.system.files import sync_directory

# Identifies a version of a file: another text, owner or mode gives another signature.
Signature = tuple[int, ...]
UNREAD: Signature = ()  # of no file
WRONG_OWNER = "wrong-owner"  # the code of an Unreadable


class Unreadable(Exception):
    """A table that must not be read: a code for programs, and the reason with its remedy."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code = code


@dataclass(frozen=True, slots=True)
class FileRules:
    """What a table file must be before its text is used.

    `owners`: the uids that a file of this name may belong to; None allows any. `forbidden_mode`:
    the permission bits that the file must not have. `root_links`: a symlink that root made may
    stand for the file. `trusted`: the administrator named this file, so none of these rules holds.
    """

    owners: Callable[[str], Collection[int] | None] | None = None
    forbidden_mode: int = 0o022
    root_links: bool = False
    trusted: bool = False

    @property
    def follows_links(self) -> bool:
        return self.trusted or self.root_links


ANY_OWNER = FileRules()
TRUSTED = FileRules(trusted=True)


def read_table(path: str, rules: FileRules, most_bytes: int) -> tuple[str, Signature]:
    """The text of a table, and the signature of the version that was read.

    The checks are made on the open file, so nobody can exchange the file after a check. Raises
    Unreadable or FileNotFoundError, and OSError if the process is short of files or memory.
    """
    descriptor = _open(path, rules)
    try:
        status = os.fstat(descriptor)
        _check_kind_and_size(status, most_bytes)
        if not rules.trusted:
            _check_trust(status, rules, os.path.basename(path))
        data = _read_all(descriptor, most_bytes)
    except OSError as error:
        raise Unreadable("unreadable", f"cannot be read: {error.strerror}") from None
    finally:
        os.close(descriptor)
    return data.decode("utf-8", "surrogateescape"), signature_of(status)


def _open(path: str, rules: FileRules) -> int:
    """Open a file without waiting for a FIFO; a symlink only if the rules allow it."""
    if rules.root_links and _is_link(path) and os.lstat(path).st_uid != 0:
        raise Unreadable("symlink", "a symbolic link that is not root's: put the file itself here")
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        return os.open(path, flags if rules.follows_links else flags | os.O_NOFOLLOW)
    except FileNotFoundError:
        if rules.root_links and _is_link(path):
            raise Unreadable("symlink", "a symbolic link to no file: mend or remove it") from None
        raise
    except OSError as error:
        if not rules.follows_links and _is_link(path):
            raise Unreadable("symlink", "a symbolic link: put the file itself here") from None
        if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOMEM):
            raise  # the table is not the cause
        raise Unreadable("unreadable", f"cannot be read: {error.strerror}") from None


def _is_link(path: str) -> bool:
    return stat.S_ISLNK(os.lstat(path).st_mode)


def _check_kind_and_size(status: os.stat_result, most_bytes: int) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise Unreadable("not-a-file", f"{_kind(status.st_mode)}, no regular file: remove it")
    if status.st_size > most_bytes:
        raise _too_large(most_bytes)


def _check_trust(status: os.stat_result, rules: FileRules, name: str) -> None:
    """Check that only an allowed owner can write to the file, under one name."""
    owners = rules.owners(name) if rules.owners else None
    if owners is not None and status.st_uid not in owners:
        uids = " or ".join(str(uid) for uid in sorted(owners))
        raise Unreadable(WRONG_OWNER, f"belongs to uid {status.st_uid}, not to {uids}: chown it")
    mode = stat.S_IMODE(status.st_mode)
    if mode & 0o022:
        raise Unreadable("writable", f"others can write to it (mode {mode:04o}): chmod go-w")
    if mode & rules.forbidden_mode:
        good = f"chmod {mode & ~rules.forbidden_mode:03o}"
        raise Unreadable("mode", f"has the mode {mode:04o}, which cron refuses here: {good}")
    if status.st_nlink != 1:
        raise Unreadable("hard-link", f"has {status.st_nlink} names: a table has one")


def _read_all(descriptor: int, most_bytes: int) -> bytes:
    parts: list[bytes] = []
    left = most_bytes + 1  # the file may have grown since fstat
    while left and (part := os.read(descriptor, min(left, 2**20))):
        parts.append(part)
        left -= len(part)
    if not left:
        raise _too_large(most_bytes)
    return b"".join(parts)


def too_many(most: int) -> str:
    """Why one more table cannot be added."""
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


def signature_of(status: os.stat_result) -> Signature:
    """The signature of a file with this status."""
    return (
        status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns,
    )  # fmt: skip


def problem_of(source: Source, error: Unreadable) -> Problem:
    """The Problem of a table that must not be read."""
    return Problem(source.name, 0, 1, Severity.ERROR, error.code, str(error))


def install(path: Path, text: str, owner: tuple[int, int] | None) -> None:
    """Put a table in place, whole or not at all. Raises OSError.

    `owner`: the uid and gid of the file; None for those of this process.
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
    """Delete a table; the deletion survives a power cut. Raises OSError."""
    path.unlink()
    sync_directory(path.parent)
