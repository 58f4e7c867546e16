"""A Run from its fire time until its Attempt is handed over, or the Run is given up.

The states and their steps are in states.py. What happens to an Attempt is in attempts.py; which
Runs the limits admit, in admission.py. Which Runs an event concerns is decided in engine.py.
"""

import math
from collections.abc import Callable, Mapping

from pycron.engine import reports
from pycron.engine.actions import RecordNotStarted, RecordRevived, RecordRun, RecordTakenUp
from pycron.engine.attempts import AttemptEnd, Attempts
from pycron.engine.concurrency import meet
from pycron.engine.deliveries import Deliveries, DeliveryState, RunEnd
from pycron.engine.events import Redriven, Resumed, SkippedFollower, Started
from pycron.engine.followers import Followers
from pycron.engine.live_runs import Live
from pycron.engine.pauses import Pauses, in_words
from pycron.engine.run_queue import RunQueue
from pycron.engine.start_times import start_delay, too_late
from pycron.engine.states import NOT_STARTED, WITH_ATTEMPT, State, Step
from pycron.engine.workspace import Workspace
from pycron.model.job import Job
from pycron.model.pause import Pause, scopes_of
from pycron.model.run import AttemptKey, Outcome, Redrive, RunKey
from pycron.model.settings import CatchUp, Concurrency, concurrency_of
from pycron.schedule.expressions import After, NoSchedule, Reboot

_REPLACED = "replaced by the next fire time"
_LOOK_AGAIN = 1.0  # seconds, for a delivery that waits for another one
_SUPERSEDED = "the next fire time came before the retry"


