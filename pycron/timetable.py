"""Who is due next: the Jobs of all tables, ordered by their next fire time.

Jobs of the same schedule and zone share one entry of a heap, so a minute in which nothing is due
costs nothing, however many Jobs there are.
"""

import heapq
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import count

from pycron.firetime import fire_times, follows_the_wall, last_fire_times, next_fire
from pycron.model import Job, Table
from pycron.schedule import Reboot, Schedule
from pycron.settings import CatchUp
from pycron.zone import END_OF_TIME, Zone

FireTime = tuple[int, Job]

_MOST_DEAD = 1000  # places of a heap that may be nobody's, beside as many as are somebody's


@dataclass(slots=True)
class _Group:
    """The Jobs of one schedule in one zone, by the name of their table."""

    schedule: Schedule
    zone: str | None
    jobs: dict[str, list[Job]] = field(default_factory=dict)


class _Queue:
    """Groups by next fire time. `done` is the instant up to which fire times were handed out."""

    def __init__(self, zone_of: Callable[[str | None], Zone], done: int) -> None:
        self.done = done
        self._zone_of = zone_of
        self._groups: dict[tuple[Schedule, str | None], _Group] = {}
        self._heap: list[tuple[int, int, _Group]] = []
        self._serial = count()
        self._dead = 0

    def add(self, job: Job) -> None:
        key = job.schedule, job.zone
        group = self._groups.get(key)
        if group is None:
            group = self._groups[key] = _Group(*key)
            self._push(group)
        group.jobs.setdefault(job.source.name, []).append(job)

    def remove(self, job: Job) -> None:
        key = job.schedule, job.zone
        group = self._groups.get(key)
        if group:
            group.jobs.pop(job.source.name, None)
            if not group.jobs:
                del self._groups[key]  # its place in the heap is passed over when it comes up
                self._dead += 1
                if self._dead > len(self._groups) + _MOST_DEAD:
                    self._bury()

    def _bury(self) -> None:
        """Take the places of groups that are no more out of the heap."""
        self._heap = [entry for entry in self._heap if entry[2].jobs]
        heapq.heapify(self._heap)
        self._dead = 0

    def next_fire_time(self) -> int | None:
        while self._heap and not self._heap[0][2].jobs:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def take(self, until: int) -> list[FireTime]:
        """The fire times after `done` up to and including `until`, which is `done` from now on."""
        due: list[FireTime] = []
        while self._heap and self._heap[0][0] <= until:
            first, _, group = heapq.heappop(self._heap)
            if not group.jobs:
                continue
            zone = self._zone_of(group.zone)
            jobs = [job for jobs in group.jobs.values() for job in jobs]
            for fire in fire_times(group.schedule, zone, first, until + 1):
                due += [(fire, job) for job in jobs]
            self._push(group, until)
        self.done = max(self.done, until)
        return due

    def peek(self, until: int) -> Iterator[FireTime]:
        """The next fire time of each Job that has one up to `until`; nothing is handed out."""
        places = [0]
        while places:
            place = places.pop()
            if place < len(self._heap) and self._heap[place][0] <= until:
                fire, _, group = self._heap[place]
                yield from ((fire, job) for jobs in group.jobs.values() for job in jobs)
                places += [2 * place + 1, 2 * place + 2]  # whatever is below it, is not before it

    def restart(self, done: int) -> None:
        """Hand out what comes after `done`, whatever was handed out before."""
        self.done = done
        self._heap.clear()
        for group in self._groups.values():
            self._push(group)

    def _push(self, group: _Group, after: int | None = None) -> None:
        after = self.done if after is None else after
        fire = next_fire(group.schedule, self._zone_of(group.zone), after)
        if fire is not None:
            heapq.heappush(self._heap, (fire, next(self._serial), group))


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
        self._catching_up: dict[str, list[Job]] = {}
        self._fixed = _Queue(zone_of, cursor.fixed)
        self._wall = _Queue(zone_of, cursor.wall)
        self._stepped = list(cursor.stepped)
        self._reboot: dict[str, list[Job]] = {}
        self._jobs: dict[str, tuple[Job, ...]] = {}

    @property
    def cursor(self) -> Cursor:
        return Cursor(self._fixed.done, self._wall.done, tuple(self._stepped))

    def put(self, table: Table) -> None:
        """Take up a table, in place of the one that had its name."""
        self.drop(table.source.name)
        self._jobs[table.source.name] = table.jobs
        for job in table.jobs:
            if isinstance(job.schedule, Reboot):
                self._reboot.setdefault(table.source.name, []).append(job)
                continue
            self._queue_of(job).add(job)
            if job.settings.catch_up is not CatchUp.NONE:
                self._catching_up.setdefault(table.source.name, []).append(job)

    def drop(self, name: str) -> None:
        self._reboot.pop(name, None)
        self._catching_up.pop(name, None)
        for job in self._jobs.pop(name, ()):
            if not isinstance(job.schedule, Reboot):
                self._queue_of(job).remove(job)

    def jobs(self) -> Iterable[Job]:
        return (job for jobs in self._jobs.values() for job in jobs)

    def reboot_jobs(self) -> list[Job]:
        return [job for jobs in self._reboot.values() for job in jobs]

    def next_fire_time(self) -> int | None:
        times = [self._fixed.next_fire_time(), self._wall.next_fire_time()]
        return min((time for time in times if time is not None), default=None)

    def coming(self, most: int, wanted: Callable[[str], bool]) -> list[FireTime]:
        """The next fire time of so many Jobs whose user is wanted, the first ones first."""
        times = (each for queue in (self._fixed, self._wall) for each in queue.peek(END_OF_TIME))
        return heapq.nsmallest(most, (due for due in times if wanted(due[1].user)), key=_in_order)

    def zones_changed(self) -> None:
        """The rules of a zone are others now: every next fire time is found anew."""
        self._fixed.restart(self._fixed.done)
        self._wall.restart(self._wall.done)

    def peek(self, until: int) -> list[tuple[int, int, Job]]:
        """What will be due at the next fire times up to `until`, as take_due would hand it out."""
        due = [*self._fixed.peek(until), *self._wall.peek(until)]
        due.sort(key=_in_order)
        return [(fire, self._turn(fire), job) for fire, job in due]

    def take_due(self, now: float, awake: float) -> list[tuple[int, int, Job]]:
        """What is due: (fire time, turn, Job), in the order of time, table and line.

        `now` is the clock's UTC second; `awake` the real seconds that have passed since somebody
        last looked at it, by a clock that nobody sets. Missed fire times that a Job's CRON_CATCHUP
        brings back are among them.
        """
        second = int(now)
        restart = _just_before(now, awake)
        due = self._take_wall(second, restart) + self._take_fixed(second, restart)
        due += self._take_caught_up({job.id for _, job in due})
        due.sort(key=_in_order)
        return [(fire, self._turn(fire), job) for fire, job in due]

    def _take_wall(self, now: int, restart: int) -> list[FireTime]:
        late = now - self._wall.done
        if -_MINUTE < late <= 0:
            return []  # early, or set back by less than anybody would notice
        if late > LATE:
            self._pass_over(self._wall, restart, wall=True)
        elif late < 0:
            self._stepped = [*self._stepped[1 - _MOST_STEPS :], self._wall.done]
            self._wall.restart(restart)
        return self._wall.take(now)

    def _take_fixed(self, now: int, restart: int) -> list[FireTime]:
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

    def _take_caught_up(self, due: set[str]) -> list[FireTime]:
        """What the gaps since the last call are to bring back.

        Of a Job that is due anyway, the latest missed fire time is not brought back as well.
        """
        gaps, self._gaps = self._gaps, []
        self._passed_over += gaps
        found: list[FireTime] = []
        for gap in gaps:
            for job in [job for jobs in self._catching_up.values() for job in jobs]:
                latest = job.settings.catch_up is CatchUp.LATEST
                if follows_the_wall(job.schedule) != gap.wall or (latest and job.id in due):
                    continue
                most = 1 if latest else MOST_CAUGHT_UP
                zone = self._zone_of(job.zone)
                times = last_fire_times(job.schedule, zone, gap.after + 1, gap.until + 1, most)
                found += [(fire, job) for fire in times]
        return found

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

    def _queue_of(self, job: Job) -> _Queue:
        return self._wall if follows_the_wall(job.schedule) else self._fixed


def _in_order(due: FireTime) -> tuple[int, str, int]:
    """By time, table and line."""
    fire, job = due
    return fire, job.source.name, job.line


def _just_before(now: float, awake: float) -> int:
    """After a step: where to go on, so that what is due in the minute of `now` is handed out.

    But not what the stepped clock has not passed itself: it began at `now - awake` at the earliest.
    """
    start_of_minute = now - now % _MINUTE
    return math.ceil(max(start_of_minute, now - awake)) - 1
