"""The values that the parts of the engine share while they handle an event."""

import math
from dataclasses import dataclass, field
from itertools import count

from pycron.engine.actions import Decisions
from pycron.engine.admission import Admission
from pycron.engine.events import Now
from pycron.engine.lapsing_heap import LapsingHeap
from pycron.engine.live_runs import LiveRuns
from pycron.model.run import RunKey


class Timers:
    """The UTC seconds at which a Run is to be looked at again, as long as it is live."""

    def __init__(self, live: LiveRuns) -> None:
        self._heap: LapsingHeap[tuple[float, int, RunKey]]
        self._heap = LapsingHeap(lambda timer: timer[-1] in live)
        self._serial = count()

    def set(self, when: float, run: RunKey) -> None:
        self._heap.push((when, next(self._serial), run))

    def next(self) -> float:
        """The first of them; infinity if there is none."""
        first = self._heap.first()
        return math.inf if first is None else first[0]

    def take(self, now: float) -> tuple[float, RunKey] | None:
        """Remove and return the first timer whose second has come."""
        if self.next() > now:
            return None
        when, _, run = self._heap.pop()
        return when, run

    def clear(self) -> None:
        self._heap.clear()


_LAST_MOMENT = 10.0  # seconds
_NEVER = Now(0.0, 0.0)


@dataclass(slots=True)
class Workspace:
    """The live Runs, the limits and the timers; and, for the current event, the time and the
    decisions so far.

    `stopping`: the daemon ends, so nothing starts any more, but (`delivers`) for messages that are
    due in a moment.
    """

    admission: Admission
    live: LiveRuns = field(default_factory=LiveRuns)
    timers: Timers = field(init=False)
    now: Now = _NEVER
    out: Decisions = field(default_factory=Decisions)
    stopping: bool = False
    delivers: bool = False

    def __post_init__(self) -> None:
        self.timers = Timers(self.live)

    def may_begin(self, planned: float) -> bool:
        """Whether a message that is planned for a UTC second still starts in this daemon."""
        return not self.stopping or (self.delivers and planned <= self.now.wall + _LAST_MOMENT)
