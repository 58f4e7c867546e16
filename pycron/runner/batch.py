"""A batch of commands, and the starter: the process that is forked to start them.

Imported by the runner: it stays small.
"""

import contextlib
import os
import signal
import struct
import time
from functools import cache

from pycron.runner.launch import Launch
from pycron.runner.progress import BEGUN, STARTED, BatchProgress, Progress
from pycron.runner.spawn import (
    EXEC_FAILED,
    RESET_SIGNALS,
    CannotStart,
    prepare,
    report_failure,
    spawn,
)
from pycron.system.mounts import Mounts

_LONGEST_WAIT = 0.1  # seconds by which a go message may be ahead of its time
_GO = struct.Struct("d")


def reserve() -> None:
    """Open what every batch needs, because there may be no descriptor to be had later."""
    _status()
    _mounts()


class Batch:
    """Commands of one user that a process of its own, the starter, starts one after the other.

    The starter is forked from the runner, which is slow, and becomes the user. It then spawns the
    commands without a copy of its memory. When it exits, the commands become children of the
    runner, which is their subreaper. The starter reports in memory that it shares with the runner.

    A batch with a `gate` (a pipe) is forked ahead of its time, and its starter spawns nothing
    before release().
    """

    def __init__(self, launches: list[Launch], gate: tuple[int, int] | None = None) -> None:
        self.launches = launches
        self._runner = os.getpid()
        self._gate = gate

    @property
    def waits(self) -> bool:
        return self._gate is not None

    def start(self, errors: int, files: tuple[int, int]) -> int:
        """Fork the starter and return its pid. Raises OSError if that is not possible.

        The starter writes one line to the pipe `errors` for each command that it cannot start.
        `files` is the limit of open files that the commands get.
        """
        try:
            self._progress = BatchProgress(len(self.launches))
            return self._fork(errors, files)
        except OSError:
            if self._gate is not None:
                os.close(self._gate[1])
            raise
        finally:
            for launch in self.launches:
                launch.close()
            if self._gate is not None:
                os.close(self._gate[0])

    def release(self, at: float) -> None:
        """Tell a starter that waits to begin at this instant (UTC)."""
        assert self._gate is not None
        with contextlib.suppress(BrokenPipeError):  # it has died; the runner will reap it
            os.write(self._gate[1], _GO.pack(at))
        os.close(self._gate[1])

    def dismiss(self) -> None:
        """Tell a starter that waits to exit without starting anything."""
        assert self._gate is not None
        os.close(self._gate[1])

    def progress(self, index: int) -> Progress:
        """How far the starter has come with a command."""
        return self._progress.read(index)

    def _fork(self, errors: int, files: tuple[int, int]) -> int:
        # Before the fork: memory that the starter writes to is copied.
        others = _all_but(self._descriptors(errors))
        slow = _mounts().slow()
        # A signal handler of the runner must not run in the starter.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, RESET_SIGNALS)
        try:
            pid = os.fork()
            if pid == 0:
                self._run(others, slow, errors, files)
            return pid
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def _run(
        self, others: list[range], slow: tuple[str, ...], errors: int, files: tuple[int, int]
    ) -> None:
        """Runs in the starter; it never returns, also after an error. `slow`: see Mounts.

        `others` are the descriptors of the runner that the starter does not need. It closes them
        because no process may hold them open after the runner has died, and because each spawned
        command would get a copy of all of them: with a thousand, that costs a tenth more.
        """
        try:
            os.setsid()  # the higher share is the runner's: see processor_share.py
            for gap in others:
                os.closerange(gap.start, gap.stop)
            failure = prepare(self.launches, files)
            # Before the wait: entering a cgroup may take some ms.
            first_failure = failure or _join(self.launches[0])
            if self._gate is None or _wait_for_release(self._gate[0]):
                self._start_all(failure, first_failure, slow, errors)
        finally:
            os._exit(EXEC_FAILED)  # the runner looks at this only if a command was not started

    def _start_all(
        self,
        failure: CannotStart | None,
        first_failure: CannotStart | None,
        slow: tuple[str, ...],
        errors: int,
    ) -> None:
        for index, launch in enumerate(self.launches):
            # Join before BEGUN is written: until then, this process belongs to the tree of the
            # command before, and is ended together with that tree.
            here = first_failure if index == 0 else failure or _join(launch)
            # The next runner ends all commands of a dead runner that it finds. It finds this
            # process in the tree of the command that is next, because join() comes before this.
            if os.getppid() != self._runner:
                return
            self._progress.write(index, 0, BEGUN)
            try:
                pid, state = spawn(launch, here, slow)
            except CannotStart as why:
                pid, state = report_failure(launch, why, errors), STARTED
            self._progress.write(index, pid, state)

    def _descriptors(self, errors: int) -> set[int]:
        """The descriptors that the starter needs."""
        needed = {0, 1, 2, errors}
        if self._gate is not None:
            needed.add(self._gate[0])
        return needed.union(*(launch.descriptors for launch in self.launches))


def _join(launch: Launch) -> CannotStart | None:
    """Enter the tree of a command. A command that is not in its tree may not run."""
    try:
        launch.join()
    except (OSError, ValueError) as error:
        return CannotStart(f"cannot enter its process tree: {error}")
    return None


def seconds_until(instant: float) -> float:
    """Seconds until an instant (UTC) that is a moment ahead; the clock may have been set back."""
    return min(max(0.0, instant - time.time()), _LONGEST_WAIT)


def _wait_for_release(gate: int) -> bool:
    """Wait until the commands may begin; False if they are not to be started."""
    go = os.read(gate, _GO.size)
    if go:
        _wait_until(*_GO.unpack(go))
    return bool(go)


def _wait_until(instant: float) -> None:
    time.sleep(seconds_until(instant))


def _all_but(needed: set[int]) -> list[range]:
    """The ranges that hold all other descriptors of this process."""
    gaps = []
    low = 0
    for descriptor in sorted(needed):
        gaps.append(range(low, descriptor))
        low = descriptor + 1
    gaps.append(range(low, _end_of_descriptors()))
    return [gap for gap in gaps if gap]  # closerange() might take an empty range for all


def _end_of_descriptors() -> int:
    """A number that is higher than any descriptor of this process."""
    lines = os.pread(_status(), 4096, 0).splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(b"FDSize:"))


@cache
def _mounts() -> Mounts:
    """See reserve()."""
    return Mounts()


@cache
def _status() -> int:
    """Open for good; see reserve()."""
    return os.open("/proc/self/status", os.O_RDONLY | os.O_CLOEXEC)
