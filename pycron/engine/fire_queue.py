"""The queue of all tables: one TableQueue for each table, ordered by their next fire times."""

from collections import deque
from collections.abc import Callable, Collection, Iterator
from heapq import heapify, heappop, heappush
from itertools import count

from pycron.crontab.entries import Entries
from pycron.crontab.entry_kind import EntryKind
from pycron.engine.lapsing_heap import LapsingHeap
from pycron.engine.table_queue import DueEntry, TableQueue
from pycron.schedule.zone import END_OF_TIME, Zone

_HeapItem = tuple[int, int, str]  # the next fire time of a table, a serial number, its name
_First = tuple[int, int, TableQueue]


class FireQueue:
    """The entries of one kind of all tables.

    `done`: the UTC second up to which all fire times were handed out. The heap has no more of a
    table than its name: a table that was dropped is freed at once, it may have megabytes.
    """

    def __init__(self, zone_of: Callable[[str | None], Zone], done: int, kind: EntryKind) -> None:
        self.done = done
        self._zone_of = zone_of
        self._kind = kind
        self._tables: dict[str, TableQueue] = {}
        self._heap = LapsingHeap(self._is_waiting)
        self._waiting: dict[str, tuple[int, TableQueue]] = {}  # in the heap, with serial number
        self._turns: deque[TableQueue] = deque()  # have more due than was taken; not in the heap
        self._serial = count()

    def put(self, entries: Entries) -> None:
        """Add a table; one of the same name has to be dropped before."""
        if next(entries.of_kind(self._kind), None) is not None:
            queue = TableQueue(entries, self._zone_of, self.done, self._kind)
            self._tables[queue.table] = queue
            self._push(queue)

    def drop(self, name: str) -> None:
        self._tables.pop(name, None)
        self._waiting.pop(name, None)
        self._turns = deque(queue for queue in self._turns if queue.table != name)

    def next_to_come(self) -> int | None:
        """The next fire time of the tables that have nothing left from the last `take`."""
        first = self._heap.first()
        return None if first is None else first[0]

    def next_fire_time(self) -> int | None:
        first = self.next_to_come()
        if not self._turns:
            return first
        times = [first, *(queue.next_fire_time() for queue in self._turns)]
        return min(fire for fire in times if fire is not None)

    def take(self, until: int, most: int, busy: Collection[str] = ()) -> list[DueEntry]:
        """Take the fire times after `done` up to `until`.

        At most those of so many entries are taken. Tables take turns, so a table with thousands of
        fire times does not delay those of another one; nothing is taken of a table that is named
        in `busy`. `done` becomes the second before the first fire time that is left.
        """
        due: list[DueEntry] = []
        while (first := self._heap.first()) is not None and first[0] <= until:
            _, queue = self._waiting.pop(first[-1])
            self._heap.pop()
            self._turns.append(queue)
        left_alone = [queue for queue in self._turns if queue.table in busy]
        self._turns = deque(queue for queue in self._turns if queue.table not in busy)
        while self._turns and len(due) < most:
            share = max(1, (most - len(due)) // len(self._turns))
            for _ in range(min(len(self._turns), most - len(due))):
                queue = self._turns.popleft()
                due += queue.take(until, share)
                self._put_back(queue, until)
        self._turns.extend(left_alone)
        left = self.next_fire_time()
        reached = until if left is None else min(until, left - 1)
        self.done = max(self.done, reached)
        return due

    def coming(self, until: int = END_OF_TIME) -> Iterator[DueEntry]:
        """Each entry's next fire time up to `until`, in order; the queue stays as it is.

        A table is looked at when its first fire time has its turn: there may be thousands of them.
        """
        return _in_order([*self._first_of_waiting(until), *self._first_of_turns()], until)

    def to_come(self, until: int) -> Iterator[DueEntry]:
        """The same, of the tables that have nothing left from the last `take`."""
        return _in_order([*self._first_of_waiting(until)], until)

    def _first_of_waiting(self, until: int) -> Iterator[_First]:
        """Of the tables in the heap, if it is up to `until`."""
        for fire, serial, name in self._heap.current():
            if fire <= until:
                yield fire, serial, self._waiting[name][1]

    def _first_of_turns(self) -> Iterator[_First]:
        for queue in self._turns:
            fire = queue.next_fire_time()
            if fire is not None:
                yield fire, next(self._serial), queue

    def count(self, until: int) -> int:
        """How many entries have a fire time up to `until` that was not handed out."""
        return sum(queue.count(until) for queue in self._queues(until))

    def restart(self, done: int) -> None:
        """Hand out the fire times after `done`, whatever was handed out before."""
        self.done = done
        self._heap.clear()
        self._waiting.clear()
        self._turns.clear()
        for queue in self._tables.values():
            queue.restart(done)
            self._push(queue)

    def _queues(self, until: int) -> list[TableQueue]:
        """The tables with fire times up to `until`."""
        return [*self._turns, *(queue for _, _, queue in self._first_of_waiting(until))]

    def _is_waiting(self, item: _HeapItem) -> bool:
        """Whether an item is that of a table in the heap, which was not dropped."""
        _, serial, name = item
        waiting = self._waiting.get(name)
        return waiting is not None and waiting[0] == serial

    def _put_back(self, queue: TableQueue, until: int) -> None:
        """A table had its turn; its next one comes last, if it has more that is due."""
        fire = queue.next_fire_time()
        if fire is not None and fire <= until:
            self._turns.append(queue)
        else:
            self._push(queue)

    def _push(self, queue: TableQueue) -> None:
        fire = queue.next_fire_time()
        if fire is not None:
            serial = next(self._serial)
            self._waiting[queue.table] = serial, queue
            self._heap.push((fire, serial, queue.table))


def _in_order(waiting: list[_First], until: int) -> Iterator[DueEntry]:
    heapify(waiting)
    opened: list[tuple[DueEntry, int, Iterator[DueEntry]]] = []
    while waiting or opened:
        while waiting and (not opened or waiting[0][0] <= opened[0][0][0]):
            _, serial, queue = heappop(waiting)
            _push_next(opened, serial, queue.coming())
        if not opened or opened[0][0][0] > until:
            return
        due, serial, rest = heappop(opened)
        yield due
        _push_next(opened, serial, rest)


def _push_next(
    heap: list[tuple[DueEntry, int, Iterator[DueEntry]]], serial: int, rest: Iterator[DueEntry]
) -> None:
    """Put what a table has next into a heap of several tables."""
    due = next(rest, None)
    if due is not None:
        heappush(heap, (due, serial, rest))
