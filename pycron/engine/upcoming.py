"""Fire times to come: of all Jobs in order, and the next one of each entry."""

import heapq
from collections.abc import Callable, Iterable, Iterator

from pycron.crontab.entries import Entries, EntryContext
from pycron.crontab.jobs import Jobs
from pycron.crontab.listing import entries_from
from pycron.model.job import Job
from pycron.model.steps import Steps
from pycron.schedule.day_rules import DayRules
from pycron.schedule.fire_times import next_fire
from pycron.schedule.packed import Packed
from pycron.schedule.zone import Zone

Coming = tuple[int, Job]  # a fire time (UTC second) and its Job

FARTHEST = 20 * 366 * 86_400  # seconds ahead: finding the fire times there costs the daemon time

_MOST_SHARED = 4096  # fire times that are remembered at once
_STEP = 100  # entries
_MINUTE = 60


class NextFires:
    """The next fire time of an entry; found once a minute for entries with equal schedules."""

    def __init__(self, zone_of: Callable[[str | None], Zone]) -> None:
        self._zone_of = zone_of
        self._minute = -1
        self._shared: dict[tuple[Packed, Zone, DayRules | None], int | None] = {}

    def after(self, entries: Entries, index: int, instant: int) -> int | None:
        """The first fire time of an entry after a UTC second; None if there is none."""
        packed, context = entries.packed(index), entries.context(index)
        zone = self._zone_of(context.settings.zone)
        if not any(packed):  # an interval, or fields that are not packed
            return next_fire(entries.times(index), zone, instant)
        minute = instant - instant % _MINUTE
        if minute != self._minute or len(self._shared) > _MOST_SHARED:
            self._shared.clear()
            self._minute = minute
        key = packed, zone, context.rules
        if key not in self._shared:
            self._shared[key] = next_fire(entries.times(index), zone, minute)
        fire = self._shared[key]
        if fire is not None and fire <= instant:  # the zone's offset is not of whole minutes
            return next_fire(entries.times(index), zone, instant)
        return fire


def in_order(first: Iterable[Coming], zone_of: Callable[[str | None], Zone]) -> Iterator[Coming]:
    """All fire times of some Jobs, in order.

    `first`: the next fire time of each Job, in order; it is read only as far as needed.
    """
    coming = ((fire, number, job) for number, (fire, job) in enumerate(first))
    head = next(coming, None)
    later: list[tuple[int, int, Job]] = []
    while head is not None or later:
        if later and (head is None or later[0][:2] < head[:2]):
            fire, number, job = heapq.heappop(later)
        else:
            assert head is not None
            (fire, number, job), head = head, next(coming, None)
        yield fire, job
        following = next_fire(job.schedule, zone_of(job.zone), fire)
        if following is not None:
            heapq.heappush(later, (following, number, job))


def first_from(
    jobs: Jobs,
    wanted: Callable[[EntryContext], bool],
    fires: NextFires,
    start: int,
    most: int,
) -> Steps[list[Coming]]:
    """The first fire time of each wanted Job from a UTC second on: in order, the first `most`.

    Every entry has to be looked at; a step looks at a hundred of them.
    """
    found: list[tuple[int, int, Entries, int]] = []  # the latest fire time first, negative
    for position, entries, index in entries_from(jobs, 0, wanted):
        fire = fires.after(entries, index, start - 1)
        if fire is not None and (len(found) < most or -fire > found[0][0]):
            push = heapq.heappush if len(found) < most else heapq.heapreplace
            push(found, (-fire, -position, entries, index))
        if not position % _STEP:
            yield
    return [(-fire, entries[index]) for fire, _, entries, index in sorted(found, reverse=True)]
