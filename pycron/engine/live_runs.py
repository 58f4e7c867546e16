"""The Runs that are alive: those that have come to be and have not ended."""

import heapq
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from pycron.engine.runs_of_jobs import RunsOfJobs
from pycron.engine.states import TRANSITIONS, State, Step
from pycron.model.job import Job
from pycron.model.run import AttemptKey, Outcome, Redrive, RunKey
from pycron.schedule.expressions import After

_WAITS = (State.WAITING, State.QUEUED)


class Wait(StrEnum):
    """What a Run waits for."""

    TIME = "time"  # a delay: CRON_JITTER, or a fire time that is taken up a moment before
    RETRY = "retry"
    LIMIT = "limit"
    PAUSE = "pause"
    AFTER = "after"  # the success of other Jobs


@dataclass(slots=True)
class Live:
    """A Run that has not ended, and the number of its current Attempt (0: none yet).

    `planned`: the UTC second at which the Attempt that the Run waits for is to start. `replaces`:
    when the first of the queued Runs that this one has replaced was to start. `put_off`: the Run
    waits for the end of a pause. `outcome`, `exit_status` and `printed` (bytes) are those of the
    Attempt before, which has failed. `redrive`: the last redrive, if the Run was a dead letter.
    `asked`: the UTC second at which somebody asked for it, whatever its fire time. `gone`: the
    entry of its Job was removed. `incarnation`: that of this host when it got a shared Run; None
    for every other Run. `state` is set by LiveRuns alone.
    """

    job: Job
    planned: float
    state: State
    number: int = 0
    replaces: float | None = None
    put_off: bool = False
    outcome: Outcome | None = None
    exit_status: int | None = None
    printed: int = 0
    redrive: Redrive | None = None
    asked: float | None = None
    pid: int | None = None
    started: float | None = None
    gone: bool = False
    incarnation: str | None = None

    @property
    def due(self) -> float:
        """The UTC second that decides about its place in the queue.

        A Run that replaces queued Runs takes over the place of the first of them. Otherwise a Job
        whose Runs replace each other would never start while the queue is long.
        """
        return self.planned if self.number or self.replaces is None else self.replaces

    @property
    def wait(self) -> Wait | None:
        """What it waits for; None if it does not wait, or tells of a Run at a later time."""
        if self.state is State.QUEUED:
            return Wait.LIMIT
        if self.state is not State.WAITING or (self.job.is_message and not self.number):
            return None
        if self.put_off:
            return Wait.PAUSE
        if self.number:
            return Wait.RETRY
        return Wait.AFTER if isinstance(self.job.schedule, After) else Wait.TIME

    @property
    def was_tried(self) -> bool:
        """Whether an Attempt has ended since the Run came to be, or since it was redriven."""
        before = self.redrive.number if self.redrive else 0
        return self.outcome is not None and self.number > before

    @property
    def last(self) -> int:
        """The number of its last Attempt: no retry follows."""
        before = self.redrive.number if self.redrive else 0
        return self.number if self.gone else before + 1 + self.job.settings.retries


@dataclass(frozen=True, slots=True)
class LiveRun:
    """A Run that has not ended, for reading. `why`: what the Run waits for."""

    run: RunKey
    job: Job
    state: State
    number: int
    planned: float
    pid: int | None
    started: float | None
    why: str | None

    @property
    def is_planned(self) -> bool:
        """Whether the time of its first Attempt has not come yet."""
        return self.state is State.WAITING and not self.number

    @property
    def attempt(self) -> AttemptKey:
        """The current Attempt; number 0 if none was recorded yet."""
        return AttemptKey(self.run, self.number)


