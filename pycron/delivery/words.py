"""Words that the kinds of deliveries have in common, and the line that a delivery prints."""

import os
import signal
import sys

from pycron.delivery.request import RunFacts
from pycron.model.run import Outcome

_ENDINGS = {
    Outcome.TIMED_OUT: "timed out",
    Outcome.OUT_OF_MEMORY: "out of memory",
}


def ending(run: RunFacts) -> str:
    """How a Run ended: `failed (exit status 7)`, `killed by signal 9 (KILL)`, `timed out`."""
    if run["outcome"] is None:
        return "not ended"
    outcome = Outcome(run["outcome"])
    if outcome == Outcome.FAILED and run["exit_status"] is not None:
        return f"failed (exit status {run['exit_status']})"
    if outcome == Outcome.KILLED and run["signal"] is not None:
        return f"killed by {_signal_in_words(run['signal'])}"
    return _ENDINGS.get(outcome, outcome.value)


def _signal_in_words(number: int) -> str:
    try:
        return f"signal {number} ({signal.Signals(number).name.removeprefix('SIG')})"
    except ValueError:  # a real-time signal has no name
        return f"signal {number}"


def report(line: str, exit_status: int) -> int:
    """Print what has become of a delivery, to stderr if it failed; returns its exit status."""
    stream = sys.stdout if exit_status == os.EX_OK else sys.stderr
    stream.write(f"{line}\n")
    return exit_status
