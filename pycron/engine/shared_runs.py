"""Shared Runs, as far as this host decides about them.

The database of the cluster decides which host has a Run. For each fire time the engine asks, while
there is room for one more Run here; there is one open question about a Run at a time. A Run that
this host has becomes a Run like any other, with an Attempt of the number that the database has
given (held_runs.py). Its end is recorded, and told to the database until that has answered. A Run
that waits in a queue is asked for when a worker has heard of it (queue_work.py).
"""

import math
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace

from pycron.crontab.entries import Entries
from pycron.crontab.identity import shared_run
from pycron.engine.actions import RecordCursor
from pycron.engine.held_runs import HeldRuns
from pycron.engine.pauses import Pauses
from pycron.engine.queue_work import QueueWork
from pycron.engine.runs import Runs
from pycron.engine.shared_actions import (
    Accept,
    Ask,
    RecordSharedCursor,
)
from pycron.engine.shared_events import (
    ClusterReady,
    SharedEvent,
    SharedHeld,
    SharedLater,
    SharedOffered,
    SharedReported,
    SharedSettled,
    SharedStopped,
    SharedUntaken,
    WorkWanted,
)
from pycron.engine.shared_terms import terms_of
from pycron.engine.shared_times import Fire, SharedTimes
from pycron.engine.timetable import Timetable
from pycron.engine.workspace import Workspace
from pycron.model.job import Job
from pycron.model.run import RunKey
from pycron.model.settings import CatchUp
from pycron.model.shared import Hold, SharedEnd, SharedKey
from pycron.schedule.zone import Zone

_AGAIN = 1.0  # seconds until the next question, if nothing was decided
_AGAIN_IN_PAUSE = 5.0  # seconds
_CURSOR_INTERVAL = 60.0  # seconds between two records of the cursor alone
_AT_ONCE = 64  # questions of one event; local Jobs do not wait for more
_HAD_ENDED = "it had ended before"
_MOST_REASONS = 4096  # answers that `why` can still tell


@dataclass(frozen=True, slots=True)
class SharedState:
    """What an earlier daemon left: Attempts that this host has, and ends that are to be told.

    `cluster`: its name; None if this host is in none. `cursor`: the UTC second after which fire
    times may have no row.
    """

    cluster: str | None = None
    cursor: int | None = None
    holds: tuple[Hold, ...] = ()
    ends: tuple[SharedEnd, ...] = ()


NO_CLUSTER = SharedState()


