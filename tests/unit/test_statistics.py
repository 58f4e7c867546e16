"""Statistics of Runs: durations, lateness, failures, and since when a Job is slower."""

import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pycron.analysis.statistics import Sample, changes, quantile, statistics_of
from pycron.model.run import Outcome

DAY = 86_400


def samples(*durations: float, outcome: Outcome = Outcome.SUCCEEDED) -> list[Sample]:
    return [Sample(DAY * i, outcome, seconds, 0.5) for i, seconds in enumerate(durations)]


@pytest.mark.parametrize(
    ("values", "share", "found"),
    [
        ([7.0], 0.5, 7.0),
        ([7.0], 0.95, 7.0),
        ([4.0, 1.0, 3.0, 2.0], 0.5, 2.0),
        ([4.0, 1.0, 3.0, 2.0], 0.75, 3.0),
        ([float(i) for i in range(1, 101)], 0.95, 95.0),
        ([float(i) for i in range(1, 101)], 0.5, 50.0),
    ],
)
def test_a_quantile_is_one_of_the_values(values: list[float], share: float, found: float) -> None:
    assert quantile(values, share) == found


def test_nothing_is_known_of_no_runs() -> None:
    found = statistics_of([])
    assert (found.runs, found.failures, found.duration, found.lateness) == (0, 0, None, None)
    assert (found.first, found.last, found.slower) == (None, None, None)


def test_what_somebody_wanted_is_no_failure() -> None:
    ends = [Sample(i, outcome) for i, outcome in enumerate(Outcome)]
    found = statistics_of(ends)
    assert found.runs == len(Outcome)
    assert found.failures == len(Outcome) - 3  # succeeded, skipped, cancelled


def test_durations_are_those_of_successes_if_there_are_any() -> None:
    failed = samples(0.1, outcome=Outcome.FAILED)
    assert statistics_of([*failed, *samples(5.0)]).durations == (5.0,)
    assert statistics_of(failed).durations == (0.1,)


def test_runs_that_never_started_count_but_have_no_duration() -> None:
    found = statistics_of([Sample(0, Outcome.MISSED), *samples(2.0)])
    assert (found.runs, found.failures, found.durations) == (2, 1, (2.0,))


NORMAL = [10.0, 11.0, 9.0, 10.5, 10.0, 9.5, 10.0, 11.0, 10.0, 9.0]
SLOW = [20.0, 22.0, 19.0, 21.0, 20.0, 20.5]


@pytest.mark.parametrize(
    ("durations", "since"),
    [
        (NORMAL, None),
        (NORMAL + SLOW, len(NORMAL)),
        (NORMAL + SLOW[:4], None),  # too few to be sure
        ([*NORMAL, 500.0, *NORMAL], None),  # one slow Run
        ([*NORMAL, *SLOW, *NORMAL], None),  # it is over
        ([*NORMAL, *SLOW, *NORMAL, *SLOW], 2 * len(NORMAL) + len(SLOW)),
        (SLOW + NORMAL, None),  # it is faster
        ([seconds / 100 for seconds in NORMAL + SLOW], None),  # a tenth of a second
        ([seconds * 6 for seconds in NORMAL] + [seconds * 7 for seconds in NORMAL], None),  # little
        ([], None),
        ([0.0] * 20, None),
    ],
)
def test_since_when_a_job_is_slower(durations: list[float], since: int | None) -> None:
    slower = statistics_of(samples(*durations)).slower
    assert (slower and slower.since) == (None if since is None else DAY * since)
    if slower:
        assert (slower.before, slower.after) == (10.0, 20.0)


@given(st.integers(0, 2**32), st.integers(20, 200))
def test_noise_is_not_called_slower(seed: int, number: int) -> None:
    """Durations that vary by a tenth around the same value never look like a change."""
    chance = random.Random(seed)
    durations = [60 * chance.uniform(0.9, 1.1) for _ in range(number)]
    assert statistics_of(samples(*durations)).slower is None


@given(st.integers(0, 2**32), st.integers(10, 100), st.integers(10, 100))
def test_a_doubled_duration_is_found(seed: int, before: int, after: int) -> None:
    """Also if durations vary by a fifth."""
    chance = random.Random(seed)
    durations = [60 * chance.uniform(0.8, 1.2) for _ in range(before)]
    durations += [120 * chance.uniform(0.8, 1.2) for _ in range(after)]
    slower = statistics_of(samples(*durations)).slower
    assert slower is not None
    assert slower.since == DAY * before


@given(st.lists(st.floats(0, 1e6), max_size=60))
def test_a_stretch_has_five_runs(durations: list[float]) -> None:
    begins = [0, *changes(durations), len(durations)]
    assert all(end - begin >= 5 for begin, end in pairwise(begins)) or len(begins) == 2
