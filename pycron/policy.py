"""Decisions that need no memory: functions from values to values."""

from pycron.model import Ending, Outcome, Table


def outcome_of(ending: Ending) -> Outcome:
    """How an Attempt ended, by what the kernel said."""
    if ending.signal is not None:
        return Outcome.KILLED
    return Outcome.FAILED if ending.exit_status else Outcome.SUCCEEDED


def settle(last_good: Table | None, new: Table) -> Table:
    """Which Jobs run when a table has changed. A bad table never replaces a good one.

    With an error in the new one, the Jobs are those of its last good version; where there never
    was one, those of its good lines. The problems are the new ones either way.
    """
    if new.errors and last_good is not None:
        return Table(new.source, last_good.jobs, new.problems)
    return new
