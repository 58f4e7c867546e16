"""What a command gets before it is started, and what is taken back from one that isn't.

Imported by the runner: it stays small.
"""

import os

from pycron.runner.attempt import Attempt
from pycron.runner.attempts import Attempts
from pycron.runner.limits import TreeLimits
from pycron.runner.output_pipes import OutputPipes
from pycron.runner.spawn import Batch, Launch, Order
from pycron.runner.start_failures import StartFailures


class Launcher:
    """What can't be launched is refused. `files` is the limit of open files that commands get."""

    def __init__(
        self,
        attempts: Attempts,
        output_pipes: OutputPipes,
        tree_limits: TreeLimits,
        start_failures: StartFailures,
        files: tuple[int, int],
    ) -> None:
        self._attempts = attempts
        self._output_pipes = output_pipes
        self._tree_limits = tree_limits
        self._start_failures = start_failures
        self._files = files

    def prepare(self, attempt: Attempt, order: Order) -> Launch | None:
        receiver = sender = -1
        self._tree_limits.give_cgroup(attempt.tree, order)
        try:
            receiver, sender = os.pipe2(os.O_CLOEXEC)
            launch = Launch(order, attempt.tree, sender)
        except OSError as error:
            for descriptor in (receiver, sender):
                if descriptor >= 0:
                    os.close(descriptor)
            self._fail(attempt, f"cannot fork: {error.strerror}")
            return None
        self._output_pipes.open(attempt, order, receiver)
        return launch

    def launch(self, batch: Batch, attempts: list[Attempt]) -> int:
        """The pid of the starter; 0 when there is none to be had."""
        try:
            pid = batch.start(self._start_failures.inlet, self._files)
        except OSError as error:
            for attempt in attempts:
                self._output_pipes.close(attempt)
                self._fail(attempt, f"cannot fork: {error.strerror}")
            return 0
        for attempt in attempts:
            attempt.starter = pid
        return pid

    def give_up(self, attempt: Attempt) -> None:
        """No process could be had to be the command."""
        self._output_pipes.close(attempt)
        self._fail(attempt, self._start_failures.take(attempt.id) or "cannot fork")

    def take_back(self, attempt: Attempt) -> None:
        """It is to be prepared anew, if at all."""
        attempt.starter = 0
        self._output_pipes.close(attempt)
        self._tree_limits.leave_behind(attempt.tree)

    def _fail(self, attempt: Attempt, reason: str) -> None:
        self._tree_limits.leave_behind(attempt.tree)
        self._attempts.refused(attempt, None, reason)
