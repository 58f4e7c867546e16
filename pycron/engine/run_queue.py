"""The queue: Runs whose time has come enter it, and leave it again for a pause or a change."""

import math
from collections.abc import Iterator

from pycron.engine.limits import reserved
from pycron.engine.live_runs import Live
from pycron.engine.pauses import Pauses
from pycron.engine.states import Step
from pycron.engine.workspace import Workspace
from pycron.model.run import RunKey


class RunQueue:
    """The Runs that wait for the limits, or for the end of the pause of their Job."""

    def __init__(self, workspace: Workspace, pauses: Pauses) -> None:
        self._space = workspace
        self._pauses = pauses
        self._entered: list[RunKey] = []  # during this event

    def enqueue(self, run: RunKey, live: Live) -> None:
        """Put a Run into the queue, now or when the pause of its Job is over."""
        if self._pauses.of(live.job):
            live.put_off = True
            return
        self._space.live.step(run, Step.READY)
        self._space.admission.enqueue(run, live.job, live.due)
        self._entered.append(run)
        deadline = live.job.settings.start_deadline
        if deadline is not None and not live.number:
            self._space.timers.set(math.nextafter(live.planned + deadline, math.inf), run)

    def enqueue_again(self, run: RunKey, live: Live) -> None:
        live.put_off = False
        self.enqueue(run, live)

    def full_for(self, user: str) -> str | None:
        """Why a fire time of this user gets no Run: too many Runs wait. None if there is room.

        Runs that wait for the end of a delay or of a pause count, too. An eighth of limits.waiting
        is kept for users who have nothing waiting.
        """
        live, limits = self._space.live, self._space.admission.limits
        of_user, most, most_of_user = live.waiting.get(user, 0), limits.waiting, limits.user_waiting
        if most_of_user is not None and of_user >= most_of_user:
            return f"the queue of {user} is full (limits.user_waiting is {most_of_user})"
        if most is None or live.all_waiting < most - (reserved(most) if of_user else 0):
            return None
        if live.all_waiting < most and not self._others_have_nothing_waiting():
            return None
        return f"the queue is full (limits.waiting is {most})"

    def _others_have_nothing_waiting(self) -> bool:
        return not self._space.admission.users <= self._space.live.waiting.keys()

    def put_off(self, run: RunKey, live: Live) -> None:
        """Take a Run out of the queue for now."""
        self._space.admission.withdraw(run)
        self._space.live.step(run, Step.PUT_OFF)
        live.put_off = True

    def take_overflow(self) -> Iterator[tuple[RunKey, str]]:
        """The Runs that entered during this event and are too many, the last one first; and why."""
        entered, self._entered = self._entered, []
        for run in reversed(entered):
            waits = self._space.admission.is_waiting(run) and not self._space.live[run].number
            if waits and (reason := self._space.admission.queue_full(run)):
                yield run, reason
