"""An Attempt from its record to its end, and the effect of its end on its Run."""

from dataclasses import dataclass

from pycron.engine import reports
from pycron.engine.actions import (
    RecordAttempt,
    RecordEnded,
    RecordStarted,
    RecordWithdrawn,
    Release,
    Start,
    Stop,
    Withdraw,
)
from pycron.engine.events import Ended, Lost, Refused, Started
from pycron.engine.live_runs import Live
from pycron.engine.outcomes import OUTCOME_OF_CAUSE, outcome_of
from pycron.engine.retries import is_retryable, retry_delay, too_late_to_retry
from pycron.engine.states import Step
from pycron.engine.workspace import Workspace
from pycron.model.run import AttemptKey, Ending, Outcome, RunKey

# Seconds before the fire time at which held Attempts are released: the time that the message may
# take to the process that starts the command, which waits for the fire time itself. A daemon that
# has fire times to take up releases them earlier, because its turn may take as long; so does one
# beside many commands, because they may keep it from the processors. They are binary fractions, so
# that they can be subtracted from an instant and added again without rounding.
RELEASE_AHEAD = 1 / 128
LONGEST_RELEASE_AHEAD = 3 / 32
_MANY_COMMANDS = 64  # that run


@dataclass(frozen=True, slots=True)
class AttemptEnd:
    """How an Attempt ended: the step that its Run takes unless it is retried, and what is known.

    `final`: there is no retry.
    """

    step: Step
    outcome: Outcome
    ending: Ending | None
    reason: str | None
    final: bool = False

    @classmethod
    def of(cls, event: Ended | Refused | Lost) -> "AttemptEnd":
        """The end of an Attempt that an event reports."""
        match event:
            case Ended(ending=ending):
                return cls(Step.ENDED, outcome_of(ending), ending, ending.reason)
            case Refused(reason=reason, cause=cause, final=final):
                outcome = OUTCOME_OF_CAUSE[cause] if cause else Outcome.FAILED
                return cls(Step.REFUSED, outcome, None, reason, final)
            case Lost(reason=reason):
                return cls(Step.LOST, Outcome.LOST, None, reason)

    @property
    def exit_status(self) -> int | None:
        return self.ending.exit_status if self.ending else None

    @property
    def printed(self) -> int:
        """How many bytes the Attempt printed, as far as is known."""
        return self.ending.output_bytes if self.ending else 0


@dataclass(frozen=True, slots=True)
class _Sequel:
    """The sequel of an Attempt: a retry at a UTC second, or the end of the Run (`retry_at` None).

    `dead`: the Run becomes a dead letter.
    """

    reason: str | None
    retry_at: float | None = None
    dead: bool = False


