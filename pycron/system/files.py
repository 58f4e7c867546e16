"""Files and directories, and which files may be trusted."""

import errno
import os
import stat
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

from pycron.system.links import NotTrusted, Way

_MOST_SECRET = 4096  # bytes
WRONG_OWNER = "wrong-owner"  # the code of an Unreadable


class Unreadable(Exception):
    """A file that must not be read: a code for programs, and the reason with its remedy."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code = code


@dataclass(frozen=True, slots=True)
class FileRules:
    """What a file must be before its text is used.

    `owners`: the uids that a file of this name may belong to; None allows any. `forbidden_mode`:
    the permission bits that the file must not have, besides those that let others write to it.
    `link_owners`: the uids whose symlinks may stand for the file, wherever they lead.
    `checked_links`: symlinks of `owners` may stand for the file if only they could have made or
    changed the whole way to it. `trusted`: the administrator named this file, so none of these
    rules holds.
    """

    owners: Callable[[str], Collection[int] | None] | None = None
    forbidden_mode: int = 0o022
    link_owners: frozenset[int] = frozenset()
    checked_links: bool = False
    trusted: bool = False

    @property
    def follows_links(self) -> bool:
        return self.trusted or bool(self.link_owners)


@dataclass(frozen=True, slots=True)
class Content:
    """What a file contained, its status at that time, and whether it has names elsewhere, too."""

    data: bytes
    status: os.stat_result

    @property
    def has_other_names(self) -> bool:
        return self.status.st_nlink > 1


ROOTS = FileRules(owners=lambda _: {0})
TRUSTED = FileRules(trusted=True)


def own_rules() -> FileRules:
    """The rules for a file of this process's user, who may keep it elsewhere and link to it."""
    uids = frozenset({0, os.geteuid()})
    return FileRules(owners=lambda _: uids, link_owners=uids)


def read_checked(path: str, rules: FileRules, most_bytes: int) -> Content:
    """Read a file that fulfils the rules.

    The checks are made on the open file, so nobody can exchange the file after a check. Raises
    Unreadable or FileNotFoundError, and OSError if the process is short of files or memory.
    """
    descriptor = _open(path, rules)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise Unreadable("not-a-file", f"{_kind(status.st_mode)}, no regular file")
        if status.st_size > most_bytes:
            raise _too_large(most_bytes)
        if not rules.trusted:
            _check_trust(path, status, rules)
        return Content(_read_all(descriptor, most_bytes), status)
    except OSError as error:
        raise Unreadable("unreadable", f"cannot be read: {error.strerror}") from None
    finally:
        os.close(descriptor)


def read_secret(path: Path) -> str:
    """The first line of a file that only root, or this user, can read and write.

    Raises Unreadable or OSError; the message names the file.
    """
    rules = FileRules(owners=lambda _: {0, os.geteuid()}, forbidden_mode=0o077)
    try:
        data = read_checked(str(path), rules, _MOST_SECRET).data
    except Unreadable as error:
        raise Unreadable(error.code, f"{path}: {error}") from None
    return data.decode("utf-8", "surrogateescape").partition("\n")[0]


