"""Who is due next: the entries of all tables, ordered by their next fire time.

An entry is one integer here, and a Job only when it is due: so a million of them cost 8 MB, and a
minute in which nothing is due costs nothing.
"""

import heapq
import math
from array import array
from bisect import bisect
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import count, islice
from operator import neg

from pycron.entries import MOST_ENTRIES, Entries, Jobs, Table
from pycron.firetime import follows_the_wall, last_fire_times, next_fire
from pycron.model import Job
from pycron.schedule import Packed
from pycron.settings import CatchUp
from pycron.zone import END_OF_TIME, Zone

FireTime = tuple[int, Job]

# A fire time, the name of a table and the index of its entry: sorted, they are in the order of
# time, table and line.
_Due = tuple[int, str, int]

# What comes after an instant, by schedule, zone and instant.
_Known = dict[tuple[Packed, str | None, int], int | None]

_INDEX = MOST_ENTRIES - 1
_INDEX_BITS = _INDEX.bit_length()
_MOST_DEAD = 1000  # places of a heap that may be nobody's, beside as many as are somebody's
_MOST_AGAIN = 1000  # places of a _Plan outside its array, beside an eighth of its entries
_MOST_EQUAL = 4096  # of _Known at once
_KEPT_JOBS = 4096  # those due each minute are not read each minute


class _Plan:
    """The entries of one table that are in one queue, by next fire time.

    A place is an integer: the fire time, and the index of the entry below it. Most places wait in
    an array of eight bytes each, the next one last; the entries that have been due are in a heap
    until there are enough of them to sort them in.
    """

    def __init__(
        self, entries: Entries, zone_of: Callable[[str | None], Zone], after: int, *, wall: bool
    ) -> None:
        self.dropped = False
        self._entries = entries
        self._zone_of = zone_of
        self._wall = wall
        self._again: list[int] = []
        self._waiting = array("q")
        self.restart(after)

    def restart(self, after: int) -> None:
        """Go on with the fire times after an instant, whatever came before."""
        self._again = []
        self._waiting = _sorted(self._places(after))

    def _places(self, after: int) -> Iterator[int]:
        known: _Known = {}
        for index in self._entries.followers(wall=self._wall):
            fire = self._next(index, after, known)
            if fire is not None:
                yield fire << _INDEX_BITS | index

    def _next(self, index: int, after: int, known: _Known) -> int | None:
        """The first fire time of an entry after an instant; equal schedules share the finding."""
        packed, zone = self._entries.packed(index), self._entries.context(index).settings.zone
        key = packed, zone, after
        if key not in known or not any(packed):
            if len(known) > _MOST_EQUAL:
                known.clear()
            known[key] = next_fire(self._entries.times(index), self._zone_of(zone), after)
        return known[key]

    def next_fire_time(self) -> int | None:
        places = [*self._waiting[-1:], *self._again[:1]]
        return min(places) >> _INDEX_BITS if places else None

    def take(self, until: int) -> Iterator[_Due]:
        """The fire times up to `until`; each entry goes on after it."""
        end = (until + 1) << _INDEX_BITS
        places = []
        while self._waiting and self._waiting[-1] < end:
            places.append(self._waiting.pop())
        while self._again and self._again[0] < end:
            places.append(heapq.heappop(self._again))
        coming = []
        known: _Known = {}
        for place in places:
            fire: int | None = place >> _INDEX_BITS
            index = place & _INDEX
            while fire is not None and fire <= until:
                yield fire, self._entries.source.name, index
                fire = self._next(index, fire, known)
            if fire is not None:
                coming.append(fire << _INDEX_BITS | index)
        self._put_back(coming)

    def _put_back(self, places: list[int]) -> None:
        if len(self._again) + len(places) > _MOST_AGAIN + len(self._waiting) // 8:
            self._waiting = _sorted([*self._waiting, *self._again, *places])
            self._again = []
            return
        for place in places:
            heapq.heappush(self._again, place)

    def count(self, until: int) -> int:
        """How many entries have a fire time up to `until`."""
        end = (until + 1) << _INDEX_BITS
        waiting = len(self._waiting) - bisect(self._waiting, -end, key=neg)
        return waiting + sum(place < end for place in self._again)

    def coming(self) -> Iterator[_Due]:
        """The next fire time of each entry, in order; nothing is taken."""
        for place in heapq.merge(reversed(self._waiting), sorted(self._again)):
            yield place >> _INDEX_BITS, self._entries.source.name, place & _INDEX


