"""The lines of the file that names the process trees of all Attempts that run.

    +MARK OWNER KILL_AFTER ATTEMPT CGROUP
    -MARK

The runner writes them (runner/running_file.py), and so does the next runner after a runner that was
killed; the daemon reads them if the runner does not do what it should.

Imported by the runner: it stays small.
"""

from collections.abc import Iterable
from typing import NamedTuple

_NO_CGROUP = "-"


class TreeLine(NamedTuple):
    """One process tree. `kill_after`: seconds. `cgroup`: its path, or None."""

    mark: int
    owner: int
    kill_after: int
    id: str
    cgroup: str | None

    def __str__(self) -> str:
        cgroup = self.cgroup or _NO_CGROUP
        return f"+{self.mark} {self.owner} {self.kill_after} {self.id} {cgroup}\n"


def over(mark: int) -> str:
    """The line that says that a tree is over."""
    return f"-{mark}\n"


def left(lines: Iterable[str]) -> tuple[dict[int, TreeLine], list[str]]:
    """By their marks the trees that are not over; and the lines that are bad.

    A line that was not written to its end is passed over.
    """
    found: dict[int, TreeLine] = {}
    bad = []
    for line in lines:
        try:
            if line.startswith("+") and line.endswith("\n"):
                tree = _parsed(line)
                found[tree.mark] = tree
            elif line.startswith("-") and line.endswith("\n"):
                found.pop(int(line[1:]), None)
        except ValueError:
            bad.append(line)
    return found, bad


def _parsed(line: str) -> TreeLine:
    mark, owner, kill_after, key, path = line[1:-1].split(" ", 4)
    cgroup = None if path == _NO_CGROUP else path
    return TreeLine(int(mark), int(owner), int(kill_after), key, cgroup)
