"""Tables on disk: found, checked, read and installed.

The checks are made on the open file, so nobody can swap it in between: a table is a regular file
with one name, of the right owner, that nobody else can write to. A symlink is not followed and a
FIFO is not waited for.
"""

import errno
import os
import re
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pycron.entries import USER_NAME
from pycron.model import Problem, Severity, Source
from pycron.places import sync_directory

# What run-parts(8) takes; so an editor's backup or a package manager's leftover is no table.
_DROP_IN_NAME = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)

_NAMES = "a table's name has letters, digits, _ and - only (run-parts)"

Signature = tuple[int, ...]
_UNREAD: Signature = ()


class Unreadable(Exception):
    """A table that may not be read: a code for machines, and the reason with what to do."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code = code


@dataclass(frozen=True, slots=True)
class Found:
    """A table as it was found: its text, or why there is none."""

    source: Source
    text: str | None
    problem: Problem | None = None


@dataclass(frozen=True, slots=True)
class Gone:
    name: str


@dataclass(frozen=True, slots=True)
class Ignored:
    """A path that is passed over: a file that is no table by its name, an unreadable directory."""

    path: str
    reason: str


Change = Found | Gone | Ignored


@dataclass(frozen=True, slots=True)
class Place:
    """Where tables are: a directory of them, or one file.

    `owners`: the uids that a table may belong to; None stands for any. `users`: each file is the
    table of the user it is named after. `name`: what messages call the table, where it isn't the
    path. `trusted`: a file that an administrator named; symlinks and
    loose permissions are theirs to choose.
    """

    path: Path
    owner: str | None = None
    users: bool = False
    name: str | None = None
    directory: bool = False
    trusted: bool = False
    owners: Callable[[str], set[int]] | None = None

    def source_of(self, name: str) -> Source:
        if self.users:
            return Source(name, name)
        if self.name:
            return Source(self.name, self.owner)
        return Source(str(self.path / name) if self.directory else str(self.path), self.owner)

    @property
    def watched(self) -> Path:
        """The directory in which a change shows."""
        return self.path if self.directory else self.path.parent

    def candidates(self) -> list[str]:
        """The paths to look at; hidden files are nobody's tables. Raises OSError."""
        path = str(self.path)
        if not self.directory:
            return [path]
        try:
            names = sorted(os.listdir(path))
        except (FileNotFoundError, NotADirectoryError):
            return []
        return [f"{path}/{name}" for name in names if name[0] != "."]

    def is_table_name(self, name: str) -> bool:
        return bool((USER_NAME if self.users else _DROP_IN_NAME).fullmatch(name))


@dataclass(slots=True)
class _Seen:
    """What was last seen of a table."""

    place: Place
    source: Source
    signature: Signature = _UNREAD


@dataclass(slots=True)
class Spool:
    """All places, and what was last seen in them; only what has changed is read.

    A scan in which nothing has changed costs a stat(2) for each table and little else.
    """

    places: list[Place]
    most_bytes: int
    most_tables: int
    _seen: dict[str, _Seen] = field(default_factory=dict)  # by path
    _ignored: set[str] = field(default_factory=set)

    def scan(self, again: bool = False) -> Iterator[Change]:
        """What has changed since the last scan; with `again`, everything."""
        if again:
            for seen in self._seen.values():
                seen.signature = _UNREAD
            self._ignored.clear()
        present: set[str] = set()
        for place in self.places:
            try:
                paths = place.candidates()
            except OSError as error:  # a directory that can't be read has not lost its tables
                present |= {path for path, seen in self._seen.items() if seen.place == place}
                yield from self._ignore(str(place.path), f"cannot be read: {error.strerror}")
                continue
            self._ignored.discard(str(place.path))
            for path in paths:
                if path not in self._seen:
                    if reason := self._why_not(place, path):
                        yield from self._ignore(path, reason)
                        continue
                    self._ignored.discard(path)
                try:
                    found = self._look(place, path)
                except FileNotFoundError:  # or removed while it was looked at
                    continue
                present.add(path)
                if found:
                    yield found
        for path in sorted(set(self._seen) - present):
            yield Gone(self._seen.pop(path).source.name)

    def _why_not(self, place: Place, path: str) -> str | None:
        """Why this is no table to take up; None where it is."""
        if place.directory and not place.is_table_name(os.path.basename(path)):
            return _NAMES
        return too_many(self.most_tables) if len(self._seen) >= self.most_tables else None

    def _ignore(self, path: str, reason: str) -> Iterator[Ignored]:
        """Say once that a path is passed over, and why."""
        if path not in self._ignored:
            self._ignored.add(path)
            yield Ignored(path, reason)

    def _look(self, place: Place, path: str) -> Found | None:
        """What has changed about one table. Raises FileNotFoundError."""
        seen = self._seen.get(path) or _Seen(place, place.source_of(os.path.basename(path)))
        signature, text = _UNREAD, None
        problem: Unreadable | None = None
        try:
            signature = _signature(os.stat(path, follow_symlinks=place.trusted))
            if signature == seen.signature:
                return None
            text, signature = self._read(place, path, seen.source)
        except FileNotFoundError:
            raise
        except OSError as error:
            signature = _UNREAD  # nothing may change about it until it works again
            problem = Unreadable("unreadable", f"cannot be read: {error.strerror}")
        except Unreadable as error:
            problem = error
        seen.signature = signature
        self._seen[path] = seen
        return Found(seen.source, text, problem_of(seen.source, problem) if problem else None)

    def _read(self, place: Place, path: str, source: Source) -> tuple[str, Signature]:
        owners = place.owners(source.name) if place.owners else None
        return read_table(path, owners, self.most_bytes, place.trusted)


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
