"""Counts of what has ended, for metrics.

They only grow. A series is what is counted for one named Job, or for several things together.
"""

from bisect import bisect_left
from dataclasses import dataclass, field
from typing import NamedTuple

# Upper bounds of the buckets, in seconds; the last bucket has none.
DURATION_BOUNDS = (0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 14_400.0, 86_400.0)
LATENESS_BOUNDS = (0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0, 60.0, 300.0, 3600.0)


class Series(NamedTuple):
    """A named Job; several Jobs of a user with one name share a series."""

    user: str
    job_name: str


# Series that belong to no single Job: an account has a name.
OTHER_JOBS = Series("", "other")
DELIVERIES = Series("", "deliveries")
STARTS = Series("", "starts")
TESTS = Series("", "tests")  # of `pycron test`: they are not counted


@dataclass(slots=True)
class Histogram:
    """How often a value of seconds fell into each bucket, and the sum of all values."""

    bounds: tuple[float, ...]
    buckets: list[int] = field(default_factory=list)
    sum: float = 0.0

    def __post_init__(self) -> None:
        if not self.buckets:
            self.buckets = [0] * (len(self.bounds) + 1)

    def add(self, seconds: float) -> None:
        self.buckets[bisect_left(self.bounds, seconds)] += 1
        self.sum += seconds


@dataclass(slots=True)
class Counts:
    """The counts of a series.

    `ended`: how many Runs have ended with each outcome. `seconds`: how long each Attempt has run;
    for STARTS, how late each first Attempt was. `succeeded`: the UTC second of the last success.
    """

    ended: dict[str, int] = field(default_factory=dict)
    seconds: Histogram = field(default_factory=lambda: Histogram(DURATION_BOUNDS))
    succeeded: float | None = None


@dataclass(frozen=True, slots=True)
class CountsOfJobs:
    """What is counted: of the Jobs that have a series of their own, and of everything else."""

    jobs: dict[Series, Counts]
    other: Counts
    deliveries: Counts
    starts: Counts
