"""Where files are that may keep a process waiting: on another machine, or in another process.

Imported by the runner: it stays small.
"""

import os
import select
from functools import cache

# File systems whose files are in memory or on a disk of this machine. All others, among them
# network file systems, FUSE, automount points and /proc, count as slow.
_QUICK = frozenset(
    (
        "bcachefs", "btrfs", "devtmpfs", "erofs", "exfat", "ext2", "ext3", "ext4", "f2fs",
        "iso9660", "jfs", "nilfs2", "ntfs3", "overlay", "ramfs", "reiserfs", "rootfs", "squashfs",
        "tmpfs", "udf", "vfat", "xfs", "zfs",
    )
)  # fmt: skip
_MOST_LINKS = 40  # as in the kernel


class Slow(Exception):
    """A path leads, or may lead, to a file that keeps a process waiting."""


class Mounts:
    """The mount points of slow file systems. The kernel tells when the mounts have changed."""

    def __init__(self) -> None:
        """Raises OSError."""
        self._file = os.open("/proc/self/mountinfo", os.O_RDONLY | os.O_CLOEXEC)
        self._changes = select.poll()
        self._changes.register(self._file, select.POLLPRI)
        self._slow = self._read()

    def slow(self) -> tuple[str, ...]:
        """Each with a slash at its end. The root is none: a shell would be read from there, too."""
        if self._changes.poll(0):
            self._slow = self._read()
        return self._slow

    def _read(self) -> tuple[str, ...]:
        os.lseek(self._file, 0, os.SEEK_SET)
        text = b""
        while part := os.read(self._file, 65_536):
            text += part
        return slow_mounts(os.fsdecode(text))


def slow_mounts(mountinfo: str) -> tuple[str, ...]:
    """The mount points of slow file systems, from a text as in /proc/self/mountinfo (proc(5))."""
    found = set()
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        if after.split(" ")[0] not in _QUICK:
            found.add(_unescaped(before.split(" ")[4]) + "/")
    return tuple(found - {"//"})


def _unescaped(path: str) -> str:
    for code in ("\\040", "\\011", "\\012", "\\134"):
        path = path.replace(code, chr(int(code[1:], 8)))
    return path


def quick_path(path: str, slow: tuple[str, ...]) -> str:
    """An absolute path without the symbolic links in it. Raises Slow if a part of it is slow.

    No file is looked at before it is known to be quick.
    """
    above, _, name = path.rpartition("/")
    return _follow(_directory(above, slow), name, slow)


@cache
def _directory(path: str, slow: tuple[str, ...]) -> str:
    """Kept as long as the process lives: it is a starter, which ends in a moment."""
    return _follow("", path, slow)


def _follow(done: str, path: str, slow: tuple[str, ...]) -> str:
    """Follow a path from a directory that has no links in it (empty: the root)."""
    left = path.split("/")[::-1]
    links = 0
    while left:
        name = left.pop()
        if name in ("", "."):
            continue
        if name == "..":
            done = done.rpartition("/")[0]
            continue
        here = f"{done}/{name}"
        if f"{here}/".startswith(slow) or links > _MOST_LINKS:
            raise Slow
        try:
            target = os.readlink(here)
        except OSError:  # no link; or there is no such file, which exec says better
            done = here
            continue
        links += 1
        left += target.split("/")[::-1]
        if target.startswith("/"):
            done = ""
    return done