def _sorted(places: Iterable[int]) -> "array[int]":
    """The places, the next one last."""
    return array("q", sorted(places, reverse=True))


class _Queue:
    """Plans by next fire time. `done` is the instant up to which fire times were handed out."""

    def __init__(self, zone_of: Callable[[str | None], Zone], done: int, *, wall: bool) -> None:
        self.done = done
        self._zone_of = zone_of
        self._wall = wall
        self._plans: dict[str, _Plan] = {}
        self._heap: list[tuple[int, int, _Plan]] = []
        self._serial = count()
        self._dead = 0

    def put(self, entries: Entries) -> None:
        if next(entries.followers(wall=self._wall), None) is not None:
            plan = _Plan(entries, self._zone_of, self.done, wall=self._wall)
            self._plans[entries.source.name] = plan
            self._push(plan)

    def drop(self, name: str) -> None:
        plan = self._plans.pop(name, None)
        if plan is None:
            return
        plan.dropped = True  # its place in the heap is passed over when it comes up
        self._dead += 1
        if self._dead > len(self._plans) + _MOST_DEAD:
            self._heap = [place for place in self._heap if not place[2].dropped]
            heapq.heapify(self._heap)
            self._dead = 0

    def next_fire_time(self) -> int | None:
        while self._heap and self._heap[0][2].dropped:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def take(self, until: int) -> list[_Due]:
        """The fire times after `done` up to and including `until`, which is `done` from now on."""
        due: list[_Due] = []
        while self._heap and self._heap[0][0] <= until:
            _, _, plan = heapq.heappop(self._heap)
            if not plan.dropped:
                due += plan.take(until)
                self._push(plan)
        self.done = max(self.done, until)
        return due

    def coming(self, until: int = END_OF_TIME) -> Iterator[_Due]:
        """The next fire time of each entry that has one up to `until`, in order; none is taken."""
        for due in heapq.merge(*(plan.coming() for plan in self._plans_until(until))):
            if due[0] > until:
                return
            yield due

    def count(self, until: int) -> int:
        """How many entries have a fire time up to `until` that was not handed out."""
        return sum(plan.count(until) for plan in self._plans_until(until))

    def _plans_until(self, until: int) -> list[_Plan]:
        return [plan for fire, _, plan in self._heap if fire <= until and not plan.dropped]

    def restart(self, done: int) -> None:
        """Hand out what comes after `done`, whatever was handed out before."""
        self.done = done
        self._heap.clear()
        self._dead = 0
        for plan in self._plans.values():
            plan.restart(done)
            self._push(plan)

    def _push(self, plan: _Plan) -> None:
        fire = plan.next_fire_time()
        if fire is not None:
            heapq.heappush(self._heap, (fire, next(self._serial), plan))


# A wake-up up to this late is only late; any other difference is a step of the clock.
LATE = 300
# A step by more than this is a new start (Vixie's cron.c).
LONGEST_STEP = 3 * 3600
_MINUTE = 60
_MOST_STEPS = 100


@dataclass(frozen=True, slots=True)
class Cursor:
    """How far the timetable has come, in UTC seconds; what a new daemon takes up.

    `fixed` and `wall`: fire times up to here were handed out, of fixed Jobs and of those that
    follow the wall clock. `stepped`: where the clock stood each time it was set back.
    """

    fixed: int
    wall: int
    stepped: tuple[int, ...] = ()


def starting_cursor(record: Cursor | None, now: int) -> Cursor:
    """Where a daemon begins: where the last one stopped, if that was not long ago.

    One that starts anew begins with what comes next: the next minute, but for intervals.
    """
    if record is None:
        return Cursor(now, now)
    if -_MINUTE < now - record.wall <= LATE:
        return record
    set_back = 0 < record.fixed - now <= LONGEST_STEP
    stepped = (*record.stepped, record.wall) if record.wall > now else record.stepped
    return Cursor(record.fixed if set_back else now, now, stepped[-_MOST_STEPS:])


