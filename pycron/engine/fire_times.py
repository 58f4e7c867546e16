"""Fire times that have come become Runs, a part of them in each Tick; or they are refused.

A table may have thousands of fire times at one instant. To take up all of them at once would keep
the daemon from other users' starts and from its clients for seconds.
"""

import math
import sys
from collections.abc import Iterable
from dataclasses import replace

from pycron.engine import reports
from pycron.engine.actions import RecordCursor, RecordRefused
from pycron.engine.claim_ahead import Claims
from pycron.engine.cursor import Cursor
from pycron.engine.intake import DueFire, Intake
from pycron.engine.refusals import Refusals
from pycron.engine.runs import Runs
from pycron.engine.timetable import Timetable
from pycron.engine.workspace import Workspace
from pycron.model.job import Job
from pycron.model.run import RunKey

# Runs that come to be in one Tick: more of them would keep the daemon from other users' starts for
# more than a few hundredths of a second; with fewer, a slow disk would limit how many start.
SLICE_RUNS = 64
_WORK_WITHOUT_RUN = 1 / 16  # of the work of a Run: a fire time that gets none
_CLAIMED_AT_LEAST = 1 / 5  # of a slice, also while many fire times wait to be taken up
_TABLE_CHANGED = "its table was changed before its turn came"


