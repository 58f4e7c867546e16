"""The shared Runs that this host has, and the ends of their Attempts, to be told to the database.

What must not happen: an Attempt that starts twice. So a Run is begun only if nothing is known of
the Attempt here: it is not alive, its end does not wait to be told, and the history has no end of
it. While an earlier Attempt of the Run is still being ended here, the next one waits.
"""

from collections.abc import Callable

from pycron.engine.actions import Decisions, RecordEnded, RecordNotStarted, RecordRevived
from pycron.engine.live_runs import Live
from pycron.engine.runs import Runs
from pycron.engine.shared_actions import (
    Finish,
    RecordHold,
    RecordReported,
    RecordSharedEnd,
    Take,
    WorkDone,
    WorkTaken,
)
from pycron.engine.shared_events import SharedHeld, SharedReported
from pycron.engine.start_times import start_delay
from pycron.engine.states import State, Step
from pycron.engine.workspace import Workspace
from pycron.model.job import Job
from pycron.model.run import AttemptKey, Outcome, Redrive, RunKey
from pycron.model.shared import Hold, SharedEnd

_HAD_ENDED = "it had ended before"


class HeldRuns:
    """`job_of`: the Job of an entry of this host; None if there is no such entry."""

    def __init__(
        self,
        cluster: str,
        holds: tuple[Hold, ...],
        ends: tuple[SharedEnd, ...],
        workspace: Workspace,
        runs: Runs,
        job_of: Callable[[RunKey], Job | None],
    ) -> None:
        self._cluster = cluster
        self._space = workspace
        self._live = workspace.live
        self._runs = runs
        self._job_of = job_of
        self._holds = {hold.run: hold for hold in holds}
        self._ends = {end.hold.attempt: end for end in ends}
        self._next: dict[RunKey, SharedHeld] = {}  # begin when the Attempt before has ended
        self._noted_of: Decisions | None = None
        self._noted = 0  # how many of its records note_ends() has seen

    # ---- for reading

    def hold(self, run: RunKey) -> Hold | None:
        return self._holds.get(run)

    @property
    def waiting(self) -> int:
        """How many of them wait for the limits of this machine."""
        admission = self._space.admission
        return sum(not admission.is_admitted(run) for run in self._holds)

    def number_of(self, run: RunKey, live: Live) -> int:
        """The number of the Attempt that runs here, or is about to begin."""
        hold = self._holds.get(run)
        return hold.attempt.number if hold else live.number

    def running(self) -> list[tuple[Hold, int]]:
        """The Attempts that are started here, or are to be started now; with their kill_after."""
        found = []
        for run, hold in self._holds.items():
            live = self._live.get(run)
            if live is not None and live.state in (State.RECORDED, State.RUNNING):
                found.append((hold, live.job.settings.kill_after))
        return found

    # ---- what the database says

    def take(self, event: SharedHeld, job: Job | None) -> bool:
        """This host has an Attempt. `job`: that of the question which this answers.

        Returns whether the Attempt had ended here already.
        """
        hold = event.hold
        run, number = hold.attempt
        live, end = self._live.get(run), self._ends.get(hold.attempt)
        if end is not None:
            self._space.out.questions.append(Finish(end))
        elif live is not None:
            if number > self.number_of(run, live):
                self._next[run] = event
        elif event.ended is not None:
            self._tell(SharedEnd(hold, event.ended, _HAD_ENDED))
        else:
            self._begin_or_refuse(event, job)
        return end is not None or (live is None and event.ended is not None)

    def reported(self, run: RunKey, event: SharedReported) -> None:
        """The database has heard of the end of an Attempt."""
        attempt = AttemptKey(run, event.number)
        end = self._ends.get(attempt)
        if end is not None and end.hold.incarnation == event.incarnation:
            del self._ends[attempt]
            late = None if end.reason == _HAD_ENDED else event.late  # it was told before
            self._space.out.records.append(RecordReported(event.shared, attempt, late))

    def tell_again(self) -> None:
        """There is another connection to the agent: all ends are told anew."""
        self._space.out.questions += [Finish(end) for end in self._ends.values()]

    def _begin_or_refuse(self, event: SharedHeld, job: Job | None) -> None:
        """A Run of a queue is what the database says, also if this host has an entry of its Job."""
        hold = event.hold
        job = event.job if hold.queue is not None else job or self._job_of(hold.run)
        if job is not None:
            self._begin(hold, job, event.redrive)
        elif event.problem is not None:
            self._tell(SharedEnd(hold, Outcome.FAILED, event.problem))
        elif hold.queue is not None:
            self._space.out.questions.append(Take(hold.shared, hold.attempt.number - 1, hold.queue))
        else:
            self._tell(SharedEnd(hold, Outcome.MISSED, "its entry is not on this host any more"))

    def _begin(self, hold: Hold, job: Job, redrive: Redrive | None) -> None:
        """The Run is one of this host's now; it queues for the limits of the machine.

        A redriven one has as many retries as it had, counted from then on.
        """
        run, number = hold.attempt
        self._space.out.records.append(RecordHold(hold, job))
        planned = float(run.fire_time + start_delay(job, self._cluster))
        live = self._live.enter(run, job, planned, Step.DUE)
        live.number, live.incarnation = number - 1, hold.incarnation
        if redrive is not None:
            live.redrive = redrive
            self._space.out.records.append(RecordRevived(run, redrive))
        self._holds[run] = hold
        if hold.queue is not None:
            self._space.out.works.append(WorkTaken(run, number - 1))
        if number == 1:
            self._runs.deliveries.came(run, job)
        self._runs.queue.enqueue(run, live)

    # ---- what becomes of them

    def resumed(self, run: RunKey) -> None:
        """An earlier daemon has left a Run: it goes on under the same number and incarnation."""
        hold, live = self._holds.get(run), self._live.get(run)
        if hold is None or live is None:
            return
        live.incarnation = hold.incarnation
        if live.state is State.WAITING and not live.number:
            live.number = hold.attempt.number - 1
            live.planned = float(run.fire_time + start_delay(live.job, self._cluster))
            self._space.timers.set(live.planned, run)

    def note_ends(self) -> None:
        """Tell the database of what has ended in this event; begin what waited for it."""
        out = self._space.out
        if out is not self._noted_of:
            self._noted_of, self._noted = out, 0
        records, self._noted = out.records[self._noted :], len(out.records)
        if not self._holds:
            return
        for record in records:
            match record:
                case RecordEnded(attempt=attempt):
                    hold = self._holds.get(attempt.run)
                    if hold is not None and hold.attempt == attempt:
                        self._end(hold, record.outcome, record.reason, record.retry_at)
                case RecordNotStarted(run=run):
                    if (hold := self._holds.get(run)) is not None:
                        self._end(hold, record.outcome, record.reason, None)

    def _end(
        self, hold: Hold, outcome: Outcome, reason: str | None, retry_at: float | None
    ) -> None:
        del self._holds[hold.run]
        self._tell(SharedEnd(hold, outcome, reason, retry_at))
        following = self._next.pop(hold.run, None)
        if following is not None and not self._space.stopping:
            self._begin_or_refuse(following, None)

    def _tell(self, end: SharedEnd) -> None:
        self._ends[end.hold.attempt] = end
        self._space.out.records.append(RecordSharedEnd(end))
        self._space.out.questions.append(Finish(end))
        if end.hold.queue is not None:
            run, number = end.hold.attempt
            self._space.out.works.append(WorkDone(run, number - 1, end.outcome, end.reason))
