"""Follows a symlink if only its owners could have made the way to the file.

Each name on the way is opened below the descriptor of the directory before it (openat(2)), without
following it, and what was opened is checked. So nobody can exchange a part of the way after its
check, as they could if the kernel followed the links.
"""

import os
import stat
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

_MOST_LINKS = 40  # on one way, as the kernel has it
_LOOK = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC


class NotTrusted(Exception):
    """Somebody else could have made or changed the way; the message says where."""


@dataclass(slots=True)
class Way:
    """The way to a file, from the root on.

    `owners`: the uids that every link and directory must belong to. `facts`: numbers that differ if
    something on the way is exchanged or gets another owner or mode.
    """

    owners: Collection[int]
    facts: list[int] = field(default_factory=list)
    _inside: list[tuple[int, str]] = field(default_factory=list)  # descriptors and names
    _links: int = 0

    def open(self, path: str, flags: int) -> int:
        """Open the file to which an absolute path leads; a descriptor.

        Raises NotTrusted or OSError.
        """
        try:
            self._enter(os.open("/", _LOOK | os.O_DIRECTORY), "")
            return self._walk(path, flags)
        finally:
            for descriptor, _ in self._inside:
                os.close(descriptor)
            self._inside.clear()

    def _walk(self, path: str, flags: int) -> int:
        left = _names(path)
        while left:
            name = left.pop()
            if name == "..":
                self._leave(to=max(1, len(self._inside) - 1))
                continue
            found = os.open(name, _LOOK, dir_fd=self._inside[-1][0])
            mode = os.fstat(found).st_mode
            if stat.S_ISLNK(mode):
                left += self._behind(found, name)
            elif left:
                self._enter(found, name)
            else:
                os.close(found)
                # Its owner and mode are checked by whoever reads it.
                return os.open(name, flags | os.O_NOFOLLOW, dir_fd=self._inside[-1][0])
        raise NotTrusted("a symbolic link to a directory: put the file itself here")

    def _behind(self, link: int, name: str) -> list[str]:
        """The names to which a link leads, the last one first."""
        try:
            self._check_owner(os.fstat(link), name)
            target = os.readlink("", dir_fd=link)
        finally:
            os.close(link)
        self._links += 1
        if self._links > _MOST_LINKS:
            raise NotTrusted("a symbolic link that leads to itself: mend or remove it")
        if target.startswith("/"):
            self._leave(to=1)
        return _names(target)

    def _enter(self, directory: int, name: str) -> None:
        self._inside.append((directory, name))
        status = os.fstat(directory)
        self._check_owner(status, "")
        if _others_can_write(directory, status.st_mode):
            reason = f"others can write to {self._where('')} (mode {status.st_mode & 0o7777:04o})"
            raise NotTrusted(f"a symbolic link, and {reason}: put the file itself here")

    def _leave(self, *, to: int) -> None:
        """Go back until only so many directories are open."""
        while len(self._inside) > to:
            os.close(self._inside.pop()[0])

    def _check_owner(self, status: os.stat_result, name: str) -> None:
        self.facts += (status.st_dev, status.st_ino, status.st_uid, status.st_mode)
        if status.st_uid not in self.owners:
            uids = " or ".join(map(str, sorted(self.owners)))
            reason = f"{self._where(name)} belongs to uid {status.st_uid}, not to {uids}"
            raise NotTrusted(f"a symbolic link, and {reason}: put the file itself here")

    def _where(self, name: str) -> str:
        """The path of the current directory, or of a name in it."""
        path = "/".join(each for _, each in self._inside) or "/"
        return f"{path.rstrip('/')}/{name}" if name else path


def _others_can_write(directory: int, mode: int) -> bool:
    """Whether somebody else can exchange what is in a directory.

    In a directory such as /tmp they cannot, and not on a read-only mount either: kubelet gives the
    directory of a ConfigMap the mode 0777, and mounts it read-only.
    """
    if not mode & 0o022 or mode & stat.S_ISVTX:
        return False
    return not is_read_only(directory)


def is_read_only(place: int | Path) -> bool:
    """Whether nothing can be changed in a directory, because its mount is read-only."""
    return bool(os.statvfs(place).f_flag & os.ST_RDONLY)


def _names(path: str) -> list[str]:
    """The names of a path, the last one first."""
    return [name for name in reversed(path.split("/")) if name not in ("", ".")]
