"""A simulation: the engine itself, with a clock that jumps and commands that only take time.

Nothing is started, written or sent. A start takes no time, and what limits.load and
limits.free_memory would do is not known.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import count
from typing import Protocol

from pycron.engine.actions import Decisions, Release, Start, Stop, Withdraw
from pycron.engine.engine import Engine
from pycron.engine.events import Ended, InputEvent, Now, Tick
from pycron.model.job import Job
from pycron.model.run import AttemptKey, Cause, Ending, RunKey

_LOOK = 1000  # steps between two looks of the caller


class Observer(Protocol):
    """Hears what happens in a simulation."""

    def started(self, attempt: AttemptKey, job: Job, at: float) -> None:
        """An Attempt starts at a UTC second."""

    def ended(self, attempt: AttemptKey) -> None:
        """An Attempt that had started has ended."""

    def decided(self, decisions: Decisions) -> None:
        """The engine has handled an event."""


@dataclass(slots=True)
class _Running:
    """An Attempt that runs. `serial`: of the end that it is going to have."""

    serial: int
    cause: Cause | None


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
        self._running: dict[AttemptKey, _Running] = {}
        self._ends: list[tuple[float, int, AttemptKey]] = []
        self._serial = count()

    def tell(self, event: InputEvent) -> None:
        """Hand an event to the engine, now, and do what it decides."""
        decisions = self._engine.handle(event, Now(self._now, self._now))
        self._observer.decided(decisions)
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
            wakeup = self._engine.next_wakeup()
            wakeup = math.inf if wakeup is None else max(wakeup, self._now)
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
        serial = next(self._serial)
        self._running[attempt] = _Running(serial, cause)
        heappush(self._ends, (at, serial, attempt))

    def _end_next(self) -> None:
        _, serial, attempt = heappop(self._ends)
        running = self._running.get(attempt)
        if running is None or running.serial != serial:
            return  # it was stopped earlier
        del self._running[attempt]
        self._observer.ended(attempt)
        status, signal = (0, None) if running.cause is None else (None, 15)
        ending = Ending(self._now, status, signal, 0.0, 0, 0, cause=running.cause)
        self.tell(Ended(attempt, ending))
