"""A simulation: the engine itself, with a clock that jumps and commands that only take time.

Nothing is started, written or sent. A start takes no time, and what limits.load and
limits.free_memory would do is not known.
"""

import math
from collections.abc import Callable, Iterator
from heapq import heappop, heappush
from itertools import count
from typing import Protocol

from pycron.engine.actions import Decisions, RecordEnded, Release, Start, Stop, Withdraw
from pycron.engine.engine import Engine
from pycron.engine.events import Ended, InputEvent, Now, Tick
from pycron.model.job import Job
from pycron.model.run import AttemptKey, Cause, Ending, RunKey

_SIGTERM = 15
_LOOK = 1000  # steps between two looks of the caller


class Observer(Protocol):
    """Hears what happens in a simulation."""

    def started(self, attempt: AttemptKey, job: Job, at: float) -> None:
        """An Attempt starts at a UTC second."""

    def ended(self, attempt: AttemptKey) -> None:
        """An Attempt that had started has ended."""

    def decided(self, decisions: Decisions) -> None:
        """The engine has handled an event."""


# How commands end. The engine decides by the outcome, whatever the other values are.
_ENDINGS = {
    None: Ending(0.0, 0, None, 0.0, 0, 0),
    Cause.TIMEOUT: Ending(0.0, None, _SIGTERM, 0.0, 0, 0, cause=Cause.TIMEOUT),
    Cause.CANCELLED: Ending(0.0, None, _SIGTERM, 0.0, 0, 0, cause=Cause.CANCELLED),
}


class Simulation:
    """Lets an engine live through a stretch of time, which begins at a UTC second.

    `takes`: how many seconds the command of a Run takes; it is ended after its CRON_TIMEOUT.
    """

    def __init__(
        self,
        engine: Engine,
        start: float,
        takes: Callable[[RunKey, Job], float],
        observer: Observer,
    ) -> None:
        self._engine = engine
        self._now = start
        self._takes = takes
        self._observer = observer
        self._held: dict[AttemptKey, Job] = {}
        self._running: dict[AttemptKey, int] = {}  # the serial number of its end
        self._ends: list[tuple[float, int, AttemptKey, Cause | None]] = []
        self._serial = count()
        self._wakeup: float | None = None  # when the engine has something to do; None: ask it

    def tell(self, event: InputEvent) -> None:
        """Hand an event to the engine, now, and do what it decides."""
        decisions = self._engine.handle(event, Now(self._now, self._now))
        self._observer.decided(decisions)
        if not self._is_plain_end(event, decisions):
            self._wakeup = None
        for release in decisions.released:
            self._release(release)
        for action in decisions.actions:
            match action:
                case Start(attempt, job, hold=True):
                    self._held[attempt] = job
                case Start(attempt, job):
                    self._start(attempt, job, self._now)
                case Release():
                    self._release(action)
                case Withdraw(attempt):
                    self._held.pop(attempt, None)
                case Stop(attempt):
                    self._end_at(attempt, self._now, Cause.CANCELLED)

    def play(self, until: float) -> Iterator[float]:
        """Live until a UTC second. Now and then, yields the second that has been reached."""
        for step in count():
            wakeup = self._next_wakeup()
            end = self._ends[0][0] if self._ends else math.inf
            if min(wakeup, end) >= until:
                return
            if not step % _LOOK:
                yield self._now
            # A command that was started at a fire time ends a moment after the later fire time.
            if wakeup <= end:
                self._now = wakeup
                self.tell(Tick())
            else:
                self._now = end
                self._end_next()

    def _is_plain_end(self, event: InputEvent, decisions: Decisions) -> bool:
        """Whether a Run has ended and nothing else has changed: so most events are.

        Then the engine need not be asked again when it has something to do.
        """
        if not isinstance(event, Ended) or len(decisions.records) != 1 or decisions.actions:
            return False
        record = decisions.records[0]
        is_over = isinstance(record, RecordEnded) and record.retry_at is None
        return is_over and not self._engine.admission.waiting

    def _next_wakeup(self) -> float:
        if self._wakeup is None:
            wakeup = self._engine.next_wakeup()
            self._wakeup = math.inf if wakeup is None else wakeup
        return max(self._wakeup, self._now)

    # ---- commands

    def _release(self, release: Release) -> None:
        """Held Attempts start at their fire time, which comes in a moment."""
        due = [each for each in self._held if each.run.fire_time <= release.until]
        for attempt in due:
            self._start(attempt, self._held.pop(attempt), max(self._now, attempt.run.fire_time))

    def _start(self, attempt: AttemptKey, job: Job, at: float) -> None:
        seconds, timeout = self._takes(attempt.run, job), job.settings.timeout
        self._observer.started(attempt, job, at)
        if timeout is not None and seconds > timeout:
            self._end_at(attempt, at + timeout, Cause.TIMEOUT)
        else:
            self._end_at(attempt, at + seconds, None)

    def _end_at(self, attempt: AttemptKey, at: float, cause: Cause | None) -> None:
        serial = self._running[attempt] = next(self._serial)
        heappush(self._ends, (at, serial, attempt, cause))

    def _end_next(self) -> None:
        _, serial, attempt, cause = heappop(self._ends)
        if self._running.get(attempt) == serial:  # else it was stopped earlier
            del self._running[attempt]
            self._observer.ended(attempt)
            self.tell(Ended(attempt, _ENDINGS[cause]))
