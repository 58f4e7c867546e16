"""What becomes of a Run, from its fire time to its end: the one place where it changes its state.

The states and what leads from one to the next are in lifecycle.py; who gets a place, when there are
fewer than are wanted, is admission.py's to say. When something happens, and to which Runs, is the
engine's.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import count

from pycron.engine import reports
from pycron.engine.actions import (
    Decisions,
    Drop,
    Go,
    RecordAttempt,
    RecordEnded,
    RecordNotStarted,
    RecordRun,
    RecordStarted,
    RecordWithdrawn,
    Start,
    Stop,
)
from pycron.engine.admission import Admission
from pycron.engine.events import Now, Started
from pycron.engine.failure_hook import failure_hook
from pycron.engine.pauses import Pauses, in_words
from pycron.engine.retries import is_retryable, retry_delay, too_late_to_retry
from pycron.engine.start_times import start_delay, too_late
from pycron.engine.states import NOT_BEGUN, WITH_ATTEMPT, Live, LiveRuns, State, Step
from pycron.model.job import Job
from pycron.model.run import AttemptKey, Ending, Outcome, RunKey
from pycron.model.settings import Concurrency, concurrency_of, job_limit
from pycron.schedule.expressions import NoSchedule, Reboot

# Seconds before its time at which the word for what is held is said: as long as it may take to get
# to whoever starts it, and waits for that time. A binary fraction, as LEAD in engine.py.
HEAD = 1 / 128


@dataclass(frozen=True, slots=True)
class End:
    """How an Attempt ended: the step it takes, and what is known."""

    step: Step
    outcome: Outcome
    ending: Ending | None
    reason: str | None

    @property
    def exit_status(self) -> int | None:
        return self.ending.exit_status if self.ending else None


@dataclass(frozen=True, slots=True)
class _Plan:
    """What comes after it: a retry at an instant, or the end of the Run, maybe as a dead letter."""

    reason: str | None
    at: float | None = None
    dead: bool = False


class Runs:
    """The Runs that are alive, and all that can happen to them.

    `lead`: seconds before a fire time at which an Attempt is handed to the runner at the earliest.
    `passed`: whether a fire time will not be handed out again with this turn.
    """

    def __init__(
        self,
        admission: Admission,
        pauses: Pauses,
        passed: Callable[[int, int], bool],
        host: str,
        lead: float,
    ) -> None:
        self.alive = LiveRuns()
        self.stopping = False
        self.now = Now(0.0, 0.0)
        self.out = Decisions()
        self._admission = admission
        self._pauses = pauses
        self._passed = passed
        self._host = host
        self._lead = lead
        self._timers: list[tuple[float, int, RunKey]] = []
        self._serial = count()
        self._asked: list[RunKey] = []

    def look(self, now: Now) -> None:
        """From now on it is this time, and nothing has been decided yet."""
        self.now, self.out = now, Decisions()

    def next_wakeup(self) -> float:
        """The UTC second at which the time of one of them comes."""
        held = next(iter(self.alive.held), None)
        timer = self._timers[0][0] if self._timers else math.inf
        return timer if held is None else min(timer, self.alive[held].planned - HEAD)

    # ---- time

    def let_go(self) -> bool:
        """Say the word for what is held, when its time comes in a moment; whether there was any.

        That may also have gone far away, with a clock that was set back.
        """
        held = [(run, self.alive[run]) for run in self.alive.held]
        for run, live in held:
            if live.planned > self.now.wall + self._lead:
                self._withdraw(run, live)
                self.set_timer(live.planned, run)
        due = [run for run, live in held if live.planned <= self.now.wall + HEAD]
        if not due:
            return False
        for run in due:
            self.alive.step(run, Step.BEGUN)
        self.out.first.append(Go(max(run.fire_time for run in due)))
        return True

    def take_timers(self) -> None:
        """What waits until a time that has come: to begin, or to be too late for it."""
        while self._timers and self._timers[0][0] <= self.now.wall:
            when, _, run = heappop(self._timers)
            live = self.alive.get(run)
            if live is None:
                continue
            if live.state is State.WAITING and live.planned == when:
                self._arrive(run, live)
            elif live.state is State.QUEUED and not live.number and when > live.planned:
                self._give_up_late(run, live)

    def set_timer(self, when: float, run: RunKey) -> None:
        """Look at a Run again at this UTC second."""
        heappush(self._timers, (when, next(self._serial), run))

    # ---- Runs that come

    def planned(self, run: RunKey, job: Job) -> float:
        """When the first Attempt is to start."""
        return float(run.fire_time + start_delay(job, self._host))

    def is_ahead(self, run: RunKey, job: Job) -> bool:
        """Whether the fire time of a Run is still to come.

        What was due before the clock was set back, was due.
        """
        if run.fire_time <= self.now.wall or isinstance(job.schedule, Reboot | NoSchedule):
            return False
        return not self._passed(run.fire_time, run.turn)

    def is_undisputed(self, job: Job) -> bool:
        """Whether nothing but a limit can keep a Job from starting, as far as is known."""
        if start_delay(job, self._host) or self._pauses.of(job):
            return False
        settings = job.settings
        free = concurrency_of(settings) is Concurrency.ALLOW and not settings.retries
        return free or not self.alive.of_job(job.id)

    def come(self, run: RunKey, job: Job) -> None:
        """A fire time: its Run begins, or waits for its delay to pass."""
        self._supersede(job)
        self.out.records.append(RecordRun(run, job))
        live = self.alive.enter(run, job, self.planned(run, job))
        if live.planned > self.now.wall:
            self.set_timer(live.planned, run)
        else:
            self._arrive(run, live)

    def claim(self, run: RunKey, job: Job) -> None:
        """A fire time that will come in a moment: its Run asks for a place already."""
        self.out.records.append(RecordRun(run, job))
        self.ask(run, self.alive.enter(run, job, float(run.fire_time)))

    def start_by_hand(self, run: RunKey, job: Job, by: str, *, force: bool) -> None:
        self.out.records.append(RecordRun(run, job, by))
        self.out.logs.append(reports.by_hand(run, job, by, force=force))
        live = self.alive.enter(run, job, self.now.wall)
        if not force:
            self._arrive(run, live)
            return
        self._admission.admit_past_limits(run, job)
        self.alive.step(run, Step.READY)
        self._begin(run)

    def _arrive(self, run: RunKey, live: Live) -> None:
        """The time of an Attempt has come. A first one meets what its Job does already."""
        pause = self._pauses.of(live.job)
        if pause is not None and not live.number and pause.covers(live.planned):
            self.give_up(run, Outcome.SKIPPED, in_words(pause))
            return
        refusal = None if live.number else self._meet_others(run, live)
        if refusal is not None:
            self.give_up(run, Outcome.SKIPPED, refusal)
            return
        self.ask(run, live)

    def _meet_others(self, run: RunKey, live: Live) -> str | None:
        """The concurrency policy: why a Run may not begin beside its Job's others; None if it may.

        Retries that wait for their time hold no place.
        """
        job = live.job
        most = job_limit(job.settings)
        others = [other for other in self.alive.of_job(job.id) if other != run]
        holding = [other for other in others if self._admission.is_admitted(other)]
        asking = [other for other in others if self._admission.is_waiting(other)]
        if most is None or len(holding) + len(asking) < most:
            return None
        match concurrency_of(job.settings):
            case Concurrency.FORBID:
                what = "runs" if holding else "waits"
                return f"an earlier run still {what} (CRON_CONCURRENCY=forbid)"
            case Concurrency.QUEUE if asking:
                return "one waits already (CRON_CONCURRENCY=queue)"
            case Concurrency.REPLACE:
                live.replaces = min((self.alive[other].due for other in asking), default=None)
                for other in asking:
                    self._make_way(other, "replaced by the next fire time")
                for other in holding[: len(holding) - most + 1]:
                    self._stop(other, "replaced by the next fire time")
        return None

    def ask(self, run: RunKey, live: Live) -> None:
        """Ask for a place, now or when the pause that holds its Job is over."""
        if self._pauses.of(live.job):
            live.put_off = True
            return
        self.alive.step(run, Step.READY)
        self._admission.enqueue(run, live.job, live.due)
        self._asked.append(run)
        deadline = live.job.settings.start_deadline
        if deadline is not None and not live.number:
            self.set_timer(math.nextafter(live.planned + deadline, math.inf), run)

    def ask_again(self, run: RunKey, live: Live) -> None:
        """What has kept it from asking is over."""
        live.put_off = False
        self.ask(run, live)

    def admit(self) -> None:
        """Begin those for which there is a place; of the others, as many wait as may."""
        while (run := self._admission.admit_next(self.now.steady)) is not None:
            self._begin(run)
        asked, self._asked = self._asked, []
        for run in reversed(asked):
            if self._admission.is_waiting(run) and not self.alive[run].number:
                reason = self._admission.queue_full(run)
                if reason is not None:
                    self.give_up(run, Outcome.MISSED, reason)

    def _begin(self, run: RunKey) -> None:
        """The next Attempt of a Run that has its place; or its end, where it is too late."""
        live = self.alive[run]
        if self._give_up_late(run, live):
            return
        ahead = self.is_ahead(run, live.job)
        self.alive.step(run, Step.CLAIMED if ahead else Step.ADMITTED)
        live.number += 1
        attempt = AttemptKey(run, live.number)
        self.out.records.append(RecordAttempt(attempt))
        self.out.orders.append(Start(attempt, live.job, hold=ahead))

    def start_again(self, attempt: AttemptKey) -> None:
        """An Attempt that is on record, and of which is known that it was never started."""
        run = attempt.run
        live = self.alive[run]
        late = None if live.number > 1 else too_late(live.job, live.planned, self.now.wall)
        if late or live.gone:
            self._withdraw(run, live)
        if live.gone:
            self.lose_entry(run, live)
        elif late:
            self.give_up(run, Outcome.MISSED, late)
        else:
            self.out.orders.append(Start(attempt, live.job, hold=live.state is State.HELD))

    # ---- Runs that go, or wait

    def give_up(self, run: RunKey, outcome: Outcome, reason: str, *, dead: bool = False) -> None:
        """End a Run that has not begun, or not begun again, without a further Attempt."""
        live = self.alive[run]
        if live.state is State.HELD:
            self._withdraw(run, live)
        self._admission.withdraw(run)
        self._admission.release(run)
        self.alive.step(run, Step.GIVEN_UP)
        self.out.records.append(RecordNotStarted(run, outcome, reason, dead))
        self.out.logs.append(reports.given_up(run, live.job, outcome, reason))

    def _give_up_late(self, run: RunKey, live: Live) -> bool:
        late = None if live.number else too_late(live.job, live.planned, self.now.wall)
        if late is None:
            return False
        self.give_up(run, Outcome.MISSED, late)
        return True

    def _withdraw(self, run: RunKey, live: Live) -> None:
        """Take back an Attempt that the runner holds, or never had."""
        attempt = AttemptKey(run, live.number)
        self.alive.step(run, Step.WITHDRAWN)
        live.number -= 1
        self._admission.release(run)
        self.out.records.append(RecordWithdrawn(attempt))
        self.out.orders.append(Drop(attempt))

    def put_off(self, run: RunKey, live: Live) -> None:
        """One that asks for a place asks no more, for now."""
        self._admission.withdraw(run)
        self.alive.step(run, Step.PUT_OFF)
        live.put_off = True

    def cancel(self, run: RunKey, by: str, kill_after: int | None) -> None:
        reason = f"cancelled by {by}"
        if self.alive[run].state in NOT_BEGUN:
            self.give_up(run, Outcome.CANCELLED, reason)
        else:
            self._stop(run, reason, kill_after)

    def _stop(self, run: RunKey, reason: str, kill_after: int | None = None) -> None:
        """End an Attempt that runs; how, the runner will say."""
        live = self.alive[run]
        if live.state is State.HELD:
            self.give_up(run, Outcome.CANCELLED, reason)
            return
        attempt = AttemptKey(run, live.number)
        seconds = live.job.settings.kill_after if kill_after is None else kill_after
        self.out.orders.append(Stop(attempt, reason, seconds))
        self.out.logs.append(reports.stopping(attempt, live.job, reason))

    def _supersede(self, job: Job) -> None:
        """A new fire time of a Job: the retry of an earlier one need not wait any more."""
        if job.settings.retry_until != "next":
            return
        for run in self.alive.of_job(job.id):
            live = self.alive[run]
            if live.number and live.state not in WITH_ATTEMPT:
                self._make_way(run, "the next fire time came before the retry")

    def _make_way(self, run: RunKey, reason: str) -> None:
        """Give up one that has not begun, or not begun again, for a later fire time of its Job."""
        self._end_early(run, self.alive[run], Outcome.SKIPPED, reason)

    def _end_early(
        self, run: RunKey, live: Live, outcome: Outcome, reason: str, *, dead: bool = False
    ) -> None:
        """Give up one that has not begun, as this; or not begun again, as a failure."""
        self.give_up(run, live.outcome or outcome, reason, dead=dead)
        if live.outcome:
            self._run_hook(run, live, live.outcome, live.exit_status)

    def change_job(self, run: RunKey, live: Live, job: Job) -> None:
        """Its entry says something else: what was asked for, or handed over, is taken back."""
        live.job = job
        if live.state is State.HELD:
            self._withdraw(run, live)
        elif live.state is State.QUEUED:
            self.put_off(run, live)
        elif not live.put_off:
            return
        self.ask_again(run, live)

    def lose_entry(self, run: RunKey, live: Live) -> None:
        """Its entry is gone: what runs goes on, and nothing more of it is begun."""
        live.gone = True
        if live.state in NOT_BEGUN:
            failed = live.outcome is not None
            self._end_early(run, live, Outcome.CANCELLED, "its entry is gone", dead=failed)

    def stop_starting(self) -> None:
        """Runs that wait go on waiting in the store, for the next daemon."""
        self.stopping = True
        self._timers.clear()
        for run, live in self.alive.items():
            if live.state is State.HELD:
                self._withdraw(run, live)
            if live.state in NOT_BEGUN:
                self._admission.withdraw(run)
                self.alive.leave(run)

    # ---- Attempts

    def started(self, event: Started) -> None:
        attempt = event.attempt
        if not self.alive.can(attempt, Step.STARTED):
            return
        self.alive.step(attempt.run, Step.STARTED)
        live = self.alive[attempt.run]
        live.pid, live.started = event.pid, event.started
        self.out.records.append(RecordStarted(attempt, event.pid, event.started))
        self.out.logs.append(reports.started(attempt, live.job, event.pid, event.started))

    def close(self, attempt: AttemptKey, end: End) -> None:
        """The end of an Attempt: of its Run as well, or the beginning of the wait for a retry."""
        if not self.alive.can(attempt, end.step):
            return
        run = attempt.run
        live = self.alive[run]
        plan = self._plan_retry(attempt, live, end)
        self._admission.release(run)
        self.out.logs.append(
            reports.ended(attempt, live.job, end.outcome, end.ending, live.started, plan.reason)
        )
        if plan.at is not None:
            self._wait_for_retry(attempt, live, end, plan.at)
            return
        self.alive.step(run, end.step)
        self.out.records.append(
            RecordEnded(attempt, end.outcome, end.ending, plan.reason, end.outcome, dead=plan.dead)
        )
        if end.outcome not in (Outcome.SUCCEEDED, Outcome.CANCELLED):
            self._run_hook(run, live, end.outcome, end.exit_status)

    def _wait_for_retry(self, attempt: AttemptKey, live: Live, end: End, at: float) -> None:
        self.alive.step(attempt.run, Step.FAILED)
        live.outcome, live.exit_status, live.planned = end.outcome, end.exit_status, at
        live.pid = live.started = None
        self.out.records.append(RecordEnded(attempt, end.outcome, end.ending, end.reason, None, at))
        self.out.logs.append(reports.retry_planned(attempt, live.job, at - self.now.wall))
        if self.stopping:
            self.alive.leave(attempt.run)  # it waits in the store, for the next daemon
        else:
            self.set_timer(at, attempt.run)

    def _plan_retry(self, attempt: AttemptKey, live: Live, end: End) -> _Plan:
        """What comes after an Attempt that has ended so."""
        settings = live.job.settings
        if end.outcome in (Outcome.SUCCEEDED, Outcome.CANCELLED) or not settings.retries:
            return _Plan(end.reason)
        if live.number >= live.last or not is_retryable(settings, end.outcome, end.exit_status):
            return _Plan(end.reason, dead=True)
        since = live.redrive.at if live.redrive else attempt.run.fire_time
        if settings.retry_until == "next" and self.alive.has_come(live.job.id, since):
            return _Plan(end.reason or "the next fire time has come: no retry")
        at = self.now.wall + retry_delay(settings, attempt.run, attempt.number)
        past = too_late_to_retry(settings, since, at)
        return _Plan(end.reason or past, dead=True) if past else _Plan(end.reason, at)

    def _run_hook(self, run: RunKey, live: Live, outcome: Outcome, exit_status: int | None) -> None:
        """CRON_ON_FAILURE: a Run of its own, of which there can be one only.

        So a dead letter that fails again is not told of again.
        """
        hook = failure_hook(live.job, run, outcome, exit_status)
        if hook is None or live.redrive:
            return
        hook_run = RunKey(hook.id, run.fire_time, run.turn)
        self.out.records.append(RecordRun(hook_run, hook))
        if not self.stopping:  # else it waits in the store, for the next daemon
            self.ask(hook_run, self.alive.enter(hook_run, hook, self.now.wall))
