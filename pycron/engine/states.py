"""The states of a Run, and the Runs that are alive.

    state      on             becomes
    (none)     due            WAITING    its Run is written to the store
    WAITING    ready          QUEUED     its time has come: it asks for a place
    QUEUED     put off        WAITING    a pause has come in between
    QUEUED     admitted       RECORDED   its Attempt is written, then handed to the runner
    QUEUED     claimed        HELD       the same ahead of its time; the runner waits for a word
    HELD       begun          RECORDED   that word: its time has come
    HELD       started, ended  as RECORDED: an earlier daemon had given that word
    HELD, RECORDED  withdrawn WAITING    it was not started, and need not be for now
    WAITING, QUEUED           (ended)    given up: too late, forbidden, paused, cancelled, gone
    HELD, RECORDED  refused   (ended)    it could not be started
    RECORDED   started        RUNNING    the runner has forked it
    RECORDED   ended          (ended)    it was over before anybody heard that it had started
    RUNNING    ended          (ended)
    RECORDED, RUNNING  lost   (ended)    nobody knows how it ended, or whether it began
    any of these  failed      WAITING    it did, in any of these ways, and is tried again later

Which step is taken, and when, is for runs.py to say.
"""

from dataclasses import dataclass
from enum import StrEnum

from pycron.model.job import Job
from pycron.model.run import AttemptKey, Outcome, Redrive, RunKey


class State(StrEnum):
    WAITING = "waiting"
    QUEUED = "queued"
    HELD = "held"
    RECORDED = "recorded"
    RUNNING = "running"


class Step(StrEnum):
    """What can happen to a Run that is alive."""

    READY = "ready"
    PUT_OFF = "put off"
    ADMITTED = "admitted"
    CLAIMED = "claimed"
    BEGUN = "begun"
    WITHDRAWN = "withdrawn"
    GIVEN_UP = "given up"
    STARTED = "started"
    REFUSED = "refused"
    ENDED = "ended"
    LOST = "lost"
    FAILED = "failed"


# What a state becomes; None is the end. What isn't here can't happen and is refused.
TRANSITIONS: dict[tuple[State, Step], State | None] = {
    (State.WAITING, Step.READY): State.QUEUED,
    (State.WAITING, Step.GIVEN_UP): None,
    (State.QUEUED, Step.PUT_OFF): State.WAITING,
    (State.QUEUED, Step.ADMITTED): State.RECORDED,
    (State.QUEUED, Step.CLAIMED): State.HELD,
    (State.QUEUED, Step.GIVEN_UP): None,
    (State.HELD, Step.BEGUN): State.RECORDED,
    (State.HELD, Step.WITHDRAWN): State.WAITING,
    (State.HELD, Step.STARTED): State.RUNNING,
    (State.HELD, Step.ENDED): None,
    (State.HELD, Step.REFUSED): None,
    (State.HELD, Step.FAILED): State.WAITING,
    (State.RECORDED, Step.WITHDRAWN): State.WAITING,
    (State.RECORDED, Step.STARTED): State.RUNNING,
    (State.RECORDED, Step.REFUSED): None,
    (State.RECORDED, Step.ENDED): None,
    (State.RECORDED, Step.LOST): None,
    (State.RECORDED, Step.FAILED): State.WAITING,
    (State.RUNNING, Step.ENDED): None,
    (State.RUNNING, Step.LOST): None,
    (State.RUNNING, Step.FAILED): State.WAITING,
}

NOT_BEGUN = (State.WAITING, State.QUEUED, State.HELD)
WITH_ATTEMPT = (State.HELD, State.RECORDED, State.RUNNING)  # on record, and it has not ended


@dataclass(slots=True)
class Live:
    """A Run that has not ended, and the Attempt it is at (0: none yet).

    `planned`: when the Attempt that it waits for is to start. `replaces`: when the first one that
    it has replaced, of those that waited for a place, was to start. `put_off`: it waits for the end
    of a pause. `outcome`, `exit_status`: of the Attempt before, which has failed. `redrive`: the
    last one, where it has been a dead letter. `gone`: its entry is no longer there.
    """

    job: Job
    planned: float
    state: State = State.WAITING
    number: int = 0
    replaces: float | None = None
    put_off: bool = False
    outcome: Outcome | None = None
    exit_status: int | None = None
    redrive: Redrive | None = None
    pid: int | None = None
    started: float | None = None
    gone: bool = False

    @property
    def due(self) -> float:
        """Since when it is its turn: it has the place in the line of the one that it replaces.

        Else a Job whose Runs replace each other would never begin where the line is long.
        """
        return self.planned if self.number or self.replaces is None else self.replaces

    @property
    def last(self) -> int:
        """Its last Attempt, after which no retry comes."""
        before = self.redrive.number if self.redrive else 0
        return self.number if self.gone else before + 1 + self.job.settings.retries


class LiveRuns:
    """All Runs that have not ended, by identity and by Job; `held`: those in State.HELD."""

    def __init__(self) -> None:
        self.held: dict[RunKey, None] = {}
        self._runs: dict[RunKey, Live] = {}
        self._of_job: dict[str, dict[RunKey, None]] = {}
        self._latest: dict[str, int] = {}

    def __contains__(self, run: RunKey) -> bool:
        return run in self._runs

    def __getitem__(self, run: RunKey) -> Live:
        return self._runs[run]

    def __len__(self) -> int:
        return len(self._runs)

    def get(self, run: RunKey) -> Live | None:
        return self._runs.get(run)

    def items(self) -> list[tuple[RunKey, Live]]:
        """All of them as they are now, whatever becomes of them meanwhile."""
        return list(self._runs.items())

    def of_job(self, job_id: str) -> list[RunKey]:
        return list(self._of_job.get(job_id, ()))

    # ---- coming and going

    def enter(self, run: RunKey, job: Job, planned: float) -> Live:
        live = self._runs[run] = Live(job, planned)
        self._of_job.setdefault(job.id, {})[run] = None
        return live

    def leave(self, run: RunKey) -> None:
        """It is nobody's concern any more: it has ended, or waits in the store."""
        live = self._runs.pop(run)
        self.held.pop(run, None)
        runs = self._of_job[live.job.id]
        del runs[run]
        if not runs:
            del self._of_job[live.job.id]
            self._latest.pop(live.job.id, None)

    def came(self, job_id: str, fire_time: int) -> None:
        """A fire time has come; the Runs of its Job that are alive may want to know."""
        if job_id in self._of_job:
            self._latest[job_id] = fire_time

    def has_come(self, job_id: str, since: float) -> bool:
        """Whether a fire time of a Job has come since a UTC second."""
        return self._latest.get(job_id, since) > since

    # ---- steps

    def step(self, run: RunKey, step: Step) -> None:
        """Move a Run on. KeyError for a step that its state doesn't have."""
        state = TRANSITIONS[self._runs[run].state, step]
        if state is None:
            self.leave(run)
        else:
            self.place(run, state)

    def place(self, run: RunKey, state: State) -> None:
        """Put it where a step has led to, or where an earlier daemon has left it."""
        live = self._runs[run]
        live.state, live.put_off = state, False
        if state is State.HELD:
            self.held[run] = None
        else:
            self.held.pop(run, None)

    def can(self, attempt: AttemptKey, step: Step) -> bool:
        """Whether this is the Attempt that its Run is at, and in a state for this step."""
        live = self._runs.get(attempt.run)
        return (
            live is not None and live.number == attempt.number and (live.state, step) in TRANSITIONS
        )
