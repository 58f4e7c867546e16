"""Processes that die at a chosen system call: strace(1) kills them as they enter it.

Nothing of a process is seen outside between two of its system calls. So to die before one of them
is to die after the one before it, and no hook in the product is needed to be exact.
"""

import os
import random
import re
import signal
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tests.waiting import until

# Takes the next failpoint from the list; after the last one the program lives on.
_SCRIPT = """\
#!/bin/sh
here={here}
echo $$ >$here/pid
point=$(head -n 1 $here/points)
[ "$point" ] || exec {program} "$@"
trace=$here/$(printf %05d $(ls $here | wc -l)).trace
: >$trace
sed -i 1d $here/points
exec strace -D -qq -o $trace -e trace=${{point%:*}} \\
    -e inject=${{point%:*}}:signal=KILL:when=${{point#*:}} {program} "$@"
"""


@dataclass(frozen=True)
class Failpoint:
    """Death before one of these system calls (strace's set), at the latest before the n-th."""

    calls: str
    count: int


class Doomed:
    """A program that dies at a failpoint each time that it is started, as long as there are some.

    `script` is to be run in its place; `program` is what that runs, before its arguments.
    """

    def __init__(self, here: Path, points: list[Failpoint], program: str = "") -> None:
        here.mkdir()
        self._here = here
        self._by_hand: set[str] = set()
        (here / "points").write_text("".join(f"{p.calls}:{p.count}\n" for p in points))
        self.script = here / "script"
        self.script.write_text(_SCRIPT.format(here=here, program=program))
        self.script.chmod(0o755)

    def births(self) -> int:
        """How many of those that are to die have been started."""
        return len(self._traces())

    @property
    def pid(self) -> int:
        """That of the one that was started last; 0 when there is none yet."""
        try:
            return int((self._here / "pid").read_text())
        except (OSError, ValueError):  # not started yet, or just being started
            return 0

    @property
    def alive(self) -> bool:
        """Whether the one that was started last runs."""
        return _runs(self.pid)

    def kill(self) -> None:
        """It dies now, wherever it is; but for strace's own start, of which a part would stay."""
        until(lambda: not _command_line(self.pid).startswith(b"strace\0"))
        pid, trace = self.pid, max(self._traces(), default="")
        if _runs(pid):
            with suppress(ProcessLookupError):  # it has just died at its failpoint
                os.kill(pid, signal.SIGKILL)
                self._by_hand.add(trace)

    def spare(self) -> None:
        """Those that are started from now on live on."""
        (self._here / "points").write_text("")

    def deaths(self) -> list[str]:
        """Before which system call each of them died, but for those that were killed by hand."""
        found = []
        for name in self._traces():
            trace = (self._here / name).read_text()
            last = re.search(
                r"^(\w+)\(.*= \?\n\+\+\+ killed by SIGKILL \+\+\+\n\Z", trace, re.MULTILINE
            )
            if last and name not in self._by_hand:
                found.append(last[1])
        return found

    def _traces(self) -> list[str]:
        return sorted(path.name for path in self._here.glob("*.trace"))


def _runs(pid: int) -> bool:
    try:
        ours = b"pycron" in _command_line(pid)  # not another one of its pid
        return ours and b") Z " not in Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return False


def _command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def failpoints(chance: random.Random, most: Mapping[str, int], number: int) -> list[Failpoint]:
    """So many of them, of each kind alike; `most`: the highest count of a kind.

    A count of one digit is as likely as one of two or three: a start-up makes few calls.
    """
    kinds = [*most.items()] * (number // len(most) + 1)
    points = [Failpoint(calls, round(highest ** chance.random())) for calls, highest in kinds]
    chance.shuffle(points)
    return points[:number]