class SharedRuns:
    """The questions that are open, the Runs that this host has, and the ends to be told."""

    def __init__(
        self,
        state: SharedState,
        workspace: Workspace,
        runs: Runs,
        pauses: Pauses,
        timetable: Timetable,
        zone_of: Callable[[str | None], Zone],
    ) -> None:
        self.cluster = state.cluster or ""
        self.is_on = state.cluster is not None
        self.served: Collection[str] | None = None  # the queues that workers of any host serve
        self._space = workspace
        self._live = workspace.live
        self._runs = runs
        self._pauses = pauses
        self._timetable = timetable
        self._zone_of = zone_of
        self._times = SharedTimes(timetable, self.cluster, self._live.__contains__)
        self.held = HeldRuns(
            self.cluster, state.holds, state.ends, workspace, runs,
            lambda run: timetable.shared_job(run.job_id),
        )  # fmt: skip
        self._work = QueueWork(workspace, pauses, self.held, self._room)
        self._accepted: dict[RunKey, int] = {}  # open questions about offers, and their Attempts
        self._reasons: dict[RunKey, str] = {}
        self._ready = False
        self._recorded = state.cursor
        self._recorded_at = -math.inf  # monotonic
        self._full = False  # whether there was no room at the last look

    # ---- for reading

    @property
    def questions(self) -> int:
        """How many fire times wait for an answer of the database."""
        return len(self._times)

    def why(self, run: RunKey) -> str | None:
        """Why a shared fire time has no Run here, as far as it is known."""
        fire = self._times.get(run)
        if fire is None:
            return self._reasons.get(run)
        if fire.why is not None:
            return fire.why
        return None if self._ready else "the database of the cluster cannot be asked"

    def next_wakeup(self) -> float:
        """The UTC second at which there is something to do; infinity if there is none."""
        if not self.is_on:
            return math.inf
        if not self._ready:
            return self._times.next_fire_time()
        turn = self._times.next_turn()
        if self._full:
            turn = max(turn, self._space.now.wall + _AGAIN)
        return min(turn, self._times.next_turn(queued=True), self._times.next_fire_time())

    # ---- questions

    def work(self) -> None:
        """Take what has come, and ask as long as there is room."""
        if not self.is_on or self._space.stopping:
            return
        now = self._space.now.wall
        for run in self._times.take(now):
            self._live.came(run.job_id, run.fire_time)
        if self._ready:
            self._full = False
            if self._times.next_turn(queued=True) <= now:
                self._ask(now, math.inf, queued=True)  # they take no room here
            if self._times.next_turn() <= now:
                self._full = self._ask(now, self._room(), queued=False)
        self._record_cursor()

    def _ask(self, now: float, room: float, *, queued: bool) -> bool:
        """Ask for what is due; whether there was no room for more. `queued`: for queue Jobs."""
        left = _AT_ONCE
        if room <= 0:
            return True
        for run, fire in self._times.due(now, queued=queued):
            job = fire.job
            if (pause := self._pauses.of(job)) is not None:
                self._times.put_off(run, now + _AGAIN_IN_PAUSE, f"paused by {pause.by}")
                continue
            if run in self._accepted or run in self._work or run in self._live:
                self._times.put_off(run, now + _AGAIN, None)
                continue
            self._times.ask(run)
            self._space.out.questions.append(self._question(run, job))
            room, left = room - 1, left - 1
            if room <= 0 or left <= 0:
                break
        return room <= 0

    def _question(self, run: RunKey, job: Job) -> Ask:
        terms = terms_of(job, run.fire_time, self.cluster, self._zone_of)
        if job.settings.catch_up is CatchUp.LATEST and not self._times.is_latest(run):
            terms = replace(terms, catch_up=False)
        return Ask(SharedKey(job.user, job.name, run.fire_time), terms)

    def _room(self) -> float:
        """For how many more Runs there is room, with those that are asked for already."""
        admission = self._space.admission
        if admission.closed:
            return 0
        most = admission.limits.running
        if most is None:
            return math.inf
        asked = len(self._accepted) + len(self._work) + self._times.asked
        return most - admission.running - self.held.waiting - asked

    def _record_cursor(self) -> None:
        """With other records of this event, or once in a while."""
        cursor = self._times.cursor
        if cursor == self._recorded:
            return
        steady = self._space.now.steady
        others = any(type(each) is not RecordCursor for each in self._space.out.records)
        if others or steady - self._recorded_at >= _CURSOR_INTERVAL:
            self._recorded, self._recorded_at = cursor, steady
            self._space.out.records.append(RecordSharedCursor(cursor))

    # ---- what the agent says

    def handle(self, event: SharedEvent) -> None:
        if not self.is_on:
            return
        match event:
            case ClusterReady():
                self._connect(event)
            case SharedHeld():
                self._held(event)
            case SharedSettled():
                self._settled(event)
            case SharedLater():
                self._later(event)
            case SharedUntaken():
                self._work.untaken(shared_run(self.cluster, event.shared), event)
            case SharedOffered():
                self._offered(event)
            case SharedStopped():
                self._stopped(event)
            case SharedReported():
                self.held.reported(shared_run(self.cluster, event.shared), event)
            case WorkWanted():
                run = shared_run(self.cluster, event.shared)
                self._work.want(run, event, ready=self._ready)

    def _connect(self, event: ClusterReady) -> None:
        self._ready = event.ready
        if event.again or not event.ready:
            self._times.reopen(self._space.now.wall)
            self._accepted.clear()
            self._work.reopen()
        if event.again and event.ready:
            self.held.tell_again()

    def _held(self, event: SharedHeld) -> None:
        run = event.hold.run
        self._accepted.pop(run, None)
        self._work.answered(run)
        if self._space.stopping:
            return  # the next daemon hears of it again
        fire = self._answer(run, None)
        if self.held.take(event, fire.job if fire else None):
            self._answer(run, "it ran here")

    def _settled(self, event: SharedSettled) -> None:
        run = shared_run(self.cluster, event.shared)
        if event.number:
            self._accepted.pop(run, None)
        else:
            self._answer(run, event.reason)

    def _later(self, event: SharedLater) -> None:
        run = shared_run(self.cluster, event.shared)
        if event.number:
            self._accepted.pop(run, None)
        else:
            self._times.put_off(run, self._space.now.wall + _AGAIN, event.reason)

    def _answer(self, run: RunKey, reason: str | None) -> Fire | None:
        """A fire time has its answer; `reason`: why this host does not run it."""
        if reason is not None:
            if len(self._reasons) >= _MOST_REASONS:
                del self._reasons[next(iter(self._reasons))]
            self._reasons[run] = reason
        return self._times.answered(run)

    def _offered(self, event: SharedOffered) -> None:
        run = shared_run(self.cluster, event.shared)
        fire = self._times.get(run)
        asked = run in self._accepted or (fire is not None and fire.asked)
        if not self._ready or asked or run in self._live or self._room() <= 0:
            return
        job = self._timetable.shared_job(run.job_id)
        if self._space.stopping or job is None or self._pauses.of(job) is not None:
            return
        self._accepted[run] = event.number
        terms = terms_of(job, run.fire_time, self.cluster, self._zone_of)
        self._space.out.questions.append(Accept(event.shared, event.number, terms))

    def _stopped(self, event: SharedStopped) -> None:
        run = shared_run(self.cluster, event.shared)
        live = self._live.get(run)
        if live is not None and self.held.number_of(run, live) == event.number:
            self._runs.stop(run, event.reason)

    # ---- Runs that this host has

    def resumed(self, run: RunKey) -> None:
        """An earlier daemon has left a Run."""
        self.held.resumed(run)

    def note_ends(self) -> None:
        """Tell the database of what has ended in this event; begin what waited for it."""
        if self.is_on:
            self.held.note_ends()

    # ---- tables

    def follow_table(self, name: str, old: Entries | None, new: Entries | None) -> None:
        """A table has changed, or is gone."""
        if self.is_on:
            self._times.replace(name, old, new, self._space.now.wall)
