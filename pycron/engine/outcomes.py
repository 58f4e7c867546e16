"""The Outcome of an Attempt, from what the kernel and the runner reported."""

from pycron.model.run import Cause, Ending, Outcome

OUTCOME_OF_CAUSE = {
    Cause.TIMEOUT: Outcome.TIMED_OUT,
    Cause.MEMORY: Outcome.OUT_OF_MEMORY,
    Cause.CANCELLED: Outcome.CANCELLED,
    Cause.LEASE: Outcome.LOST,
}


def outcome_of(ending: Ending) -> Outcome:
    """The Outcome of an Attempt that was started and has ended."""
    if ending.cause is not None:
        return OUTCOME_OF_CAUSE[ending.cause]
    if ending.signal is not None:
        return Outcome.KILLED
    return Outcome.FAILED if ending.exit_status else Outcome.SUCCEEDED
