"""What a plan has to know of the machine, and how it is looked up."""

import grp
import hashlib
import os
import pwd
import shutil
import stat
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

_TOOLS = ("systemctl", "systemd-sysusers", "useradd", "groupadd", "userdel", "groupdel")


class Kind(Enum):
    ABSENT = "nothing"
    FILE = "a file"
    LINK = "a link"
    DIRECTORY = "a directory"
    OTHER = "no regular file"


@dataclass(frozen=True, slots=True)
class Found:
    """What a path leads to now.

    `mark`: the digest of a file's bytes, or the target of a link. `behind`: for a link, the path to
    which it leads in the end, and the digest of the file there. `entries`: names in a directory.
    """

    kind: Kind = Kind.ABSENT
    mark: str = ""
    behind: tuple[str, ...] = ()
    entries: frozenset[str] = frozenset()


ABSENT = Found()


@dataclass(frozen=True, slots=True)
class Machine:
    """`found`: of each path that a plan can touch. `groups`: with their members.

    `systemd`: whether the manager runs, the user's own one for a user. `active`: whether it runs
    the unit. `read_only`: directories that cannot be written to.
    """

    found: Mapping[Path, Found] = field(default_factory=dict)
    users: Collection[str] = ()
    groups: Mapping[str, Collection[str]] = field(default_factory=dict)
    tools: Collection[str] = _TOOLS
    systemd: bool = True
    active: bool = False
    read_only: Collection[Path] = ()

    def at(self, path: Path) -> Found:
        return self.found.get(path, ABSENT)


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _digest_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def look(path: Path) -> Found:
    """Raises OSError."""
    try:
        status = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return ABSENT
    if stat.S_ISLNK(status.st_mode):
        return _look_through(path)
    if stat.S_ISDIR(status.st_mode):
        return Found(Kind.DIRECTORY, entries=frozenset(os.listdir(path)))
    if stat.S_ISREG(status.st_mode):
        return Found(Kind.FILE, _digest_of(path))
    return Found(Kind.OTHER)


def _look_through(link: Path) -> Found:
    """A link to a directory, such as /var/spool on another disk, counts as the directory."""
    end = Path(os.path.realpath(link))
    if end.is_dir():
        return Found(Kind.DIRECTORY, entries=frozenset(os.listdir(end)))
    behind = (str(end), _digest_of(end)) if end.is_file() else (str(end),)
    return Found(Kind.LINK, os.readlink(link), behind)


def look_at(paths: Iterable[Path]) -> dict[Path, Found]:
    """The paths, and all directories above them. Raises OSError."""
    all_paths = {each for path in paths for each in (path, *path.parents)}
    return {path: look(path) for path in all_paths}


def accounts() -> tuple[set[str], dict[str, list[str]]]:
    """The users, and the groups with their members, of /etc/passwd and the like."""
    users = {entry.pw_name for entry in pwd.getpwall()}
    return users, {entry.gr_name: list(entry.gr_mem) for entry in grp.getgrall()}


def tools() -> set[str]:
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin:/usr/bin:/bin"
    return {name for name in _TOOLS if shutil.which(name, path=path)}


def is_read_only(path: Path) -> bool:
    """Whether a directory, or the first one above it that exists, is mounted read-only."""
    there = next(each for each in (path, *path.parents) if each.exists())
    return bool(os.statvfs(there).f_flag & os.ST_RDONLY)
