"""Gives an Attempt what it needs before its command is started, and takes that back.

Imported by the runner: it stays small.
"""

import errno
import itertools
import os
from collections.abc import Callable
from typing import TypeVar

from pycron.protocol.runner_messages import STREAMS
from pycron.runner.attempt import Attempt
from pycron.runner.attempts import Attempts
from pycron.runner.batch import Batch, reserve
from pycron.runner.launch import Launch
from pycron.runner.lease_watch import has_lapsed
from pycron.runner.output_pipes import OutputPipes
from pycron.runner.running_file import RunningFile
from pycron.runner.start_failures import StartFailures
from pycron.runner.tree_limits import TreeLimits

T = TypeVar("T")


class Launcher:
    """Attempts that cannot be launched are refused.

    `files` is the limit of open files that commands get.
    """

    def __init__(
        self,
        attempts: Attempts,
        output_pipes: OutputPipes,
        tree_limits: TreeLimits,
        start_failures: StartFailures,
        files: tuple[int, int],
        running_file: RunningFile,
    ) -> None:
        self._attempts = attempts
        self._output_pipes = output_pipes
        self._tree_limits = tree_limits
        self._start_failures = start_failures
        self._files = files
        self._running_file = running_file
        reserve()

    def prepare(self, attempt: Attempt, *, is_first: bool) -> Launch | None:
        """A cgroup and an output pipe for the Attempt; None if there is no descriptor for it.

        The first Attempt of a batch is refused then. Another one can be in a later batch: until it
        is started, a batch takes twice the descriptors that its commands take when they run.
        """
        self._tree_limits.give_cgroup(attempt)
        try:
            pipes, launch = self._with_room(lambda: _descriptors(attempt))
        except OSError as error:
            if is_first:
                self._refuse(attempt, f"cannot fork: {error.strerror}")
            else:
                self._tree_limits.leave_behind(attempt.tree)
            return None
        self._output_pipes.open(attempt, pipes)
        return launch

    def open_gate(self, first: Attempt) -> tuple[int, int] | None:
        """The gate of a batch; None if there is none: the first Attempt of the batch is refused."""
        try:
            return self._with_room(lambda: os.pipe2(os.O_CLOEXEC))
        except OSError as error:
            self._refuse(first, f"cannot fork: {error.strerror}")
            return None

    def _with_room(self, opened: Callable[[], T]) -> T:
        """What needs descriptors: ended Attempts lose theirs to it. Raises OSError."""
        while True:
            try:
                return opened()
            except OSError as error:
                if error.errno != errno.EMFILE or not self._output_pipes.make_room():
                    raise

    def launch(self, batch: Batch, attempts: list[Attempt]) -> int:
        """Fork the starter of a batch: its pid, or 0 if all these Attempts had to be refused.

        If it waits, begin() is called before it is released.
        """
        if not batch.waits:
            self.begin(self.lines(attempts))
        try:
            pid = batch.start(self._start_failures.inlet, self._files)
        except OSError as error:
            for attempt in attempts:
                self._output_pipes.close(attempt)
                self._refuse(attempt, f"cannot fork: {error.strerror}")
            return 0
        for attempt in attempts:
            attempt.starter = pid
        return pid

    def lines(self, attempts: list[Attempt]) -> list[tuple[int, str]]:
        """What begin() takes; made ahead of the moment at which the commands start."""
        return self._running_file.lines(
            (each.id, each.tree, each.kill_after) for each in attempts if not each.outlives_runner
        )

    def begin(self, lines: list[tuple[int, str]]) -> None:
        """Note for the next runner that these commands may run."""
        self._running_file.begin(lines)

    def give_up(self, attempt: Attempt) -> None:
        """Refuse an Attempt for whose command its starter could not get a process."""
        self._output_pipes.close(attempt)
        reason = self._start_failures.take(attempt.id) or "cannot fork"
        self._tree_limits.leave_behind(attempt.tree)
        self._attempts.refused(attempt, "lease" if has_lapsed(attempt) else None, reason)

    def take_back(self, attempt: Attempt) -> None:
        """Undo prepare() and launch() for an Attempt that its starter has not started."""
        attempt.starter = 0
        self._output_pipes.close(attempt)
        self._tree_limits.leave_behind(attempt.tree)

    def _refuse(self, attempt: Attempt, reason: str) -> None:
        self._tree_limits.leave_behind(attempt.tree)
        self._attempts.refused(attempt, None, reason)


def _descriptors(attempt: Attempt) -> tuple[dict[int, str], Launch]:
    """The ends of output pipes to read from, and what has the other ends. Raises OSError."""
    pipes: list[tuple[int, int]] = []
    try:
        streams = STREAMS if attempt.report_output else STREAMS[:1]
        for _ in streams:
            pipes.append(os.pipe2(os.O_CLOEXEC))  # noqa: PERF401  after an error, all are closed
        launch = Launch(attempt, pipes[0][1], pipes[-1][1])
    except OSError:
        for descriptor in itertools.chain(*pipes):
            os.close(descriptor)
        raise
    return {pipe: stream for (pipe, _), stream in zip(pipes, streams, strict=True)}, launch
