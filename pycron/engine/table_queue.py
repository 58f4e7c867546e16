"""The queue of one table: its entries, ordered by their next fire times.

The queue has one integer for each entry. A Job is made of an entry only when the entry is due. So a
million entries cost 8 MB here (bench/schedules.py).
"""

from array import array
from bisect import bisect
from collections.abc import Callable, Iterable, Iterator
from heapq import heappop, heappush, merge
from operator import neg

from pycron.crontab.entries import MOST_ENTRIES, Entries
from pycron.crontab.entry_kind import EntryKind
from pycron.schedule.day_rules import DayRules
from pycron.schedule.fire_times import next_fire
from pycron.schedule.packed import Packed
from pycron.schedule.zone import Zone

# A fire time (UTC second), the name of a table and the index of an entry. Such tuples sort by
# time, table and line.
DueEntry = tuple[int, str, int]

# The next fire time by schedule, zone, day rules and the instant after which it comes.
_NextFires = dict[tuple[Packed, str | None, DayRules | None, int], int | None]

# An item is a fire time with the place of its entry in the low bits: items sort by fire time.
# Places are in the order of priority and line, so of many entries that are due at once, the urgent
# ones are taken first.
_PLACE = MOST_ENTRIES - 1
_PLACE_BITS = _PLACE.bit_length()
_MOST_RECENT = 1000  # items in the heap, in addition to an eighth of those in the array
_MOST_SHARED = 4096  # results in a _NextFires at once


class TableQueue:
    """The entries of one kind of one table.

    Most items are in a sorted array of eight bytes each, the next one last. When an entry was due,
    its next item goes into a small heap. When the heap is full, both are sorted into a new array.
    """

    def __init__(
        self, entries: Entries, zone_of: Callable[[str | None], Zone], after: int, kind: EntryKind
    ) -> None:
        self.table = entries.source.name
        self._entries = entries
        self._zone_of = zone_of
        self._kind = kind
        self._order = entries.by_priority()  # the entry at each place
        self._sorted = array("q")
        self._recent: list[int] = []
        self.restart(after)

    def restart(self, after: int) -> None:
        """Continue with the fire times after this UTC second."""
        self._recent = []
        self._sorted = _sorted_last_first(self._items_after(after))

    def next_fire_time(self) -> int | None:
        items = [*self._sorted[-1:], *self._recent[:1]]
        return min(items) >> _PLACE_BITS if items else None

    def take(self, until: int, most: int) -> Iterator[DueEntry]:
        """Take the fire times up to `until` of at most so many entries: what is due first.

        Of what is due at one time, the entries with the highest priority.
        """
        coming = []
        shared: _NextFires = {}
        for item in self._pop(until, most):
            fire: int | None = item >> _PLACE_BITS
            place = item & _PLACE
            index = self._order[place]
            while fire is not None and fire <= until:
                yield fire, self.table, index
                fire = self._fire_after(index, fire, shared)
            if fire is not None:
                coming.append(_item(fire, place))
        self._put_back(coming)

    def count(self, until: int) -> int:
        """How many entries have a fire time up to `until`."""
        end = _item(until + 1, 0)
        in_array = len(self._sorted) - bisect(self._sorted, -end, key=neg)
        return in_array + sum(item < end for item in self._recent)

    def coming(self) -> Iterator[DueEntry]:
        """The next fire time of each entry, in order; the queue stays as it is.

        Who needs only the first ones does not pay for the others.
        """
        for item in merge(reversed(self._sorted), _in_order(list(self._recent))):
            yield item >> _PLACE_BITS, self.table, self._order[item & _PLACE]

    def _items_after(self, after: int) -> Iterator[int]:
        shared: _NextFires = {}
        for place, index in enumerate(self._order):
            if self._entries.kind_of(index) is not self._kind:
                continue
            fire = self._fire_after(index, after, shared)
            if fire is not None:
                yield _item(fire, place)

    def _fire_after(self, index: int, after: int, shared: _NextFires) -> int | None:
        """The first fire time of an entry after an instant; found once for equal schedules."""
        packed, context = self._entries.packed(index), self._entries.context(index)
        zone = context.settings.zone
        key = packed, zone, context.rules, after
        if key not in shared or not any(packed):
            if len(shared) > _MOST_SHARED:
                shared.clear()
            shared[key] = next_fire(self._entries.times(index), self._zone_of(zone), after)
        return shared[key]

    def _pop(self, until: int, most: int) -> list[int]:
        """Remove the first items up to `until`, at most so many."""
        end = _item(until + 1, 0)
        ordered, recent = self._sorted, self._recent
        items: list[int] = []
        while len(items) < most:
            if recent and recent[0] < (min(end, ordered[-1]) if ordered else end):
                items.append(heappop(recent))
            elif ordered and ordered[-1] < end:
                items.append(ordered.pop())
            else:
                break
        return items

    def _put_back(self, items: list[int]) -> None:
        if len(self._recent) + len(items) > _MOST_RECENT + len(self._sorted) // 8:
            self._sorted = _sorted_last_first([*self._sorted, *self._recent, *items])
            self._recent = []
            return
        for item in items:
            heappush(self._recent, item)


def _in_order(heap: list[int]) -> Iterator[int]:
    """The items of a heap, which is empty afterwards."""
    while heap:
        yield heappop(heap)


def _item(fire: int, place: int) -> int:
    return fire << _PLACE_BITS | place


def _sorted_last_first(items: Iterable[int]) -> "array[int]":
    return array("q", sorted(items, reverse=True))
