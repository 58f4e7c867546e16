"""Charts as numbers: templates draw them as SVG, which needs neither scripts nor inline styles."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from pycron.analysis.minute_counts import MINUTE, MinuteCounts, level_edges, levels
from pycron.analysis.statistics import median
from pycron.model.run import Outcome
from pycron.protocol.job_answers import RecentRow
from pycron.wording.cells import Tone, outcome_tone

_LEAST = 2.0  # units of height of a bar, so that one can see it
_HOUR = 60  # minutes


@dataclass(frozen=True, slots=True)
class Bar:
    """A bar of a Run; `height` and `top` in units of the chart."""

    height: float
    top: float
    tone: Tone
    outcome: str
    seconds: float | None
    fire_time: int = 0


@dataclass(frozen=True, slots=True)
class Spark:
    """The last Runs of a Job, the oldest first. `words`: the same for those who do not see it."""

    bars: tuple[Bar, ...]
    words: str


def spark_of(recent: Sequence[RecentRow], height: float) -> Spark:
    """The sparkline of the last Runs of a Job; the highest bar is the longest Run."""
    seconds = [row["seconds"] for row in recent]
    largest = max((each for each in seconds if each is not None), default=0.0)
    bars = tuple(_bar(row["outcome"], row["seconds"], largest, height) for row in recent)
    failed = sum(row["outcome"] != Outcome.SUCCEEDED for row in recent)
    words = f"the last {len(recent)} Runs: {len(recent) - failed} succeeded, {failed} did not"
    return Spark(bars, words)


def _bar(
    outcome: str, seconds: float | None, largest: float, height: float, fire_time: int = 0
) -> Bar:
    share = (seconds or 0.0) / largest if largest else 0.0
    tall = round(max(_LEAST, share * height), 2)
    return Bar(tall, round(height - tall, 2), outcome_tone(outcome), outcome, seconds, fire_time)


@dataclass(frozen=True, slots=True)
class Durations:
    """How long the last Runs of a Job took, the oldest first.

    `largest` and `usual` are seconds; `usual_top`: where a line at the usual duration is.
    """

    bars: tuple[Bar, ...]
    largest: float
    usual: float | None
    usual_top: float
    height: float


def durations_of(
    fire_times: Sequence[int],
    seconds: Sequence[float | None],
    outcomes: Sequence[str],
    height: float = 120.0,
) -> Durations:
    largest = max((each for each in seconds if each is not None), default=0.0)
    bars = tuple(
        _bar(outcome, each, largest, height, fire)
        for fire, each, outcome in zip(fire_times, seconds, outcomes, strict=True)
    )
    good = [
        each
        for each, outcome in zip(seconds, outcomes, strict=True)
        if each is not None and outcome == Outcome.SUCCEEDED
    ]
    usual = median(good) if good else None
    top = height if not largest or usual is None else height - usual / largest * height
    return Durations(bars, largest, usual, round(top, 2), height)


@dataclass(frozen=True, slots=True)
class Hour:
    """A row of the heat map. `start`: its UTC second. `cells`: minute, starts, and level to 8."""

    start: int
    total: int
    cells: tuple[tuple[int, int, int], ...]


@dataclass(frozen=True, slots=True)
class Level:
    """What a colour of the heat map means: from `low` to `high` starts in a minute."""

    level: int
    low: int
    high: int


def hours_of(counts: MinuteCounts) -> tuple[list[Hour], list[Level]]:
    """The rows of a heat map, each an hour from the first minute on, and what its levels mean.

    Cells without a start are left out.
    """
    largest = max(counts.counts, default=0)
    edges = level_edges(largest)
    rows = []
    for first in range(0, len(counts.counts), _HOUR):
        numbers = counts.counts[first : first + _HOUR]
        cells = tuple(
            (minute, number, bisect_right(edges, number))
            for minute, number in enumerate(numbers)
            if number
        )
        rows.append(Hour(counts.start + first * MINUTE, sum(numbers), cells))
    return rows, [Level(level, *each) for level, each in enumerate(levels(largest), 1)]