class Attempts:
    """The current Attempts of all live Runs."""

    def __init__(self, workspace: Workspace, longest_ahead: float) -> None:
        """`longest_ahead`: the most seconds before its fire time at which a Run is claimed."""
        self._space = workspace
        self._live = workspace.live
        self._longest_ahead = longest_ahead

    # ---- towards a process

    def begin(self, run: RunKey, *, hold: bool) -> None:
        """Record the next Attempt of an admitted Run and hand it to the runner."""
        self._live.step(run, Step.ADMITTED_EARLY if hold else Step.ADMITTED)
        live = self._live[run]
        live.number += 1
        attempt = AttemptKey(run, live.number)
        self._space.out.records.append(RecordAttempt(attempt))
        self._space.out.actions.append(Start(attempt, live.job, hold, live.incarnation))

    def hand_over_again(self, run: RunKey, *, hold: bool) -> None:
        """Hand an Attempt to the runner that is recorded and was never started."""
        live = self._live[run]
        attempt = AttemptKey(run, live.number)
        self._space.out.actions.append(Start(attempt, live.job, hold, live.incarnation))

    def release(self, runs: list[RunKey]) -> None:
        """Let the runner start these held Attempts at their fire time."""
        for run in runs:
            self._live.step(run, Step.RELEASED)
        self._space.out.released.append(Release(max(run.fire_time for run in runs)))

    def release_ahead(self, *, busy: bool) -> float:
        """How many seconds before their fire time held Attempts are released."""
        many = self._space.admission.running - len(self._live.held) >= _MANY_COMMANDS
        return LONGEST_RELEASE_AHEAD if busy or many else RELEASE_AHEAD

    def release_due(self, *, busy: bool) -> bool:
        """Release the held Attempts whose fire time comes in a moment; False if there are none.

        `busy`: whether fire times wait to be taken up. If the clock was set back, the fire time of
        an Attempt may be far away again: it is taken back.
        """
        now, ahead = self._space.now.wall, self.release_ahead(busy=busy)
        held = self._live.held
        due = [run for run, planned in held.items() if planned <= now + ahead]
        far = [run for run, planned in held.items() if planned > now + self._longest_ahead]
        for run in far:
            self._space.timers.set(held[run], run)
            self.withdraw(run)
        if due:
            self.release(due)
        return bool(due)

    def withdraw(self, run: RunKey) -> None:
        """Take back an Attempt that was never started: the runner holds it, or never had it."""
        live = self._live[run]
        attempt = AttemptKey(run, live.number)
        self._live.step(run, Step.WITHDRAWN)
        live.number -= 1
        self._space.admission.release(run)
        self._space.out.records.append(RecordWithdrawn(attempt))
        self._space.out.actions.append(Withdraw(attempt))

    def stop(self, run: RunKey, reason: str, kill_after: int | None = None) -> None:
        """End a started Attempt; the runner reports how it ended."""
        live = self._live[run]
        attempt = AttemptKey(run, live.number)
        seconds = live.job.settings.kill_after if kill_after is None else kill_after
        self._space.out.actions.append(Stop(attempt, reason, seconds))
        self._space.out.logs.append(reports.stopping(attempt, live.job, reason))

    def started(self, event: Started) -> bool:
        """The runner reports a start; False if it is known already."""
        attempt = event.attempt
        if not self._live.can(attempt, Step.STARTED):
            return False
        self._live.step(attempt.run, Step.STARTED)
        live = self._live[attempt.run]
        live.pid, live.started = event.pid, event.started
        self._space.out.records.append(RecordStarted(attempt, event.pid, event.started))
        self._space.out.logs.append(reports.started(attempt, live.job, event.pid, event.started))
        return True

    # ---- its end

    def end(self, attempt: AttemptKey, end: AttemptEnd) -> Live | None:
        """An Attempt has ended: its Run waits for a retry (then None is returned), or it ends."""
        if not self._live.can(attempt, end.step):
            return None
        live = self._live[attempt.run]
        sequel = self._sequel(attempt, live, end)
        self._space.admission.release(attempt.run)
        self._space.out.logs.append(
            reports.ended(attempt, live.job, end.outcome, end.ending, live.started, sequel.reason)
        )
        if sequel.retry_at is not None:
            self._wait_for_retry(attempt, live, end, sequel.retry_at)
            return None
        self._live.step(attempt.run, end.step)
        self._space.out.records.append(
            RecordEnded(
                attempt,
                end.outcome,
                end.ending,
                sequel.reason,
                end.outcome,
                dead=sequel.dead and live.incarnation is None,
            )
        )
        return live

    def _wait_for_retry(
        self, attempt: AttemptKey, live: Live, end: AttemptEnd, retry_at: float
    ) -> None:
        self._live.step(attempt.run, Step.FAILED)
        live.outcome, live.exit_status, live.planned = end.outcome, end.exit_status, retry_at
        live.printed = end.printed
        live.pid = live.started = None
        out = self._space.out
        is_shared = live.incarnation is not None
        so_far = end.outcome if is_shared else None  # any host may have the next Attempt
        out.records.append(
            RecordEnded(attempt, end.outcome, end.ending, end.reason, so_far, retry_at)
        )
        out.logs.append(reports.retry_planned(attempt, live.job, retry_at - self._space.now.wall))
        if self._space.stopping or is_shared:
            self._live.step(attempt.run, Step.LEFT_TO_THE_NEXT)
        else:
            self._space.timers.set(retry_at, attempt.run)

    def _sequel(self, attempt: AttemptKey, live: Live, end: AttemptEnd) -> _Sequel:
        """Whether and when a retry follows."""
        settings = live.job.settings
        if end.outcome in (Outcome.SUCCEEDED, Outcome.CANCELLED) or not settings.retries:
            return _Sequel(end.reason)
        retryable = is_retryable(settings, end.outcome, end.exit_status) and not end.final
        if live.number >= live.last or not retryable:
            return _Sequel(end.reason, dead=True)
        since = live.redrive.at if live.redrive else live.asked or attempt.run.fire_time
        if settings.retry_until == "next" and self._live.has_come(live.job.id, since):
            return _Sequel(end.reason or "the next fire time has come: no retry")
        at = self._space.now.wall + retry_delay(settings, attempt.run, attempt.number)
        past = too_late_to_retry(settings, since, at)
        return _Sequel(end.reason or past, dead=True) if past else _Sequel(end.reason, at)
