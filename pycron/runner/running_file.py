"""The file that names the process trees of all Attempts that run, for the next runner.

If the runner is killed, its commands go on. The next runner reads the file, and ends them before
their Attempts are given up as lost. The file lies beside the runner's socket, because neither it
nor the processes survive a boot.

A line is added before a command is started, and another one when its tree is over; see
system/running_lines.py.

Imported by the runner: it stays small.
"""

import fcntl
import os
from collections.abc import Iterable
from typing import NamedTuple

from pycron.runner.log import say
from pycron.runner.process_tree import ProcessTree
from pycron.system.cgroup import Cgroup
from pycron.system.running_lines import TreeLine, left, over

_MOST_LINES = 10_000  # more than that are written anew, unless they are needed


class Left(NamedTuple):
    """An Attempt whose processes an earlier runner has left. `kill_after`: seconds."""

    id: str
    tree: ProcessTree
    kill_after: int


class RunningFile:
    """The runner holds a lock on the file as long as it lives.

    If another runner holds the lock, or the file cannot be written, this runner goes on without it,
    and says so in its log.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._lines: dict[int, str] = {}  # of the trees that are not over, by their marks
        self._written = 0
        self._file = -1

    def take_over(self) -> list[Left]:
        """The Attempts that an earlier runner has left; they stay in the file until they are over.

        From now on, this runner writes the file.
        """
        found: dict[int, TreeLine] = {}
        try:
            file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with open(file, encoding="utf-8", errors="surrogateescape", closefd=False) as lines:
                found, bad = left(lines)
            for line in bad:
                say(f"bad line in the file of what runs: {line!r}")
            self._lines = {mark: str(tree) for mark, tree in found.items()}
            self._file = file
            self._write_anew()
        except OSError as error:
            say(f"{self._path}: {error.strerror}: commands may outlive this runner unnoticed")
        return [_left(tree) for tree in found.values()]

    def lines(self, starts: Iterable[tuple[str, ProcessTree, int]]) -> list[tuple[int, str]]:
        """What begin() takes. A start: id, tree, and seconds between SIGTERM and SIGKILL."""
        return [(tree.mark, _line(key, tree, kill_after)) for key, tree, kill_after in starts]

    def begin(self, lines: list[tuple[int, str]]) -> None:
        """These commands may run from now on."""
        self._lines.update(lines)
        self._write("".join(line for _, line in lines), len(lines))

    def over(self, tree: ProcessTree) -> None:
        """The command of this tree has ended, or was not started."""
        if self._lines.pop(tree.mark, None) is not None:
            self._write(over(tree.mark), 1)

    def _write(self, text: str, lines: int) -> None:
        if self._file < 0:
            return
        try:
            os.write(self._file, text.encode(errors="surrogateescape"))
            self._written += lines
            if self._written > _MOST_LINES + 2 * len(self._lines):
                self._write_anew()
        except OSError as error:  # commands are started all the same
            say(f"{self._path}: {error.strerror}")

    def _write_anew(self) -> None:
        """Replace the file, so that a runner finds the old one or the new one, with the lock."""
        new = f"{self._path}.new"
        file = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.write(file, "".join(self._lines.values()).encode(errors="surrogateescape"))
            os.rename(new, self._path)
        except OSError:
            os.close(file)
            raise
        os.close(self._file)
        self._file, self._written = file, len(self._lines)


def _line(key: str, tree: ProcessTree, kill_after: int) -> str:
    cgroup = tree.cgroup.path if tree.cgroup is not None else None
    return str(TreeLine(tree.mark, tree.owner, kill_after, key, cgroup))


def _left(line: TreeLine) -> Left:
    cgroup = None if line.cgroup is None else Cgroup(line.cgroup)
    return Left(line.id, ProcessTree(line.owner, line.mark, cgroup), line.kill_after)
