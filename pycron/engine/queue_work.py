"""What workers of this host have heard of: Runs that wait in queues.

A worker names a Run; whether this host may start it, the database says. Until then the Run takes a
place among those that this machine has room for, as an open question about a fire time does.
"""

from collections.abc import Callable

from pycron.engine.held_runs import HeldRuns
from pycron.engine.pauses import Pauses
from pycron.engine.shared_actions import Take, WorkRefused, WorkTaken
from pycron.engine.shared_events import SharedUntaken, WorkWanted
from pycron.engine.workspace import Workspace
from pycron.model.run import RunKey


class QueueWork:
    """The Runs that were asked for and have no answer yet.

    `room`: for how many more Runs there is room.
    """

    def __init__(
        self, workspace: Workspace, pauses: Pauses, held: HeldRuns, room: Callable[[], float]
    ) -> None:
        self._space = workspace
        self._pauses = pauses
        self._held = held
        self._room = room
        self._asked: dict[RunKey, int] = {}  # after which Attempt

    def __len__(self) -> int:
        return len(self._asked)

    def __contains__(self, run: RunKey) -> bool:
        return run in self._asked

    def want(self, run: RunKey, event: WorkWanted, *, ready: bool) -> None:
        """A worker has heard of a Run."""
        live = self._space.live.get(run)
        number = None if live is None else self._held.number_of(run, live)
        if event.resume and number == event.number + 1:
            self._space.out.works.append(WorkTaken(run, event.number))
        elif live is not None or run in self._asked:
            self._refuse(run, event.number, "it is known here already")
        elif (why := self._why_not_now(run, event, ready=ready)) is not None:
            self._refuse(run, event.number, why, again=True)
        else:
            self._asked[run] = event.number
            self._space.out.questions.append(Take(event.shared, event.number, event.queue))

    def _why_not_now(self, run: RunKey, event: WorkWanted, *, ready: bool) -> str | None:
        if self._space.stopping:
            return "the daemon is ending"
        if not ready:
            return "the database of the cluster cannot be asked"
        if (pause := self._pauses.of_run(event.shared.owner, run.job_id)) is not None:
            return f"paused by {pause.by}"
        return "there is no room on this machine" if self._room() <= 0 else None

    def answered(self, run: RunKey) -> None:
        """The Run is this host's."""
        self._asked.pop(run, None)

    def untaken(self, run: RunKey, event: SharedUntaken) -> None:
        """The Run is not this host's, as far as this question goes."""
        if self._asked.pop(run, None) is not None:
            self._refuse(run, event.number, event.reason)

    def reopen(self) -> None:
        """There will be no answers to the questions that are open."""
        for run, number in self._asked.items():
            self._refuse(run, number, "the database of the cluster cannot be asked", again=True)
        self._asked.clear()

    def _refuse(self, run: RunKey, number: int, reason: str, *, again: bool = False) -> None:
        self._space.out.works.append(WorkRefused(run, number, reason, again))
