"""Processes that die at a chosen system call: strace(1) kills them as they enter it.

Other processes see no change between two system calls of a process. So dying before a call is the
same as dying after the call before it, and the product needs no hooks for exact failpoints.
"""

import os
import random
import re
import signal
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.support.waiting import until

# Takes the next failpoint from the list. Without one, the program is not killed.
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
    """Death before one of these system calls (strace's set), at the latest the `count`-th."""

    calls: str
    count: int


class KilledProgram:
    """A program that is killed at the next failpoint each time that it is started.

    Run `script` in place of the program. `program`: the words before the arguments of `script`.
    """

    def __init__(self, here: Path, points: list[Failpoint], program: str = "") -> None:
        here.mkdir()
        self._here = here
        self._by_hand: set[str] = set()
        (here / "points").write_text("".join(f"{p.calls}:{p.count}\n" for p in points))
        self.script = here / "script"
        self.script.write_text(_SCRIPT.format(here=here, program=program))
        self.script.chmod(0o755)

    def starts(self) -> int:
        """How many processes with a failpoint have been started."""
        return len(self._traces())

    @property
    def pid(self) -> int:
        """The pid of the process that was started last; 0 before the first start."""
        try:
            return int((self._here / "pid").read_text())
        except (OSError, ValueError):  # not started yet, or just being started
            return 0

    @property
    def alive(self) -> bool:
        """Whether the process that was started last is running."""
        return _runs(self.pid)

    @property
    def cpu_seconds(self) -> float:
        """The processor time of the process that was started last; 0 if it is not running."""
        try:
            return sum(psutil.Process(self.pid).cpu_times()[:2])
        except psutil.NoSuchProcess:
            return 0.0

    def kill(self) -> None:
        """Kill the process now, but not while strace starts: a part of strace would stay."""
        until(lambda: not _command_line(self.pid).startswith(b"strace\0"))
        pid, trace = self.pid, max(self._traces(), default="")
        if _runs(pid):
            with suppress(ProcessLookupError):  # the process has just died at its failpoint
                os.kill(pid, signal.SIGKILL)
                self._by_hand.add(trace)

    def stop_killing(self) -> None:
        """Kill no process that is started from now on."""
        (self._here / "points").write_text("")

    def killed_before(self) -> list[str]:
        """The system calls before which processes were killed, without those killed by kill()."""
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
        ours = b"pycron" in _command_line(pid)  # not a later process with the same pid
        return ours and b") Z " not in Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return False


def _command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def failpoints(chance: random.Random, most: Mapping[str, int], number: int) -> list[Failpoint]:
    """Random failpoints, equally many of each kind; `most`: the highest count of a kind.

    The counts are distributed logarithmically, because a start-up makes few calls.
    """
    kinds = [*most.items()] * (number // len(most) + 1)
    points = [Failpoint(calls, round(highest ** chance.random())) for calls, highest in kinds]
    chance.shuffle(points)
    return points[:number]
