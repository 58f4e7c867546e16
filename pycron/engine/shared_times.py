"""The fire times of shared Jobs that have come and whose rows are not known.

Their rules are simpler than those of other Jobs, because the database decides about each of them:
every fire time after the cursor is asked for, however late, and none is asked for again after it
was answered. So neither a step of the clock nor a daemon that was down loses or doubles a Run.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import count

from pycron.crontab.entries import Entries
from pycron.crontab.entry_kind import EntryKind
from pycron.engine.fire_queue import FireQueue
from pycron.engine.start_times import start_delay
from pycron.engine.timetable import Timetable
from pycron.model.job import Job
from pycron.model.run import RunKey

OLDEST = 7 * 86_400  # seconds: an older fire time is never claimed
_MOST = 20_000  # fire times that wait for an answer; the others stay in the timetable
_AT_ONCE = 512  # fire times that are taken in one event
_STRETCH = 3600  # seconds of which fire times are taken at a time
_LONGEST_STEP = 3600  # seconds by which the clock may be set back without a new start


@dataclass(slots=True)
class Fire:
    """A fire time without an answer: its entry, and the UTC second at which it is asked for.

    `why`: why it was not answered so far. `asked`: whether it is asked for at present.
    """

    entries: Entries
    index: int
    at: float
    why: str | None = None
    asked: bool = False

    @property
    def job(self) -> Job:
        return self.entries[self.index]

    @property
    def id(self) -> str:
        return self.entries.id(self.index)

    @property
    def is_queued(self) -> bool:
        """Whether its Run waits in a queue."""
        return self.entries.context(self.index).settings.runs_on.queue is not None


class SharedTimes:
    """All fire times of shared Jobs that have come and have no answer yet."""

    def __init__(
        self, timetable: Timetable, cluster: str, is_begun: Callable[[RunKey], bool]
    ) -> None:
        """`is_begun`: whether a Run is alive here, so that its fire time is answered."""
        self._timetable = timetable
        self._cluster = cluster
        self._is_begun = is_begun
        self.asked = 0  # questions without an answer
        self._fires: dict[RunKey, Fire] = {}
        self._by_second: Counter[int] = Counter()
        self._seconds: list[int] = []  # a heap: the seconds that are or were in `_by_second`
        # Those of queue Jobs stand apart: to ask about them takes no room on this machine.
        self._turns: dict[bool, list[tuple[float, int, RunKey]]] = {False: [], True: []}
        self._serial = count()
        self._since: dict[str, int] = {}  # by Job id: new entries, which begin with this second
        self._latest: dict[str, int] = {}  # by Job id: the last fire time that has come

    def __len__(self) -> int:
        return len(self._fires)

    def get(self, run: RunKey) -> Fire | None:
        return self._fires.get(run)

    @property
    def _queue(self) -> FireQueue:
        return self._timetable.shared

    @property
    def cursor(self) -> int:
        """All fire times up to this UTC second are answered."""
        while self._seconds and self._seconds[0] not in self._by_second:
            heappop(self._seconds)
        done = self._queue.done
        return min(done, self._seconds[0] - 1) if self._seconds else done

    # ---- what has come

    def take(self, now: float) -> list[RunKey]:
        """Take what has come from the timetable."""
        second, queue = int(now), self._queue
        came: list[RunKey] = []
        if second < queue.done - _LONGEST_STEP:
            queue.restart(second)  # the answers are the same when they are asked for again
        while len(self._fires) < _MOST and len(came) < _AT_ONCE:
            fire = queue.next_fire_time()
            until = second if fire is None else min(second, fire + _STRETCH)
            left = min(_AT_ONCE - len(came), _MOST - len(self._fires))
            wanted = 0 if fire is None or fire > second else left
            for due, name, index in queue.take(until, wanted):
                if self._enter(due, self._timetable.entries(name), index, second):
                    came.append(RunKey(self._timetable.entries(name).id(index), due))
            if until == second:
                break
        if self._since and queue.done >= max(self._since.values()):
            self._since.clear()
        return came

    def _enter(self, fire: int, entries: Entries, index: int, now: int) -> bool:
        run = RunKey(entries.id(index), fire)
        self._latest[run.job_id] = max(fire, self._latest.get(run.job_id, fire))
        is_new = fire <= self._since.get(run.job_id, 0)
        if is_new or fire <= now - OLDEST or run in self._fires or self._is_begun(run):
            return False
        delay = 0
        if entries.context(index).settings.jitter:
            delay = start_delay(entries[index], self._cluster)
        self._fires[run] = Fire(entries, index, float(fire + delay))
        if fire not in self._by_second:
            heappush(self._seconds, fire)
        self._by_second[fire] += 1
        self._turn(run, fire + delay)
        return True

    def is_latest(self, run: RunKey) -> bool:
        """Whether no later fire time of its Job has come."""
        return self._latest.get(run.job_id, run.fire_time) <= run.fire_time

    def answered(self, run: RunKey) -> Fire | None:
        """The fire time has its answer: the cursor may pass it."""
        fire = self._fires.pop(run, None)
        if fire is not None:
            self.asked -= fire.asked
            self._by_second[run.fire_time] -= 1
            if not self._by_second[run.fire_time]:
                del self._by_second[run.fire_time]
        return fire

    # ---- turns

    def due(self, now: float, *, queued: bool) -> Iterator[tuple[RunKey, Fire]]:
        """What is to be asked for now, in turn; each is to be put off, opened or answered.

        `queued`: of queue Jobs, or else of all others.
        """
        turns = self._turns[queued]
        while turns and turns[0][0] <= now:
            at, _, run = heappop(turns)
            fire = self._fires.get(run)
            if fire is not None and not fire.asked and fire.at == at:
                yield run, fire

    def ask(self, run: RunKey) -> None:
        """The question is open now."""
        self._fires[run].asked = True
        self.asked += 1

    def reopen(self, now: float) -> None:
        """There will be no answers to the questions that are open: they are to be asked again."""
        for run, fire in self._fires.items():
            if fire.asked:
                self.put_off(run, now, fire.why)

    def put_off(self, run: RunKey, until: float, why: str | None) -> None:
        """Ask for a fire time at this UTC second (again)."""
        fire = self._fires.get(run)
        if fire is not None:
            self.asked -= fire.asked
            fire.asked, fire.at, fire.why = False, until, why
            self._turn(run, until)

    def _turn(self, run: RunKey, at: float) -> None:
        turns = self._turns[self._fires[run].is_queued]
        heappush(turns, (float(at), next(self._serial), run))

    def next_turn(self, *, queued: bool = False) -> float:
        """The UTC second of the next question; infinity if there is none."""
        turns = self._turns[queued]
        return turns[0][0] if turns else math.inf

    def next_fire_time(self) -> float:
        """The next fire time that is not taken yet; infinity if there is none, or no room."""
        fire = self._queue.next_fire_time() if len(self._fires) < _MOST else None
        return math.inf if fire is None else float(fire)

    # ---- tables

    def replace(self, name: str, old: Entries | None, new: Entries | None, now: float) -> None:
        """A table has changed: what waits follows its entry, or is left to other hosts."""
        if self._seen_none(old) and self._seen_none(new):
            return
        index_of = {} if new is None else {new.id(i): i for i in new.of_kind(EntryKind.SHARED)}
        before = set() if old is None else {old.id(i) for i in old.of_kind(EntryKind.SHARED)}
        for run, fire in list(self._fires.items()):
            if fire.entries.source.name != name:
                continue
            if new is None or run.job_id not in index_of:
                self.answered(run)
            else:
                fire.entries, fire.index = new, index_of[run.job_id]
        self._since.update((job_id, int(now)) for job_id in index_of.keys() - before)
        for job_id in before - index_of.keys():
            self._latest.pop(job_id, None)

    @staticmethod
    def _seen_none(entries: Entries | None) -> bool:
        return entries is None or next(entries.of_kind(EntryKind.SHARED), None) is None
