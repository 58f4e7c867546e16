"""A time zone as stretches of constant offset from UTC.

All times are whole seconds: UTC seconds since 1970-01-01T00:00Z, and *wall seconds*: the same count
as a clock on the wall of the zone shows it (UTC plus the offset).
"""

import datetime
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass

# If the offset changes by more than this, no Job is made up for or held back (Vixie's cron.c).
LONGEST_SHIFT = 3 * 3600

END_OF_TIME = 253_402_300_800 - 86_400  # a day short of the year 10000, where datetime ends
_DAY = 86_400
START_OF_TIME = -62_135_596_800 + 4 * _DAY  # four days into the year 1, where datetime begins
_AHEAD = 500 * _DAY
_UTC = datetime.UTC


@dataclass(frozen=True, slots=True)
class Stretch:
    """The time [start, end), in UTC seconds, with one offset.

    `skipped`: the wall seconds that the clock jumps over at the start of the stretch (a gap).
    `repeated_until`: the wall times before this wall second repeat those of an earlier stretch (a
    fold); without a fold, it is the first wall second of the stretch. If the clock is shifted by
    more than LONGEST_SHIFT, both have the values for no shift.
    """

    start: int
    end: int
    offset: int
    skipped: int
    repeated_until: int


class Zone:
    """A named zone: finds the instants at which the offset of `tzinfo` changes."""

    def __init__(self, name: str, tzinfo: datetime.tzinfo) -> None:
        self.name = name
        self.tzinfo = tzinfo
        self._starts: list[int] = []
        self._stretches: list[Stretch] = []

    def stretch_at(self, instant: int) -> Stretch:
        """The stretch that holds a UTC second. The offset changes no earlier than its end."""
        if not self._starts or instant < self._starts[0] + _DAY:
            self._begin(instant)
        while instant >= self._stretches[-1].end:
            self._append()
        return self._stretches[bisect_right(self._starts, instant) - 1]

    def offset_at(self, instant: int) -> int:
        """Seconds east of UTC at a UTC second."""
        moment = datetime.datetime.fromtimestamp(instant, _UTC).astimezone(self.tzinfo)
        offset = moment.utcoffset()
        assert offset is not None
        return round(offset.total_seconds())

    def instants_of(self, wall: int) -> list[int]:
        """The UTC seconds at which the clock shows a wall second: one, two (fold) or none (gap)."""
        shown = ((stretch, wall - stretch.offset) for stretch in self._around(wall))
        return [instant for stretch, instant in shown if stretch.start <= instant < stretch.end]

    def jump_over(self, wall: int) -> int:
        """The UTC second at which the clock jumps over a wall second that it never shows."""
        return next(each.start for each in self._around(wall) if wall < each.start + each.offset)

    def local(self, instant: int) -> datetime.datetime:
        """The aware local time of a UTC second."""
        return datetime.datetime.fromtimestamp(instant, _UTC).astimezone(self.tzinfo)

    def _around(self, wall: int) -> Iterator[Stretch]:
        """The stretches within a day of a wall second read as UTC: every offset is below a day."""
        stretch = self.stretch_at(wall - _DAY)
        while stretch.start <= wall + _DAY:
            yield stretch
            stretch = self.stretch_at(stretch.end)

    def _begin(self, instant: int) -> None:
        """Start the list two days before a UTC second, so that it has a fold just before that."""
        start = instant - 2 * _DAY
        offset = self.offset_at(start)
        end = self._next_change(start, offset)
        self._starts = [start]
        self._stretches = [Stretch(start, end, offset, 0, start + offset)]

    def _append(self) -> None:
        last = self._stretches[-1]
        start = last.end
        offset = self.offset_at(start)
        shift = offset - last.offset
        wall = start + offset
        highest = max(start + last.offset, last.repeated_until)
        stretch = Stretch(
            start,
            self._next_change(start, offset),
            offset,
            skipped=shift if 0 < shift <= LONGEST_SHIFT else 0,
            repeated_until=highest if 0 <= highest - wall <= LONGEST_SHIFT else wall,
        )
        self._starts.append(start)
        self._stretches.append(stretch)

    def _next_change(self, start: int, offset: int) -> int:
        """The first second after `start` with another offset, or the end of this search.

        A zone without further changes has several long stretches with the same offset.
        """
        low = start
        limit = min(start + _AHEAD, END_OF_TIME)
        while low < limit:
            high = low + _DAY
            if self.offset_at(high) != offset:
                return self._bisect(low, high, offset)
            low = high
        return low

    def _bisect(self, low: int, high: int, offset: int) -> int:
        while high - low > 1:
            middle = (low + high) // 2
            if self.offset_at(middle) == offset:
                low = middle
            else:
                high = middle
        return high


UTC = Zone("UTC", _UTC)
