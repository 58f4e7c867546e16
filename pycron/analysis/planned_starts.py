"""Starts by plan: when the Jobs of tables are due, without limits and without what happens.

A Job that waits for another one (@after) is counted at its fire time. CRON_JITTER counts.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from pycron.analysis.minute_counts import MINUTE, MinuteCounts
from pycron.crontab.entries import Entries
from pycron.engine.start_times import start_delay
from pycron.schedule.day_rules import DayRules
from pycron.schedule.fire_times import fire_times
from pycron.schedule.packed import Packed
from pycron.schedule.zone import Zone

# Entries with the same value of this have the same fire times.
_Key = tuple[Packed, str | None, DayRules | None]
_Entry = tuple[Entries, int]


@dataclass(slots=True)
class PlannedStarts:
    """The starts of tables by plan. `zone_of`: the zone of a name; None is the machine's.

    `host`: the value that delays depend on, besides the Job. `user`: whose Jobs count; None: all.
    """

    tables: Sequence[Entries]
    zone_of: Callable[[str | None], Zone]
    host: str
    user: str | None = None
    _alike: dict[_Key, _Entry] = field(default_factory=dict)
    _numbers: Counter[_Key] = field(default_factory=Counter)
    _others: list[_Entry] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Sort the entries: many have the same fire times, which are computed once."""
        for entries, index in self._wanted():
            key = _key(entries, index)
            if key is None:
                self._others.append((entries, index))
            else:
                self._alike.setdefault(key, (entries, index))
                self._numbers[key] += 1

    def _wanted(self) -> Iterator[_Entry]:
        for entries in self.tables:
            for index in entries.where(lambda each: self.user in (None, each.user)):
                yield entries, index

    def count(self, start: int, end: int) -> MinuteCounts:
        """The starts in [start, end), which are UTC seconds."""
        counts = MinuteCounts(start, end)
        for key, entry in self._alike.items():
            for instant in self._starts(entry, start, end):
                counts.add(instant, self._numbers[key])
        for entry in self._others:
            for instant in self._starts(entry, start, end):
                counts.add(instant)
        return counts

    def jobs_in(self, minute: int, most: int) -> list[str]:
        """The names of the Jobs that start in a minute, each once; at most so many."""
        known: dict[_Key, bool] = {}
        names: dict[str, None] = {}
        for entry in self._wanted():
            key = _key(*entry)
            starts = known.get(key) if key is not None else None
            if starts is None:
                starts = any(minute <= at for at in self._starts(entry, minute, minute + MINUTE))
                if key is not None:
                    known[key] = starts
            if starts:
                names[entry[0][entry[1]].name] = None
                if len(names) == most:
                    break
        return list(names)

    def _starts(self, entry: _Entry, start: int, end: int) -> Iterable[int]:
        entries, index = entry
        settings = entries.context(index).settings
        delay = start_delay(entries[index], self.host) if settings.jitter else 0
        zone, times = self.zone_of(settings.zone), entries.times(index)
        return (fire + delay for fire in fire_times(times, zone, start - delay, end - delay))


def _key(entries: Entries, index: int) -> _Key | None:
    """None for an entry whose starts are its own: a delay, or a schedule that is not packed."""
    packed, context = entries.packed(index), entries.context(index)
    if not any(packed) or context.settings.jitter:
        return None
    return packed, context.settings.zone, context.rules
