"""A heat map: starts by the minute as rows of bars, an hour or a day in each row."""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from pycron.analysis.minute_counts import MINUTE, MinuteCounts, level_edges, levels
from pycron.cli.printing import can_print, line_width, print_line, print_text
from pycron.cli.sparkline import BARS, PLAIN_BARS
from pycron.schedule.local_days import days
from pycron.schedule.zone import Zone
from pycron.wording.cells import Cell, Tone

HOURS_UNTIL = 2 * 86_400  # seconds; a longer stretch has a row for each day
_HOUR = 3600
_LABEL = 14  # characters in front of a row, at most
_OF_HOUR = (1, 2, 3, 5, 10)  # minutes of a bar in the row of an hour
_OF_DAY = (30, 60, 120, 240)  # in the row of a day
# By level: none, then three of each.
_TONES = (Tone.FAINT, *3 * [Tone.GOOD], *3 * [Tone.WARN], *2 * [Tone.BAD])


@dataclass(frozen=True, slots=True)
class _Row:
    """Bars with a label in front. `numbers`: the starts that each bar stands for."""

    label: str
    numbers: list[int]


@dataclass(frozen=True, slots=True)
class HeatMap:
    """Starts in the local time of a zone.

    `width`: columns of the terminal; None: no limit. `plain`: the encoding has no bars.
    """

    counts: MinuteCounts
    zone: Zone
    width: int | None = None
    plain: bool = False

    def lines(self) -> Iterator[list[Cell]]:
        """The scale of minutes, and the rows."""
        rows, edges = self._rows(), level_edges(self._largest())
        left = max((len(row.label) for row in rows), default=0) + 1
        yield [Cell(" " * left + self._scale(), Tone.FAINT)]
        for row in rows:
            total = f"  {sum(row.numbers):,}"
            bars = list(self._bars(row.numbers, edges))
            room = self.width is None or left + len(row.numbers) + len(total) <= self.width
            yield [Cell(row.label.ljust(left)), *bars, *([Cell(total, Tone.FAINT)] if room else [])]

    def legend(self) -> str:
        """What the bars mean: `starts in a minute: ·=0 ▁=1 ▂=2-3`."""
        largest = self._largest()
        parts = [f"{self._bar(0)}=0"]
        for level, (low, high) in enumerate(levels(largest), 1):
            parts.append(f"{self._bar(level)}={low}" + (f"-{high}" if high > low else ""))
        unit = "a minute" if self._step == 1 else f"{self._step} minutes"
        return f"starts in {unit}: {' '.join(parts)}"

    def _rows(self) -> list[_Row]:
        return list(self._days() if self._by_day else self._hours())

    def _largest(self) -> int:
        return max((number for row in self._rows() for number in row.numbers), default=0)

    @property
    def _by_day(self) -> bool:
        return self.counts.end - self.counts.start > HOURS_UNTIL

    @property
    def _step(self) -> int:
        """Minutes of a bar: as few as the terminal has room for."""
        steps, bars = (_OF_DAY, 25 * 60) if self._by_day else (_OF_HOUR, 60)
        room = bars if self.width is None else self.width - _LABEL
        return next((step for step in steps if bars // step <= room), steps[-1])

    def _hours(self) -> Iterator[_Row]:
        start, end, shown = self.counts.start, self.counts.end, ""
        several = end - start > 25 * _HOUR or self._dates(start) != self._dates(end - 1)
        for first in range(start, end, _HOUR):
            local, date = self.zone.local(first), self._dates(first)
            label = f"{local:%H:%M}"
            if several:
                label = f"{date if date != shown else '':6} {label}"
            shown = date
            yield _Row(label, self._numbers(first, min(first + _HOUR, end)))

    def _days(self) -> Iterator[_Row]:
        for first, following in days(self.counts.start, self.counts.end, self.zone):
            yield _Row(f"{self.zone.local(first):%a} {self._dates(first)}",
                       self._numbers(first, following))  # fmt: skip

    def _dates(self, instant: int) -> str:
        local = self.zone.local(instant)
        return f"{local:%b} {local.day:2}"

    def _numbers(self, first: int, following: int) -> list[int]:
        """The numbers of the bars of [first, following); outside the stretch there are none."""
        counts, step = self.counts, self._step
        minutes = [
            counts.counts[index] if 0 <= index < len(counts.counts) else 0
            for index in range(
                (first - counts.start) // MINUTE, (following - counts.start) // MINUTE
            )
        ]
        return [sum(minutes[i : i + step]) for i in range(0, len(minutes), step)]

    def _scale(self) -> str:
        """What stands above the bars: every tenth or thirtieth minute, or a few hours."""
        step = self._step
        if self._by_day:
            hours = 4 if step <= 60 else 12
            return "".join(f"{hour:02}".ljust(hours * 60 // step) for hour in range(0, 24, hours))
        every = 10 if step <= 2 else 30
        return "".join(f":{minute:02}".ljust(every // step) for minute in range(0, 60, every))

    def _bars(self, numbers: Sequence[int], edges: Sequence[int]) -> Iterator[Cell]:
        levels = [bisect_right(edges, number) for number in numbers]
        for tone, group in groupby(levels, lambda level: _TONES[level]):
            yield Cell("".join(map(self._bar, group)), tone)

    def _bar(self, level: int) -> str:
        if self.plain:
            return f".{PLAIN_BARS}"[level]
        return f"·{BARS}"[level]


def print_heat_map(counts: MinuteCounts, zone: Zone) -> None:
    """Print the map as wide as the terminal has room for."""
    heat_map = HeatMap(counts, zone, line_width(), plain=not can_print(BARS))
    for line in heat_map.lines():
        print_line(line)
    print_text(heat_map.legend(), Tone.FAINT)