class Runs:
    """The live Runs.

    `has_passed`: whether the timetable will not hand out a fire time (again) in this pass.
    `was_missed`: whether no daemon was running at a UTC second. `host`: the value that the delays
    of CRON_JITTER depend on, besides the Job. `longest_ahead` and `ended`: see Attempts and
    Followers.
    """

    def __init__(
        self,
        workspace: Workspace,
        pauses: Pauses,
        has_passed: Callable[[int, int], bool],
        was_missed: Callable[[float], bool],
        host: str,
        longest_ahead: float,
        deliveries: DeliveryState,
        ended: Mapping[RunKey, Outcome],
    ) -> None:
        self._space = workspace
        self._live = workspace.live
        self._admission = workspace.admission
        self.attempts = Attempts(workspace, longest_ahead)
        self.followers = Followers(workspace.live, ended)
        self.queue = RunQueue(workspace, pauses)
        self.deliveries = Deliveries(workspace, deliveries, self.queue)
        self._pauses = pauses
        self._has_passed = has_passed
        self._was_missed = was_missed
        self._host = host

    # ---- time

    def next_wakeup(self) -> float:
        """The UTC second at which the time of a Run comes; infinity if there is none."""
        held = min(self._live.held.values(), default=math.inf)
        return min(self._space.timers.next(), held - self.attempts.release_ahead(busy=False))

    def take_timers(self) -> None:
        """Look at the Runs whose timer has come: they are due, or too late to start."""
        while (timer := self._space.timers.take(self._space.now.wall)) is not None:
            when, run = timer
            live = self._live.get(run)
            if live is None:
                continue
            if live.state is State.WAITING and live.planned == when:
                self._arrive(run, live)
            elif live.state is State.QUEUED and not live.number and when > live.planned:
                self._give_up_if_late(run, live)

    # ---- Runs that come to be

    def is_ahead(self, run: RunKey, job: Job) -> bool:
        """Whether the fire time of a Run is still to come.

        A fire time that came before the clock was set back has come.
        """
        if run.fire_time <= self._space.now.wall or isinstance(job.schedule, Reboot | NoSchedule):
            return False
        return not self._has_passed(run.fire_time, run.pass_number)

    def is_undisputed(self, job: Job) -> bool:
        """Whether nothing but a limit can keep a Job from starting, as far as is known."""
        if start_delay(job, self._host) or self._pauses.of(job) or isinstance(job.schedule, After):
            return False
        settings = job.settings
        free = concurrency_of(settings) is Concurrency.ALLOW and not settings.retries
        return free or not self._live.of_job(job.id)

    def come(self, run: RunKey, job: Job, planned: float | None = None) -> None:
        """A fire time has come: its Run starts, or waits for `planned`, as CRON_JITTER says."""
        self._supersede_retries(job)
        self._space.out.records.append(RecordRun(run, job))
        when = self._planned(run, job) if planned is None else planned
        live = self._live.enter(run, job, when, Step.DUE)
        if planned is None:  # else it is not late, however long ago its fire time was
            self.deliveries.came(run, job)
        if isinstance(job.schedule, After):
            self.followers.wait(run, job.schedule)
        else:
            self._arrive_when_planned(run, live)

    def _arrive_when_planned(self, run: RunKey, live: Live) -> None:
        if live.planned > self._space.now.wall:
            self._space.timers.set(live.planned, run)
        else:
            self._arrive(run, live)

    def full_for(self, user: str) -> str | None:
        """Why a fire time of this user gets no Run; None if it gets one."""
        return self.queue.full_for(user)

    def claim(self, run: RunKey, job: Job) -> None:
        """A fire time comes in a moment: its Run is recorded and queued already."""
        self._space.out.records.append(RecordRun(run, job))
        self.queue.enqueue(
            run, self._live.enter(run, job, float(run.fire_time), Step.CLAIMED_EARLY)
        )
        self.deliveries.came(run, job)

    def start_by_hand(self, run: RunKey, job: Job, by: str, *, force: bool) -> None:
        """A user starts a Job now; with `force`, regardless of limits and pauses."""
        self._space.out.records.append(RecordRun(run, job, by))
        self._space.out.logs.append(reports.by_hand(run, job, by, force=force))
        live = self._live.enter(run, job, self._space.now.wall, Step.DUE)
        self.deliveries.came(run, job)
        if not force:
            self._arrive(run, live)
            return
        self._admission.admit_past_limits(run, job)
        self._live.step(run, Step.READY)
        self._begin(run)

    def redrive(self, event: Redriven) -> None:
        """A dead letter starts once more, at once, with as many retries as it had."""
        run, now = event.attempt.run, self._space.now.wall
        live = self._live.enter(run, event.job, now, Step.REDRIVEN)
        live.number, live.outcome = event.attempt.number, Outcome.FAILED
        live.redrive = Redrive(live.number, now)
        self._space.out.records.append(RecordRevived(run, live.redrive))
        self.followers.revived(run)
        self.queue.enqueue(run, live)
        for skipped in event.followers:
            self._take_up(skipped)

    def _take_up(self, skipped: SkippedFollower) -> None:
        """A Run was skipped because of one that was redriven: it waits for that again."""
        run, schedule = skipped.run, skipped.job.schedule
        if run not in self._live and isinstance(schedule, After):
            self._space.out.records.append(RecordTakenUp(run))
            self.followers.revived(run)
            self._live.enter(run, skipped.job, self._space.now.wall, Step.REDRIVEN)
            self.followers.wait_again(run, schedule, skipped.ended)

    def resume(self, event: Resumed) -> None:
        """Take up a Run where an earlier daemon left it."""
        run = event.attempt.run
        step = self._step_of(event)
        live = self._live.enter(run, event.job, self._planned(run, event.job), step)
        live.number, live.redrive, live.gone = event.attempt.number, event.redrive, event.gone
        live.outcome, live.exit_status, live.printed = (
            event.outcome, event.exit_status, event.printed
        )  # fmt: skip
        live.pid, live.started = event.pid, event.started
        if event.latest is not None:
            self._live.came(event.job.id, event.latest)
        if live.state in WITH_ATTEMPT:
            self._admission.admit_past_limits(run, event.job)
            return
        live.planned = event.retry_at or live.planned
        schedule = event.job.schedule
        if event.gone:
            self.lose_entry(run, live)
        elif isinstance(schedule, After) and not live.number and not run.is_by_hand:
            self.deliveries.resumed(run, live)
            self.followers.wait_again(run, schedule, event.awaited)
        elif not live.number and self._missed_its_delay(live):
            self.give_up(run, Outcome.MISSED, "the daemon was not running")
        else:
            self.deliveries.resumed(run, live)
            self._space.timers.set(live.planned, run)

    def _step_of(self, event: Resumed) -> Step:
        """Where the earlier daemon left the Run."""
        if not event.attempt.number or event.outcome is not None:
            return Step.LEFT_WAITING
        if event.pid is not None:
            return Step.LEFT_RUNNING
        ahead = self.is_ahead(event.attempt.run, event.job)
        return Step.LEFT_HELD if ahead else Step.LEFT_RECORDED

    def _missed_its_delay(self, live: Live) -> bool:
        """Whether the end of a CRON_JITTER delay came while no daemon was running."""
        return live.job.settings.catch_up is CatchUp.NONE and self._was_missed(live.planned)

    def _planned(self, run: RunKey, job: Job) -> float:
        """The UTC second at which the first Attempt is to start."""
        return float(run.fire_time + start_delay(job, self._host))

    # ---- the queue

    def _arrive(self, run: RunKey, live: Live) -> None:
        """The time of an Attempt has come. A first Attempt meets the other Runs of its Job."""
        if self.deliveries.waits_for_other(run, live.job):
            live.planned = self._space.now.wall + _LOOK_AGAIN
            self._space.timers.set(live.planned, run)
            return
        pause = self._pauses.of(live.job)
        if pause is not None and not live.number and pause.covers(live.planned):
            self.give_up(run, Outcome.SKIPPED, in_words(pause))
            return
        refusal = None if live.number else self._meet_others(run, live)
        if refusal is None:
            self.queue.enqueue(run, live)
        else:
            self.give_up(run, Outcome.SKIPPED, refusal)

    def _meet_others(self, run: RunKey, live: Live) -> str | None:
        """Apply the concurrency policy; returns why the Run may not start, None if it may."""
        others = [other for other in self._live.of_job(live.job.id) if other != run]
        running = [other for other in others if self._admission.is_admitted(other)]
        queued = [other for other in others if self._admission.is_waiting(other)]
        meeting = meet(live.job.settings, running, queued)
        live.replaces = min((self._live[other].due for other in meeting.give_up), default=None)
        for other in meeting.give_up:
            self._end_early(other, self._live[other], Outcome.SKIPPED, _REPLACED)
        for other in meeting.stop:
            self.stop(other, _REPLACED)
        return meeting.refusal

    def admit(self) -> None:
        """Start the queued Runs that the limits admit; give up those that the queue is full for."""
        self._admit()
        while self._follow():
            self._admit()

    def _follow(self) -> bool:
        """Start or skip the Runs that have waited for others; False if there are none."""
        followed = False
        while (decision := self.followers.take()) is not None:
            run, reason = decision
            live, followed = self._live.get(run), True
            if live is None:
                continue  # its own entry is gone, too
            live.planned = self._space.now.wall + start_delay(live.job, self._host)
            if reason is None:
                self._arrive_when_planned(run, live)
            else:
                self.give_up(run, Outcome.SKIPPED, reason)
        return followed

    def _admit(self) -> None:
        while (run := self._admission.admit_next(self._space.now.steady)) is not None:
            self._begin(run)
        for run, reason in self.queue.take_overflow():
            # An operator may still send a message that nobody got.
            self.give_up(run, Outcome.MISSED, reason, dead=self._live[run].job.is_message)

    def _begin(self, run: RunKey) -> None:
        """Start the next Attempt of an admitted Run, unless it is too late for it."""
        live = self._live[run]
        if not self._give_up_if_late(run, live):
            self.attempts.begin(run, hold=self.is_ahead(run, live.job))

    def start_again(self, attempt: AttemptKey) -> None:
        """Hand over an Attempt once more that is recorded and was never started."""
        run = attempt.run
        live = self._live[run]
        late = None if live.number > 1 else too_late(live.job, live.planned, self._space.now.wall)
        if not (late or live.gone):
            self.attempts.hand_over_again(run, hold=live.state is State.HELD)
            return
        self.attempts.withdraw(run)
        if late and not live.gone:
            self.give_up(run, Outcome.MISSED, late)
        else:
            self.lose_entry(run, live)

    # ---- Runs that end without an Attempt, or without a further one

    def give_up(self, run: RunKey, outcome: Outcome, reason: str, *, dead: bool = False) -> None:
        """End a Run whose current Attempt was not started."""
        live = self._live[run]
        if live.state is State.HELD:
            self.attempts.withdraw(run)
        self._admission.withdraw(run)
        self._admission.release(run)
        self._live.step(run, Step.GIVEN_UP)
        self.followers.ended(run, outcome)
        self._space.out.records.append(RecordNotStarted(run, outcome, reason, dead))
        self._space.out.logs.append(reports.given_up(run, live.job, outcome, reason))
        if live.was_tried:
            self.deliveries.ended(run, live, RunEnd(outcome, live.exit_status, live.printed))
        else:
            self.deliveries.given_up(run, live.job, outcome)

    def _give_up_if_late(self, run: RunKey, live: Live) -> bool:
        late = None if live.number else too_late(live.job, live.planned, self._space.now.wall)
        if late is not None:
            self.give_up(run, Outcome.MISSED, late)
        return late is not None

    def _end_early(
        self, run: RunKey, live: Live, outcome: Outcome, reason: str, *, dead: bool = False
    ) -> None:
        """Give up a Run with this outcome; with that of its last Attempt, if it had one."""
        self.give_up(run, live.outcome or outcome, reason, dead=dead)

    def _supersede_retries(self, job: Job) -> None:
        """A new fire time of a Job ends the wait of earlier Runs for a retry."""
        if job.settings.retry_until != "next":
            return
        for run in self._live.of_job(job.id):
            live = self._live[run]
            if live.number and live.state not in WITH_ATTEMPT:
                self._end_early(run, live, Outcome.SKIPPED, _SUPERSEDED)

    def cancel(self, run: RunKey, by: str, kill_after: int | None) -> None:
        """A user ends a Run."""
        self.stop(run, f"cancelled by {by}", kill_after)

    def stop(self, run: RunKey, reason: str, kill_after: int | None = None) -> None:
        if self._live[run].state in NOT_STARTED:
            self.give_up(run, Outcome.CANCELLED, reason)
        else:
            self.attempts.stop(run, reason, kill_after)

    def stop_starting(self, *, delivers: bool) -> None:
        """The daemon stops: Runs that wait go on waiting in the store, for the next daemon.

        `delivers`: but for messages that are due in a moment.
        """
        self._space.stopping, self._space.delivers = True, delivers
        self._space.timers.clear()
        for run, live in self._live.items():
            if live.job.is_message and not live.number and self._space.may_begin(live.planned):
                self._space.timers.set(live.planned, run)
                continue
            if live.state is State.HELD:
                self.attempts.withdraw(run)
            if live.state in NOT_STARTED:
                self._admission.withdraw(run)
                self._live.step(run, Step.LEFT_TO_THE_NEXT)
                self.followers.leave(run)
                self.deliveries.left(run, live)

    # ---- the end of an Attempt

    def started(self, event: Started) -> None:
        """The runner reports a start."""
        if self.attempts.started(event):
            self.deliveries.started(event.attempt.run, self._live[event.attempt.run])

    def end_attempt(self, attempt: AttemptKey, end: AttemptEnd) -> None:
        """An Attempt has ended: its Run ends, and is told of, or waits for a retry."""
        ended = self.attempts.end(attempt, end)
        if ended is not None:
            self.followers.ended(attempt.run, end.outcome)
            of_run = RunEnd(end.outcome, end.exit_status, end.printed)
            self.deliveries.ended(attempt.run, ended, of_run)

    # ---- pauses

    def hold_back(self, pause: Pause) -> None:
        """A pause begins: queued Runs wait for its end, held Runs (due within it) are skipped."""
        for run, live in self._live.items():
            if pause.scope not in scopes_of(live.job):
                continue
            if live.state is State.HELD:
                self.give_up(run, Outcome.SKIPPED, in_words(pause))
            elif live.state is State.QUEUED:
                self.queue.put_off(run, live)

    def end_hold(self) -> None:
        """A pause is over: the Runs that waited for its end enter the queue."""
        for run, live in self._live.items():
            if live.put_off:
                self.queue.enqueue_again(run, live)

    def lose_entry(self, run: RunKey, live: Live) -> None:
        """Its entry is gone: a running command goes on, and no further Attempt starts."""
        live.gone = True
        if live.state in NOT_STARTED:
            failed = live.outcome is not None
            self._end_early(run, live, Outcome.CANCELLED, "its entry is gone", dead=failed)
