"""The states of a Run, and the steps that lead from one state to another: the law of the engine.

TRANSITIONS is the only place that says which step is possible in which state, and what it leads to.
Nothing but `LiveRuns` sets a state, and `LiveRuns` sets it only by this table. Which step is taken,
and when, is decided in runs.py and attempts.py.
"""

from enum import StrEnum


class State(StrEnum):
    """Where a Run is between its fire time and its end."""

    WAITING = "waiting"
    """Its time has not come yet, or a pause keeps it from starting."""
    QUEUED = "queued"
    """Its time has come; it waits until the limits admit it."""
    HELD = "held"
    """Its Attempt is recorded and with the runner, which waits for the fire time to start it."""
    RECORDED = "recorded"
    """Its Attempt is recorded; the runner is to start it now."""
    RUNNING = "running"
    """The runner has started its Attempt."""


class Step(StrEnum):
    """The things that can happen to a Run."""

    DUE = "due"
    """Its fire time has come, or a user starts it by hand: it is recorded."""
    CLAIMED_EARLY = "claimed early"
    """Its fire time comes in a moment: it is recorded ahead of it."""
    REDRIVEN = "redriven"
    """An operator puts a dead letter back."""
    LEFT_WAITING = "left waiting"
    """An earlier daemon left it before its Attempt was recorded, or between two Attempts."""
    LEFT_HELD = "left held"
    """An earlier daemon left its Attempt held by the runner, before the fire time."""
    LEFT_RECORDED = "left recorded"
    """An earlier daemon left its Attempt recorded; nobody knows yet whether it was started."""
    LEFT_RUNNING = "left running"
    """An earlier daemon left its Attempt running."""
    READY = "ready"
    """Its time has come: it enters the queue."""
    PUT_OFF = "put off"
    """A pause, or a change of its entry, takes it out of the queue."""
    ADMITTED = "admitted"
    """The limits admit it: its Attempt is recorded, then handed to the runner."""
    ADMITTED_EARLY = "admitted early"
    """The same before its fire time: the runner holds the Attempt."""
    RELEASED = "released"
    """The fire time of a held Attempt has come: the runner may start it."""
    WITHDRAWN = "withdrawn"
    """Its Attempt was not started, and is not to be started for now."""
    GIVEN_UP = "given up"
    """It ends without an Attempt, or without a further one."""
    STARTED = "started"
    """The runner reports that its Attempt has started."""
    REFUSED = "refused"
    """The runner reports that its Attempt could not be started; the Run ends."""
    ENDED = "ended"
    """Its Attempt has ended, and with it the Run."""
    LOST = "lost"
    """Nobody knows how its Attempt ended, or whether it was started; the Run ends."""
    FAILED = "failed"
    """Its Attempt has failed in any of these three ways, and is to be retried later."""
    LEFT_TO_THE_NEXT = "left to the next daemon"
    """The daemon stops; the Run waits in the store."""


_START = None  # the Run is not alive yet
_END = None  # the Run is not alive any more

# (state, step): the next state. A pair that is not here is impossible, and KeyError says so.
TRANSITIONS: dict[tuple[State | None, Step], State | None] = {
    (_START, Step.DUE): State.WAITING,
    (_START, Step.CLAIMED_EARLY): State.WAITING,
    (_START, Step.REDRIVEN): State.WAITING,
    (_START, Step.LEFT_WAITING): State.WAITING,
    (_START, Step.LEFT_HELD): State.HELD,
    (_START, Step.LEFT_RECORDED): State.RECORDED,
    (_START, Step.LEFT_RUNNING): State.RUNNING,
    (State.WAITING, Step.READY): State.QUEUED,
    (State.WAITING, Step.GIVEN_UP): _END,
    (State.WAITING, Step.LEFT_TO_THE_NEXT): _END,
    (State.QUEUED, Step.PUT_OFF): State.WAITING,
    (State.QUEUED, Step.ADMITTED): State.RECORDED,
    (State.QUEUED, Step.ADMITTED_EARLY): State.HELD,
    (State.QUEUED, Step.GIVEN_UP): _END,
    (State.QUEUED, Step.LEFT_TO_THE_NEXT): _END,
    (State.HELD, Step.RELEASED): State.RECORDED,
    (State.HELD, Step.WITHDRAWN): State.WAITING,
    # An earlier daemon released it and died before it could write more.
    (State.HELD, Step.STARTED): State.RUNNING,
    (State.HELD, Step.ENDED): _END,
    (State.HELD, Step.REFUSED): _END,
    (State.HELD, Step.LOST): _END,
    (State.HELD, Step.FAILED): State.WAITING,
    (State.RECORDED, Step.WITHDRAWN): State.WAITING,
    (State.RECORDED, Step.STARTED): State.RUNNING,
    (State.RECORDED, Step.REFUSED): _END,
    # The Attempt was over before the daemon heard that it had started.
    (State.RECORDED, Step.ENDED): _END,
    (State.RECORDED, Step.LOST): _END,
    (State.RECORDED, Step.FAILED): State.WAITING,
    (State.RUNNING, Step.ENDED): _END,
    (State.RUNNING, Step.LOST): _END,
    (State.RUNNING, Step.FAILED): State.WAITING,
}

NOT_STARTED = (State.WAITING, State.QUEUED, State.HELD)
"""No process of the current Attempt exists."""
WITH_ATTEMPT = (State.HELD, State.RECORDED, State.RUNNING)
"""An Attempt is recorded and has not ended."""
