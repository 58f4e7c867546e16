"""Statistics of the recorded Runs of a Job: durations, lateness, and since when it is slower."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate, pairwise

from pycron.model.run import FAILURES, Outcome

_FEWEST = 5  # Runs on each side of a change
_SLOWER = 1.25  # times as long as before, and
_SLOWER_BY = 1.0  # seconds longer
_SMALLEST = 0.001  # seconds; shorter durations count as this long


@dataclass(frozen=True, slots=True)
class Sample:
    """A Run that has ended. `seconds`: what its last Attempt took; `lateness`: of its first start.

    None: it had no Attempt; and lateness also if a user started it.
    """

    fire_time: int
    outcome: Outcome
    seconds: float | None = None
    lateness: float | None = None


@dataclass(frozen=True, slots=True)
class Spread:
    """How values are spread: the median, the 95th percentile and the largest."""

    median: float
    p95: float
    largest: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread | None":
        """None if there are no values."""
        if not values:
            return None
        return cls(median(values), quantile(values, 0.95), max(values))


@dataclass(frozen=True, slots=True)
class Slower:
    """A Job takes longer than usual: since the Run of a fire time.

    `before` and `after`: the medians of what its Runs took before, and since then (seconds).
    """

    since: int
    before: float
    after: float


@dataclass(frozen=True, slots=True)
class JobStatistics:
    """`durations`: of the Runs that have succeeded, the oldest first; of all, if none has."""

    runs: int
    outcomes: Counter[Outcome]
    durations: tuple[float, ...]
    duration: Spread | None
    lateness: Spread | None
    slower: Slower | None
    first: int | None
    last: int | None
    failures: int = field(default=0)


def statistics_of(samples: Sequence[Sample]) -> JobStatistics:
    """The statistics of the Runs of one Job, which are given from the oldest to the newest."""
    outcomes = Counter(sample.outcome for sample in samples)
    timed = _timed(samples)
    durations = tuple(seconds for _, seconds in timed)
    late = [sample.lateness for sample in samples if sample.lateness is not None]
    return JobStatistics(
        runs=len(samples),
        outcomes=outcomes,
        durations=durations,
        duration=Spread.of(durations),
        lateness=Spread.of(late),
        slower=_slower(timed),
        first=samples[0].fire_time if samples else None,
        last=samples[-1].fire_time if samples else None,
        failures=sum(outcomes[each] for each in FAILURES),
    )


def quantile(values: Sequence[float], share: float) -> float:
    """The smallest of the values that is not exceeded by this share of them (nearest rank)."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def median(values: Sequence[float]) -> float:
    return quantile(values, 0.5)


def _timed(samples: Sequence[Sample]) -> list[tuple[int, float]]:
    """Fire times and durations; those of Runs that failed early would mislead."""
    timed = [(each, each.seconds) for each in samples if each.seconds is not None]
    good = [pair for pair in timed if pair[0].outcome is Outcome.SUCCEEDED] or timed
    return [(sample.fire_time, seconds) for sample, seconds in good]


# ---- since when it is slower


def _slower(timed: Sequence[tuple[int, float]]) -> Slower | None:
    """The first change after which each stretch is slower than what was usual before it."""
    durations = [seconds for _, seconds in timed]
    begins = changes(durations)
    stretches = [durations[begin:end] for begin, end in pairwise([*begins, len(durations)])]
    for number, begin in enumerate(begins):
        before, after = median(durations[:begin]), median(durations[begin:])
        fastest = min(map(median, stretches[number:]))
        if fastest >= _SLOWER * before and after >= before + _SLOWER_BY:
            return Slower(timed[begin][0], before, after)
    return None


def changes(durations: Sequence[float]) -> list[int]:
    """Where stretches begin whose durations differ from those before them, in order.

    Each stretch has at least five durations, so one slow Run changes nothing.
    """
    begins: list[int] = []
    begin = 0
    while (change := _change(durations[begin:])) is not None:
        begin += change
        begins.append(begin)
    return begins


def _change(durations: Sequence[float]) -> int | None:
    """Where the durations change most; None if they do not change.

    Of all places, it is the one with the smallest squared errors of the logarithms on its two sides
    (so a duration counts by its ratio to others).
    """
    if len(durations) < 2 * _FEWEST:
        return None
    logs = [math.log(max(each, _SMALLEST)) for each in durations]
    sums = list(accumulate(logs, initial=0.0))
    total, number = sums[-1], len(logs)

    def explained(place: int) -> float:
        left = sums[place]
        return left**2 / place + (total - left) ** 2 / (number - place)

    return _confirmed(logs, max(range(_FEWEST, number - _FEWEST + 1), key=explained))


def _confirmed(logs: Sequence[float], place: int) -> int | None:
    """The place of a change, or a few Runs later; None if it is none.

    On one side, three of four Runs take longer than three of four on the other; and the medians
    differ by a quarter.
    """
    if sum(logs[place:]) * place < sum(logs[:place]) * (len(logs) - place):
        logs = [-each for each in logs]  # faster than before: the same, mirrored
    before, after = logs[:place], logs[place:]
    usual = quantile(before, 0.75)
    if median(after) - median(before) < math.log(_SLOWER) or quantile(after, 0.25) <= usual:
        return None
    while logs[place] <= usual:  # it belongs to those before
        place += 1
    return place if len(logs) - place >= _FEWEST else None