class FireTimes:
    """Between the timetable, which hands out fire times, and the Runs.

    `begun`: Runs that were recorded before their fire time. `slice_runs`: how many Runs come to be
    in one Tick. `users_changed`: there may be other users who have Jobs.
    """

    def __init__(
        self,
        workspace: Workspace,
        timetable: Timetable,
        runs: Runs,
        begun: Iterable[RunKey],
        slice_runs: int,
    ) -> None:
        self.users_changed = False
        self._space = workspace
        self._timetable = timetable
        self._runs = runs
        self._claims = Claims(timetable, begun)
        self._intake = Intake()
        self._refusals = Refusals()
        self._found_full: set[str] = set()  # users whose queue was full during this event
        self._slice = slice_runs
        self._more_is_due = False  # in the timetable

    def begin_event(self) -> None:
        """Another event is handled: who had no room may have room again."""
        self._found_full.clear()

    @property
    def pending(self) -> bool:
        """Whether fire times wait to be taken up or claimed in another Tick."""
        return bool(self._intake or self._claims.pending or self._more_is_due)

    def wakeup(self) -> float | None:
        """The UTC second at which there is a fire time to claim or to take up."""
        return self._claims.wakeup(others_wait=self._others_wait)

    def note_begun(self, run: RunKey) -> None:
        """This Run is recorded; its fire time may still be handed out."""
        self._claims.add(run)

    def reconsider(self) -> None:
        """Tables or zones have changed, so other Runs may be due next."""
        self._claims.reconsider()

    def boot(self, run: RunKey, job: Job) -> None:
        """The Run of an @reboot Job begins, unless it is there already."""
        self._space.live.came(job.id, run.fire_time)
        if not self._is_known(run):
            self._runs.come(run, job)

    def run_once(self, run: RunKey, job: Job) -> None:
        """A Run begins now; its delay and its start deadline count from now, too."""
        self._space.live.came(job.id, run.fire_time)
        if not self._is_known(run):
            now = self._space.now.wall
            self._runs.come(run, job, now)
            if run in self._space.live:
                self._space.live[run].asked = now

    # ---- what has come

    def take_up(self, awake: float, *, at_once: bool) -> float:
        """Take up what is due: a part, or with `at_once` all of it.

        Returns how many more Runs might have come to be. `awake`: as for Timetable.take_due.
        """
        self._look_at_users()
        most, left = (sys.maxsize, math.inf) if at_once else (self._slice, float(self._slice))
        self._take_from_timetable(awake, most)
        while left > 0:
            due = self._intake.take()
            if due is not None:
                left -= self._take_up(due)
            elif self._more_is_due:
                self._take_from_timetable(awake, most)
            else:
                break
        return min(left, self._slice)

    def take_all(self, awake: float) -> None:
        """Take everything that is due from the timetable, because its tables change."""
        self._take_from_timetable(awake, sys.maxsize)

    def _take_from_timetable(self, awake: float, most: int) -> None:
        """A table that has fire times in the intake keeps its others: the intake stays small."""
        now = self._space.now.wall
        busy = self._intake.tables if most < sys.maxsize else ()
        self._intake.add(self._timetable.take_due(now, awake, most, busy))
        fire = self._timetable.next_fire_time()
        self._more_is_due = fire is not None and fire <= now

    def leave_table(self, name: str) -> None:
        """Take up what is left of a table that changes; of very much, the rest gets no Run."""
        due = self._intake.take_table(name)
        left = float(self._slice)
        for each in due:
            fire, _, entries, index = each
            if left > 0:
                left -= self._take_up(each)
            else:
                self._refusals.add(entries.context(index).user, fire, _TABLE_CHANGED)
        if due:
            self.record_cursor()

    def record_cursor(self) -> None:
        """Record how far all fire times were taken up, and those that got no Run."""
        space, cursor, earliest = self._space, self._timetable.cursor, self._earliest_left()
        ranges = self._refusals.take()
        space.out.records += [RecordRefused(each) for each in ranges]
        space.out.logs += map(reports.refused, self._refusals.to_be_logged(ranges, space.now.wall))
        self._settle_followers(earliest, cursor)
        if earliest is None:
            self._claims.forget_until(space.now.wall)
        else:
            before = earliest - 1
            cursor = replace(cursor, fixed=min(cursor.fixed, before), wall=min(cursor.wall, before))
            self._claims.forget_until(before)
        if not self._timetable.closed:
            space.out.records.append(RecordCursor(cursor))

    def _settle_followers(self, earliest: int | None, cursor: Cursor) -> None:
        """Tell the Runs that wait for others which fire times have been taken up.

        `earliest`: the first one that has not. `cursor`: how far they have been handed out.
        """

        def is_taken_up(run: RunKey, wall: bool) -> bool:
            if earliest is not None and earliest <= run.fire_time:
                return False
            if wall or self._timetable.closed:
                return self._timetable.has_passed(run.fire_time, run.pass_number)
            return run.fire_time <= cursor.fixed

        until = min(cursor.fixed, cursor.wall)
        until = until if earliest is None else min(until, earliest - 1)
        self._runs.followers.settle(is_taken_up, until)

    def _earliest_left(self) -> int | None:
        """The first fire time that has come and is not taken up; None if there is none.

        It may be in the timetable still: a Tick takes a part of what is due.
        """
        due = self._timetable.next_fire_time() if self._more_is_due else None
        return min((fire for fire in (self._intake.earliest(), due) if fire is not None),
                   default=None)  # fmt: skip

    def _take_up(self, due: DueFire) -> float:
        """Take up one fire time; what part of the work of a Run that was."""
        fire, pass_number, entries, index = due
        run = RunKey(entries.id(index), fire, pass_number)
        self._space.live.came(run.job_id, fire)
        if self._is_known(run):
            return _WORK_WITHOUT_RUN
        user = entries.context(index).user
        refusal = self._refusal(user)
        if refusal is not None:
            self._refusals.add(user, fire, refusal)
            return _WORK_WITHOUT_RUN
        job = entries[index]
        self._runs.come(RunKey(job.id, fire, pass_number), job)  # the text of the id is kept once
        return 1.0

    def _is_known(self, run: RunKey) -> bool:
        return run in self._claims or run in self._space.live

    def _refusal(self, user: str) -> str | None:
        """Why a fire time of a user gets no Run; a Run that may start at once does not wait."""
        reason = self._runs.full_for(user)
        if reason is not None and user not in self._found_full:
            self._runs.admit()
            reason = self._runs.full_for(user)
            if reason is not None:
                self._found_full.add(user)
        return reason

    def _look_at_users(self) -> None:
        if self.users_changed:
            self.users_changed = False
            self._space.admission.know_users(self._timetable.users_of_pools())

    # ---- what comes in a moment

    def claim(self, most: float) -> None:
        """Claim the Runs that nothing can keep from starting; the others wait for their time."""
        left = max(most, _CLAIMED_AT_LEAST * self._slice)
        now = self._space.now.wall
        while left > 0:
            due = self._claims.take(now, others_wait=self._others_wait)
            if due is None:
                return
            left -= self._claim(due)

    def _claim(self, due: DueFire) -> float:
        fire, pass_number, entries, index = due
        run = RunKey(entries.id(index), fire, pass_number)
        if self._is_known(run) or self._refusal(entries.context(index).user):
            return _WORK_WITHOUT_RUN
        job = entries[index]
        if self._runs.is_undisputed(job):
            self._claims.add(run)
            self._runs.claim(run, job)
        return 1.0

    @property
    def _others_wait(self) -> bool:
        return self._space.admission.waiting > 0
