"""Starts by the minute: how many there are in each minute of a stretch of time."""

from array import array
from collections.abc import Iterable
from itertools import pairwise

MINUTE = 60  # seconds
LEVELS = 8  # of a heat map, besides that of no start


class MinuteCounts:
    """Counts for the minutes of [start, end), which are UTC seconds."""

    def __init__(self, start: int, end: int) -> None:
        self.start, self.end = start, end
        self.counts = array("L", bytes(array("L").itemsize * -(-(end - start) // MINUTE)))

    def add(self, instant: float, number: int = 1) -> None:
        """Count starts at a UTC second; those outside the stretch are passed over."""
        if self.start <= instant < self.end:
            self.counts[int(instant - self.start) // MINUTE] += number

    def add_all(self, counts: Iterable[int]) -> None:
        """Add the counts of all minutes, the first one first."""
        for index, number in enumerate(counts):
            self.counts[index] += number

    @property
    def total(self) -> int:
        return sum(self.counts)

    def busiest(self, most: int) -> list[tuple[int, int]]:
        """The minutes with most starts, the fullest first: UTC second of each, and its count."""
        found = [(-number, index) for index, number in enumerate(self.counts) if number]
        return [(self.start + MINUTE * index, -number) for number, index in sorted(found)[:most]]

    def in_groups(self, minutes: int) -> list[int]:
        """The sums of so many minutes each."""
        every = range(0, len(self.counts), minutes)
        return [sum(self.counts[first : first + minutes]) for first in every]


def level_edges(largest: int) -> list[int]:
    """The smallest number of each level: up to 8 levels, each the same factor above the last."""
    if largest <= LEVELS:
        return list(range(1, largest + 1))
    return sorted({round(largest ** (level / LEVELS)) for level in range(LEVELS)})


def levels(largest: int) -> list[tuple[int, int]]:
    """The smallest and the largest number of each level."""
    return [
        (low, following - 1) for low, following in pairwise([*level_edges(largest), largest + 1])
    ]