def replace_file(
    path: Path, data: bytes, *, mode: int = 0o600, owner: tuple[int, int] = (-1, -1)
) -> None:
    """Write a file whole or not at all: it may be read at any time, and the power may fail.

    `owner`: its uid and gid; -1: those of this process. Raises OSError.
    """
    import tempfile  # 1 MB, and the daemon seldom asks for it

    descriptor, temporary = tempfile.mkstemp(prefix=".new-", dir=path.parent)
    try:
        with open(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fchown(descriptor, *owner)
            os.fchmod(descriptor, mode)
            os.fsync(descriptor)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
    sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Make the entries of a directory survive a power cut (fsync(2)). Raises OSError."""
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _open(path: str, rules: FileRules) -> int:
    """Open a file without waiting for a FIFO; a symlink only if the rules allow it."""
    if rules.link_owners and _is_link(path) and os.lstat(path).st_uid not in rules.link_owners:
        whose = "root's" if rules.link_owners == {0} else "root's or yours"
        reason = f"a symbolic link that is not {whose}: put the file itself here"
        raise Unreadable("symlink", reason)
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        if rules.checked_links and _is_link(path):
            return _open_checked_link(path, rules, flags)
        return os.open(path, flags if rules.follows_links else flags | os.O_NOFOLLOW)
    except FileNotFoundError:
        if rules.link_owners and _is_link(path):
            raise Unreadable("symlink", "a symbolic link to no file: mend or remove it") from None
        raise
    except OSError as error:
        if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOMEM):
            raise  # the file is not the cause
        if not (rules.follows_links or rules.checked_links) and _is_link(path):
            raise Unreadable("symlink", "a symbolic link: put the file itself here") from None
        raise Unreadable("unreadable", f"cannot be read: {error.strerror}") from None


def _open_checked_link(path: str, rules: FileRules, flags: int) -> int:
    """Open what a symlink leads to. Raises Unreadable or OSError."""
    try:
        return Way(_owners(path, rules)).open(path, flags)
    except NotTrusted as error:
        raise Unreadable("symlink", str(error)) from None
    except FileNotFoundError:
        raise Unreadable("symlink", "a symbolic link to no file: mend or remove it") from None


def way_facts(path: str, rules: FileRules) -> tuple[int, ...]:
    """Numbers that differ if the way from a checked symlink to its file, or the file, changes."""
    way = Way(_owners(path, rules))
    try:
        file = way.open(path, os.O_PATH)
    except (NotTrusted, OSError):
        return tuple(way.facts)
    try:
        status = os.fstat(file)
    finally:
        os.close(file)
    return (*way.facts, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def _owners(path: str, rules: FileRules) -> Collection[int]:
    """The uids that a file of this name may belong to; without a rule, this process's."""
    owners = rules.owners(os.path.basename(path)) if rules.owners else None
    return {0, os.geteuid()} if owners is None else owners


def _is_link(path: str) -> bool:
    return stat.S_ISLNK(os.lstat(path).st_mode)


def _check_trust(path: str, status: os.stat_result, rules: FileRules) -> None:
    """Check that only an allowed owner can write to the file, and that nobody else named it."""
    owners = rules.owners(os.path.basename(path)) if rules.owners else None
    if owners is not None and status.st_uid not in owners:
        uids = " or ".join(str(uid) for uid in sorted(owners))
        raise Unreadable(WRONG_OWNER, f"belongs to uid {status.st_uid}, not to {uids}: chown it")
    mode = stat.S_IMODE(status.st_mode)
    if mode & 0o022:
        raise Unreadable("writable", f"others can write to it (mode {mode:04o}): chmod go-w")
    if mode & rules.forbidden_mode:
        good = f"chmod {mode & ~rules.forbidden_mode:03o}"
        raise Unreadable("mode", f"has the mode {mode:04o}, which cron refuses here: {good}")
    if status.st_nlink != 1 and not _others_only_linked(path, status):
        reason = f"has {status.st_nlink} names, and must have one: find -samefile shows the others"
        raise Unreadable("hard-link", reason)


def _others_only_linked(path: str, status: os.stat_result) -> bool:
    """Whether this name is the owner's own, and the further names are in other directories.

    Where the kernel does not prevent it (fs.protected_hardlinks), any user can give a further name
    to a file that they can see. That harms nothing, and must not take the file out of use, if only
    root or the daemon's user can write to the file and make names in this directory.
    """
    directory, own = os.path.dirname(path) or ".", {0, os.geteuid()}
    of_directory = os.stat(directory)
    if not {status.st_uid, of_directory.st_uid} <= own or of_directory.st_mode & 0o022:
        return False
    with os.scandir(directory) as entries:
        return sum(entry.inode() == status.st_ino for entry in entries) == 1


def _read_all(descriptor: int, most_bytes: int) -> bytes:
    parts: list[bytes] = []
    left = most_bytes + 1  # the file may have grown since fstat
    while left and (part := os.read(descriptor, min(left, 2**20))):
        parts.append(part)
        left -= len(part)
    if not left:
        raise _too_large(most_bytes)
    return b"".join(parts)


def _too_large(most_bytes: int) -> Unreadable:
    return Unreadable("too-large", f"larger than {most_bytes} bytes")


def _kind(mode: int) -> str:
    kinds = {
        stat.S_IFDIR: "a directory",
        stat.S_IFIFO: "a FIFO",
        stat.S_IFSOCK: "a socket",
        stat.S_IFCHR: "a device",
        stat.S_IFBLK: "a device",
    }
    return kinds.get(stat.S_IFMT(mode), "something else")
