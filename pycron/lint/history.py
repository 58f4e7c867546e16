"""Checks of an entry against the Runs that it has had."""

from collections.abc import Sequence
from itertools import pairwise
from statistics import median

from pycron.lint.code import note

OVERLAP = note(
    "overlap",
    "The last Runs of the Job took longer than the time between two fire times, so Runs lie over"
    " each other. CRON_CONCURRENCY=forbid or a longer period prevents that.",
)
_ENOUGH = 3  # Runs


def overlap(durations: Sequence[float], fire_times: Sequence[int]) -> str | None:
    """Why Runs of a Job overlap; None if they do not, or if there were too few.

    `durations`: seconds of its last Runs. `fire_times`: the next ones, UTC seconds.
    """
    if len(durations) < _ENOUGH or len(fire_times) < 2:
        return None
    usual = median(durations)
    period = min(later - earlier for earlier, later in pairwise(fire_times))
    if usual <= period:
        return None
    return f"a Run usually takes {usual:.0f} s, and the next one is due after {period} s"