class LiveRuns:
    """All live Runs, by identity and by Job.

    `held`: the Runs in State.HELD; when the Attempt of each is to start (UTC seconds).
    """

    def __init__(self) -> None:
        self.held: dict[RunKey, float] = {}
        self._runs: dict[RunKey, Live] = {}
        self._of_jobs = RunsOfJobs()
        self._latest: dict[str, int] = {}
        self._waiting: Counter[str] = Counter()
        self._all_waiting = 0

    def __contains__(self, run: RunKey) -> bool:
        return run in self._runs

    def __getitem__(self, run: RunKey) -> Live:
        return self._runs[run]

    def __len__(self) -> int:
        return len(self._runs)

    def get(self, run: RunKey) -> Live | None:
        return self._runs.get(run)

    def items(self) -> list[tuple[RunKey, Live]]:
        """A copy of the list, so that the caller may move the Runs on."""
        return list(self._runs.items())

    def count(self, wanted: Callable[[str], bool]) -> tuple[int, int]:
        """How many Runs of the wanted users have begun, and how many wait for more than their time.

        What tells of a Run at a later time is not counted.
        """
        begun = waiting = 0
        for live in self._runs.values():
            if live.state is State.HELD or not wanted(live.job.user):
                continue
            if live.state not in _WAITS:
                begun += 1
            elif live.wait:
                waiting += 1
        return begun, waiting

    def count_waits(self, wanted: Callable[[str], bool]) -> Counter[Wait]:
        """How many Runs of the wanted users wait for what."""
        waits = (live.wait for live in self._runs.values() if wanted(live.job.user))
        return Counter(wait for wait in waits if wait)

    def that_wait(self) -> list[tuple[RunKey, Live]]:
        """The Runs that wait for more than their time.

        What would tell that a Run is late, or sums up an hour, waits for nothing else.
        """
        return [(run, live) for run, live in self._runs.items() if live.wait]

    def first_waiting(self, most: int, wanted: Callable[[str], bool]) -> list[tuple[RunKey, Live]]:
        """Of those the Runs of wanted users that are planned first, at most so many."""
        waiting = (each for each in self.that_wait() if wanted(each[1].job.user))
        return heapq.nsmallest(most, waiting, key=lambda each: each[1].planned)

    def late(self, before: float) -> list[RunKey]:
        """The Runs whose start was planned before a UTC second, and has not come.

        Messages are not among them, and neither is what waits for a pause or for another Job.
        """
        return [
            run
            for run, live in self._runs.items()
            if live.planned < before
            and live.state is not State.RUNNING
            and not live.put_off
            and not live.job.is_message
            and not (live.state is State.WAITING and isinstance(live.job.schedule, After))
        ]

    def of_job(self, job_id: str) -> list[RunKey]:
        return self._of_jobs.of(job_id)

    @property
    def waiting(self) -> Mapping[str, int]:
        """By user, how many Runs have no Attempt at present, without messages."""
        return self._waiting

    @property
    def all_waiting(self) -> int:
        """The sum of these."""
        return self._all_waiting

    # ---- steps

    def enter(self, run: RunKey, job: Job, planned: float, step: Step) -> Live:
        """A Run comes to be, by a step that starts a life. KeyError for any other step."""
        state = TRANSITIONS[None, step]
        assert state is not None
        live = self._runs[run] = Live(job, planned, state)
        self._of_jobs.add(run)
        self._index(run, live, state)
        self._count(job, None, state)
        return live

    def step(self, run: RunKey, step: Step) -> None:
        """Move a Run on. KeyError for a step that its state does not have."""
        live = self._runs[run]
        before, state = live.state, TRANSITIONS[live.state, step]
        if state is None:
            self._leave(run)
        else:
            live.state, live.put_off = state, False
        if before is State.HELD or state is State.HELD:
            self._index(run, live, state)
        if (before in _WAITS) is not (state in _WAITS):
            self._count(live.job, before, state)

    def can(self, attempt: AttemptKey, step: Step) -> bool:
        """Whether this is the current Attempt of its Run, in a state that has this step."""
        live = self._runs.get(attempt.run)
        return (
            live is not None and live.number == attempt.number and (live.state, step) in TRANSITIONS
        )

    def _index(self, run: RunKey, live: Live, state: State | None) -> None:
        if state is State.HELD:
            self.held[run] = live.planned
        else:
            self.held.pop(run, None)

    def _count(self, job: Job, before: State | None, after: State | None) -> None:
        change = (after in _WAITS) - (before in _WAITS)
        if change and not job.is_message:
            self._all_waiting += change
            self._waiting[job.user] += change
            if not self._waiting[job.user]:
                del self._waiting[job.user]

    def _leave(self, run: RunKey) -> None:
        live = self._runs.pop(run)
        self._of_jobs.remove(run)
        if live.job.id not in self._of_jobs:
            self._latest.pop(live.job.id, None)

    # ---- fire times of the Jobs that have live Runs

    def came(self, job_id: str, fire_time: int) -> None:
        """A fire time of this Job has come."""
        if job_id in self._of_jobs:
            self._latest[job_id] = fire_time

    def has_come(self, job_id: str, since: float) -> bool:
        """Whether a fire time of this Job has come after a UTC second."""
        return self._latest.get(job_id, since) > since
