"""The timetable: which Jobs are due, also when the daemon wakes up late or the clock is stepped.

A minute in which nothing is due costs the same however many entries there are (bench/schedules.py).
"""

import heapq
import math
import sys
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator
from itertools import islice
from operator import itemgetter

from pycron.crontab.entries import Entries
from pycron.crontab.entry_kind import EntryKind
from pycron.crontab.jobs import Jobs
from pycron.crontab.table import Table
from pycron.engine.cursor import LATE, LONGEST_STEP, MOST_STEPS, Cursor, Gap
from pycron.engine.fire_queue import FireQueue
from pycron.engine.intake import DueFire
from pycron.engine.table_queue import DueEntry
from pycron.model.job import Job
from pycron.model.settings import CatchUp
from pycron.schedule.fire_times import last_fire_times
from pycron.schedule.zone import Zone

# After one gap, so many fire times of one Job, and of all Jobs of a table, are brought back. The
# Jobs of a table share its number equally. Older fire times are not brought back.
MOST_CAUGHT_UP = 100
MOST_CAUGHT_UP_OF_TABLE = 10_000
_MINUTE = 60


class Timetable:
    """All Jobs by their next fire times.

    * On time or up to LATE seconds late: every fire time in between is handed out.
    * Clock stepped forward by up to LONGEST_STEP: every skipped fire time of a fixed Job is handed
      out; of a Job that follows the wall clock, only what is due now.
    * Clock stepped back by up to LONGEST_STEP: fixed Jobs wait until the clock has caught up. The
      other Jobs follow the clock; a fire time that the clock passes again gets the next pass
      number.
    * A larger step is a new start.
    """

    def __init__(
        self,
        zone_of: Callable[[str | None], Zone],
        cursor: Cursor,
        gaps: Iterable[Gap] = (),
        *,
        closed: bool = False,
        shared: int | None = None,
    ) -> None:
        """`gaps`: what was passed over before `cursor`. `closed`: it hands out nothing.

        `shared`: where the fire times of shared Jobs begin; None: with the others.
        """
        self.closed = closed
        self._zone_of = zone_of
        self._new_gaps = list(gaps)
        self._unrecorded_gaps: list[Gap] = []
        self._fixed = FireQueue(zone_of, cursor.fixed, EntryKind.FIXED)
        self._wall = FireQueue(zone_of, cursor.wall, EntryKind.WALL)
        self.shared = FireQueue(
            zone_of, cursor.wall if shared is None else shared, EntryKind.SHARED
        )
        self._stepped = list(cursor.stepped)
        self._tables: dict[str, Entries] = {}

    @property
    def cursor(self) -> Cursor:
        return Cursor(self._fixed.done, self._wall.done, tuple(self._stepped))

    # ---- tables

    def put(self, table: Table) -> None:
        """Add a table; it replaces the one of the same name."""
        self.drop(table.source.name)
        self._put(table.jobs)

    def _put(self, entries: Entries) -> None:
        self._tables[entries.source.name] = entries
        for queue in () if self.closed else (self._fixed, self._wall, self.shared):
            queue.put(entries)

    def drop(self, name: str) -> None:
        if self._tables.pop(name, None) is None:
            return
        for queue in (self._fixed, self._wall, self.shared):
            queue.drop(name)

    def zones_changed(self) -> None:
        """Find every next fire time again, because the rules of a zone have changed."""
        self._fixed.restart(self._fixed.done)
        self._wall.restart(self._wall.done)
        self.shared.restart(self.shared.done)

    def entries(self, name: str) -> Entries:
        """The entries of a table. KeyError if there is none of this name."""
        return self._tables[name]

    def find_entries(self, name: str) -> Entries | None:
        return self._tables.get(name)

    def shared_job(self, job_id: str) -> Job | None:
        """The shared Job with this id, if a table has it."""
        for entries in self._tables.values():
            index = entries.index_of(job_id) if entries.has_shared else None
            if index is not None and entries.is_shared(index):
                return entries[index]
        return None

    def jobs(self) -> Jobs:
        """All Jobs, in the order of table and line."""
        return Jobs([self._tables[name] for name in sorted(self._tables)])

    def users_of_pools(self) -> dict[str | None, frozenset[str]]:
        """The users who have Jobs, by the pool of these Jobs (None: without a pool)."""
        found: dict[str | None, set[str]] = {}
        for entries in self._tables.values():
            for pool, user in entries.users_of_pools():
                found.setdefault(pool, set()).add(user)
        return {pool: frozenset(users) for pool, users in found.items()}

    def reboot_jobs(self) -> list[Job]:
        return [entries[i] for entries in self._tables.values() for i in entries.reboots()]

    # ---- what is due later

    def next_fire_time(self) -> int | None:
        return _earlier(self._fixed.next_fire_time(), self._wall.next_fire_time())

    def next_to_come(self) -> int | None:
        """The next fire time of the tables that have nothing left from the last `take_due`.

        A table that lags behind does not keep those of other tables from being claimed.
        """
        return _earlier(self._fixed.next_to_come(), self._wall.next_to_come())

    def count(self, until: int) -> int:
        """How many Jobs have their next fire time at or before `until`."""
        return self._fixed.count(until) + self._wall.count(until)

    def coming(self, most: int, wanted: Callable[[str], bool]) -> list[tuple[int, Job]]:
        """The next fire times of the wanted users' Jobs, one for each Job, the first `most`."""
        queues = (self._fixed, self._wall, self.shared)
        times = heapq.merge(*(each.coming() for each in queues), key=itemgetter(0, 1))
        found = (due for due in times if wanted(self._user(due)))
        return [(fire, self._tables[name][index]) for fire, name, index in islice(found, most)]

    def peek(self, until: int) -> list[DueFire]:
        """The next fire times up to `until`, as take_due will hand them out.

        They are those of the tables that have nothing left from the last `take_due`.
        """
        return self._due([*self._fixed.to_come(until), *self._wall.to_come(until)])

    def due_in(self, start: int, end: int) -> list[DueFire]:
        """The first fire time of each Job in [start, end), whatever was handed out before.

        These are at most LATE seconds.
        """
        opened = Timetable(self._zone_of, Cursor(start - 1, start - 1))
        for entries in self._tables.values():
            opened._put(entries)
        first: dict[tuple[str, int], DueFire] = {}
        shared = opened._due(opened.shared.take(end - 1, sys.maxsize))
        for due in [*opened.take_due(end - 1, end - start), *shared]:
            _, _, entries, index = due
            first.setdefault((entries.source.name, index), due)
        return list(first.values())

    # ---- what is due now

    def take_due(
        self, now: float, awake: float, most: int = sys.maxsize, busy: Collection[str] = ()
    ) -> list[DueFire]:
        """Hand out what is due, in the order of `_turn`.

        `now`: UTC seconds by the clock. `awake`: seconds since the last call, by a clock that
        cannot be set. Missed fire times that a Job's CRON_CATCHUP brings back are included. `most`:
        of so many entries of each kind, and of no table in `busy`; a later call hands out the
        others.
        """
        second = int(now)
        restart = _before_this_minute(now, awake)
        due = self._take_wall(second, restart, most, busy)
        due += self._take_fixed(second, restart, most, busy)
        if self._new_gaps:
            due += self._catch_up({(name, index) for _, name, index in due})
        return self._due(due)

    def _take_wall(
        self, now: int, restart: int, most: int, busy: Collection[str]
    ) -> list[DueEntry]:
        late = now - self._wall.done
        if -_MINUTE < late <= 0:
            return []  # early; or the clock was set back by so little that nothing has to change
        if late > LATE:
            self._pass_over(self._wall, restart, wall=True)
        elif late < 0:
            self._stepped = [*self._stepped[1 - MOST_STEPS :], self._wall.done]
            self._wall.restart(restart)
        return self._wall.take(now, most, busy)

    def _take_fixed(
        self, now: int, restart: int, most: int, busy: Collection[str]
    ) -> list[DueEntry]:
        late = now - self._fixed.done
        if abs(late) > LONGEST_STEP:
            self._pass_over(self._fixed, restart, wall=False)
        elif late <= 0:
            return []
        return self._fixed.take(now, most, busy)

    def _pass_over(self, queue: FireQueue, until: int, *, wall: bool) -> None:
        """Continue after `until`; fire times between the cursor and `until` become a gap."""
        if queue.done < until:
            self._new_gaps.append(Gap(queue.done, until, wall))
        queue.restart(until)

    def _due(self, due: list[DueEntry]) -> list[DueFire]:
        tables, stepped = self._tables, self._stepped
        return [
            (fire, self._pass_of(fire) if stepped else 0, tables[name], index)
            for fire, name, index in sorted(due, key=self._turn)
        ]

    def _turn(self, due: DueEntry) -> tuple[int, str, int, int]:
        """What is due is handed out in the order of time, table, priority and line."""
        fire, name, index = due
        return fire, name, -self._tables[name].context(index).settings.priority, index

    # ---- gaps

    def take_gaps(self) -> list[Gap]:
        """The gaps since the last call, to be recorded."""
        gaps, self._unrecorded_gaps = self._unrecorded_gaps, []
        return gaps

    def _catch_up(self, due: set[tuple[str, int]]) -> Iterator[DueEntry]:
        """The fire times in new gaps that CRON_CATCHUP brings back.

        If a Job is due anyway, its latest missed fire time is not brought back as well.
        """
        gaps, self._new_gaps = self._new_gaps, []
        self._unrecorded_gaps += gaps
        for gap in gaps:
            for name, entries in self._tables.items():
                for fire, index in self._missed_of_table(entries, gap, due):
                    yield fire, name, index

    def _missed_of_table(
        self, entries: Entries, gap: Gap, due: set[tuple[str, int]]
    ) -> Iterator[tuple[int, int]]:
        """The fire times of a table in a gap that are brought back; each with its entry."""
        name = entries.source.name
        kind = EntryKind.WALL if gap.wall else EntryKind.FIXED
        wanted = [
            index
            for index in entries.where(lambda each: each.settings.catch_up is not CatchUp.NONE)
            if entries.kind_of(index) is kind and not entries.leaders(index)
        ]
        after = [i for i in entries.followers_in_order() if not entries.is_shared(i)]
        share = max(1, MOST_CAUGHT_UP_OF_TABLE // max(1, len(wanted) + len(after)))
        known: dict[Hashable, list[int]] = {}  # thousands of entries may have the same times
        missed: dict[int, list[int]] = {}
        for index in wanted:
            is_due = (name, index) in due
            key = entries.key_of_times(index), is_due
            if key not in known:
                known[key] = self._missed(entries, index, gap, share, is_due=is_due)
            missed[index] = known[key]
        for index in after:  # an @after entry comes back with each of those that it names
            found = {fire for leader in entries.leaders(index) for fire in missed.get(leader, ())}
            missed[index] = sorted(found)
        for index, fires in missed.items():
            yield from ((fire, index) for fire in fires)

    def _missed(
        self, entries: Entries, index: int, gap: Gap, share: int, *, is_due: bool
    ) -> list[int]:
        """The fire times of one entry in a gap that its CRON_CATCHUP brings back."""
        settings = entries.context(index).settings
        latest = settings.catch_up is CatchUp.LATEST
        if latest and is_due:
            return []
        most = 1 if latest else min(MOST_CAUGHT_UP, share)
        zone = self._zone_of(settings.zone)
        return last_fire_times(entries.times(index), zone, gap.after + 1, gap.until + 1, most)

    # ---- passes

    def has_passed(self, fire: int, pass_number: int) -> bool:
        """Whether this fire time will not be handed out again in this pass."""
        if self.closed:
            return True
        return fire <= self._wall.done or self._pass_of(fire) != pass_number

    def _pass_of(self, fire: int) -> int:
        """How many times the clock was set back from this fire time or from a later second."""
        return sum(1 for reached in self._stepped if reached >= fire)

    # ---- entries

    def _user(self, due: DueEntry) -> str:
        _, name, index = due
        return self._tables[name].context(index).user


def _earlier(first: int | None, second: int | None) -> int | None:
    if first is None or second is None:
        return second if first is None else first
    return min(first, second)


def _before_this_minute(now: float, awake: float) -> int:
    """The second after which to continue after a step: what is due in this minute is handed out.

    The daemon was awake for `awake` seconds, so the stepped clock began at `now - awake` at the
    earliest. The clock did not pass what is due before that.
    """
    start_of_minute = now - now % _MINUTE
    return math.ceil(max(start_of_minute, now - awake)) - 1