@dataclass(frozen=True, slots=True)
class Gap:
    """Fire times in (after, until] that were passed over: of fixed Jobs or (`wall`) the others."""

    after: int
    until: int
    wall: bool


def starting_gaps(record: Cursor | None, now: int) -> list[Gap]:
    """What a daemon that starts anew has passed over since the last one stopped."""
    if record is None or 0 <= now - record.wall <= LATE:
        return []
    gaps = [Gap(record.wall, now, wall=True), Gap(record.fixed, now, wall=False)]
    return [gap for gap in gaps if gap.after < gap.until]


def handed_out_after(cursor: Cursor, gaps: Iterable[Gap]) -> int:
    """The instant after which a new daemon hands out fire times, those it catches up with, too."""
    return min(cursor.fixed, cursor.wall, *(gap.after for gap in gaps))


# Of one Job after one gap; what is older is not brought back.
MOST_CAUGHT_UP = 100


class Timetable:
    """All Jobs, and what the clock makes of their fire times: late wake-ups and steps.

    * On time or up to LATE seconds late: every fire time in between.
    * Stepped forward by up to LONGEST_STEP: every skipped fire time of a fixed Job; of those that
      follow the wall only what is due now.
    * Stepped back by up to LONGEST_STEP: fixed Jobs wait until the clock has caught up; the others
      follow it, and a fire time that they pass again is a further turn.
    * A larger step is a new start.
    """

    def __init__(
        self, zone_of: Callable[[str | None], Zone], cursor: Cursor, gaps: Iterable[Gap] = ()
    ) -> None:
        self._zone_of = zone_of
        self._gaps = list(gaps)
        self._passed_over: list[Gap] = []
        self._fixed = _Queue(zone_of, cursor.fixed, wall=False)
        self._wall = _Queue(zone_of, cursor.wall, wall=True)
        self._stepped = list(cursor.stepped)
        self._tables: dict[str, Entries] = {}
        self._job = lru_cache(_KEPT_JOBS)(self._read)
        self._peeked: dict[tuple[str, int], Job] = {}  # what is due next, however many they are

    @property
    def cursor(self) -> Cursor:
        return Cursor(self._fixed.done, self._wall.done, tuple(self._stepped))

    def put(self, table: Table) -> None:
        """Take up a table, in place of the one that had its name."""
        self.drop(table.source.name)
        self._tables[table.source.name] = table.jobs
        for queue in (self._fixed, self._wall):
            queue.put(table.jobs)

    def drop(self, name: str) -> None:
        if self._tables.pop(name, None) is None:
            return
        self._job.cache_clear()
        self._peeked.clear()
        for queue in (self._fixed, self._wall):
            queue.drop(name)

    def _read(self, name: str, index: int) -> Job:
        return self._tables[name][index]

    def jobs(self) -> Jobs:
        """All Jobs, in the order of table and line."""
        return Jobs([self._tables[name] for name in sorted(self._tables)])

    def reboot_jobs(self) -> list[Job]:
        return [entries[i] for entries in self._tables.values() for i in entries.reboots()]

    def next_fire_time(self) -> int | None:
        times = [self._fixed.next_fire_time(), self._wall.next_fire_time()]
        return min((time for time in times if time is not None), default=None)

    def coming(self, most: int, wanted: Callable[[str], bool]) -> list[FireTime]:
        """The next fire time of so many Jobs whose user is wanted, the first ones first."""
        times = heapq.merge(self._fixed.coming(), self._wall.coming())
        found = (due for due in times if wanted(self._user(due)))
        return [(fire, self._job(name, index)) for fire, name, index in islice(found, most)]

    def _user(self, due: _Due) -> str:
        _, name, index = due
        return self._tables[name].context(index).user

    def zones_changed(self) -> None:
        """The rules of a zone are others now: every next fire time is found anew."""
        self._fixed.restart(self._fixed.done)
        self._wall.restart(self._wall.done)

    def count(self, until: int) -> int:
        """How many Jobs have their next fire time at or before `until`."""
        return self._fixed.count(until) + self._wall.count(until)

    def peek(self, until: int) -> list[tuple[int, int, Job]]:
        """What will be due at the next fire times up to `until`, as take_due would hand it out."""
        due = [*self._fixed.coming(until), *self._wall.coming(until)]
        self._peeked = {(name, index): self._job(name, index) for _, name, index in due}
        return self._handed_out(due)

    def take_due(self, now: float, awake: float) -> list[tuple[int, int, Job]]:
        """What is due: (fire time, turn, Job), in the order of time, table and line.

        `now` is the clock's UTC second; `awake` the real seconds that have passed since somebody
        last looked at it, by a clock that nobody sets. Missed fire times that a Job's CRON_CATCHUP
        brings back are among them.
        """
        second = int(now)
        restart = _just_before(now, awake)
        due = self._take_wall(second, restart) + self._take_fixed(second, restart)
        due += self._take_caught_up({(name, index) for _, name, index in due})
        handed_out = self._handed_out(due)
        self._peeked.clear()
        return handed_out

    def _handed_out(self, due: list[_Due]) -> list[tuple[int, int, Job]]:
        return [
            (fire, self._turn(fire), self._peeked.get((name, index)) or self._job(name, index))
            for fire, name, index in sorted(due)
        ]

    def _take_wall(self, now: int, restart: int) -> list[_Due]:
        late = now - self._wall.done
        if -_MINUTE < late <= 0:
            return []  # early, or set back by less than anybody would notice
        if late > LATE:
            self._pass_over(self._wall, restart, wall=True)
        elif late < 0:
            self._stepped = [*self._stepped[1 - _MOST_STEPS :], self._wall.done]
            self._wall.restart(restart)
        return self._wall.take(now)

    def _take_fixed(self, now: int, restart: int) -> list[_Due]:
        late = now - self._fixed.done
        if abs(late) > LONGEST_STEP:
            self._pass_over(self._fixed, restart, wall=False)
        elif late <= 0:
            return []
        return self._fixed.take(now)

    def _pass_over(self, queue: _Queue, until: int, *, wall: bool) -> None:
        """Go on after `until`, whatever lies between."""
        if queue.done < until:
            self._gaps.append(Gap(queue.done, until, wall))
        queue.restart(until)

    def _take_caught_up(self, due: set[tuple[str, int]]) -> list[_Due]:
        """What the gaps since the last call are to bring back.

        Of a Job that is due anyway, the latest missed fire time is not brought back as well.
        """
        gaps, self._gaps = self._gaps, []
        self._passed_over += gaps
        return [
            (fire, name, index)
            for gap in gaps
            for name, entries in self._tables.items()
            for index in entries.where(lambda each: each.settings.catch_up is not CatchUp.NONE)
            for fire in self._missed(entries, index, gap, is_due=(name, index) in due)
        ]

    def _missed(self, entries: Entries, index: int, gap: Gap, *, is_due: bool) -> list[int]:
        """The fire times of an entry within a gap that its CRON_CATCHUP asks for."""
        settings, times = entries.context(index).settings, entries.times(index)
        latest = settings.catch_up is CatchUp.LATEST
        if follows_the_wall(times) != gap.wall or (latest and is_due):
            return []
        most = 1 if latest else MOST_CAUGHT_UP
        zone = self._zone_of(settings.zone)
        return last_fire_times(times, zone, gap.after + 1, gap.until + 1, most)

    def take_passed_over(self) -> list[Gap]:
        """The gaps since the last call, for whoever keeps a record of them."""
        gaps, self._passed_over = self._passed_over, []
        return gaps

    def has_passed(self, fire: int, turn: int) -> bool:
        """Whether a fire time is not handed out again with this turn."""
        return fire <= self._wall.done or self._turn(fire) != turn

    def _turn(self, fire: int) -> int:
        """How often a clock that was set back has passed this fire time before."""
        return sum(1 for reached in self._stepped if reached >= fire)


def _just_before(now: float, awake: float) -> int:
    """After a step: where to go on, so that what is due in the minute of `now` is handed out.

    But not what the stepped clock has not passed itself: it began at `now - awake` at the earliest.
    """
    start_of_minute = now - now % _MINUTE
    return math.ceil(max(start_of_minute, now - awake)) - 1
