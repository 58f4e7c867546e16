"""Log lines about Runs, Attempts, pauses and the clock: one function for each event."""

from pycron.engine.actions import EntryLine, Log
from pycron.engine.events import Now
from pycron.engine.log_events import Event
from pycron.engine.refusals import RefusedRange
from pycron.model.instants import rfc3339
from pycron.model.job import Job
from pycron.model.pause import Pause, Scope
from pycron.model.run import FAILURES, AttemptKey, Ending, Outcome, RunKey

_SMALLEST_STEP = 60  # seconds; less may be drift, or time synchronisation


def lateness_ms(run: RunKey, started: float) -> int:
    """Milliseconds from the fire time of a Run to the start of its command."""
    return round((started - run.fire_time) * 1000)


def started(attempt: AttemptKey, job: Job, pid: int, at: float) -> Log:
    lateness = lateness_ms(attempt.run, at)
    what = _of_attempt(attempt, job, command=job.command, lateness_ms=lateness, pid=pid)
    return Log(Event.ATTEMPT_STARTED, what, quiet=_is_quiet(job), entry=_entry(job))


def ended(
    attempt: AttemptKey,
    job: Job,
    outcome: Outcome,
    ending: Ending | None,
    began: float | None,
    reason: str | None,
) -> Log:
    what: dict[str, object] = {"outcome": outcome.value}
    if ending is not None:
        what |= {"exit_status": ending.exit_status, "signal": ending.signal}
        if began is not None:
            what["duration"] = round(ending.ended - began, 3)
        what["cpu_seconds"] = round(ending.cpu_seconds, 3)
    if reason is not None:
        what["reason"] = reason
    event = Event.ATTEMPT_LOST if outcome is Outcome.LOST else Event.ATTEMPT_ENDED
    quiet = _is_quiet(job) and outcome is Outcome.SUCCEEDED
    what = _of_attempt(attempt, job, **what)
    return Log(event, what, quiet, bad=_is_bad(outcome), entry=_entry(job))


def retry_planned(attempt: AttemptKey, job: Job, seconds: float) -> Log:
    what = _of_attempt(attempt, job, seconds=round(seconds, 1))
    return Log(Event.RETRY_PLANNED, what, quiet=_is_quiet(job), entry=_entry(job))


def stopping(attempt: AttemptKey, job: Job, reason: str) -> Log:
    what = _of_attempt(attempt, job, reason=reason)
    return Log(Event.ATTEMPT_STOPPED, what, entry=_entry(job))


def given_up(run: RunKey, job: Job, outcome: Outcome, reason: str) -> Log:
    fields = _of_run(run, job, outcome=outcome.value, reason=reason)
    return Log(Event.RUN_GIVEN_UP, fields, bad=_is_bad(outcome), entry=_entry(job))


def refused(refused: RefusedRange) -> Log:
    fields = {
        "user": refused.user,
        "count": refused.count,
        "after": rfc3339(refused.after),
        "until": rfc3339(refused.until),
        "reason": refused.reason,
    }
    return Log(Event.FIRE_TIMES_REFUSED, fields, bad=True)


def delivery_failed(run: RunKey, job: Job) -> Log:
    return Log(Event.DELIVERY_FAILED, _of_run(run, job), bad=True, entry=_entry(job))


def mail_nowhere(reason: str) -> Log:
    return Log(Event.MAIL_NOWHERE, {"reason": reason}, bad=True)


def by_hand(run: RunKey, job: Job, by: str, *, force: bool) -> Log:
    fields = _of_run(run, job, by=by, force=force)
    return Log(Event.RUN_BY_HAND, fields, entry=_entry(job))


def clock_stepped(seen: Now | None, now: Now) -> Log | None:
    """The log line for a clock that was stepped; None if the clocks differ by less than a minute.

    `seen`: the clocks at the last look; None at the first one.
    """
    if seen is None:
        return None
    step = (now.wall - seen.wall) - (now.steady - seen.steady)
    if abs(step) < _SMALLEST_STEP:
        return None
    return Log(Event.CLOCK_STEPPED, {"seconds": round(step)}, bad=True)


def paused(pause: Pause) -> Log:
    until = None if pause.until is None else rfc3339(pause.until)
    fields = {"scope": str(pause.scope), "by": pause.by, "until": until, "reason": pause.reason}
    return Log(Event.PAUSED, fields)


def resumed(scope: Scope) -> Log:
    return Log(Event.RESUMED, {"scope": str(scope)})


def _is_quiet(job: Job) -> bool:
    return "q" in job.flags or job.is_message


def _is_bad(outcome: Outcome) -> bool:
    """Whether somebody should look at this; the other ends are those that somebody wanted."""
    return outcome in FAILURES


def _entry(job: Job) -> EntryLine:
    return EntryLine(job.source.name, job.line)


def _of_attempt(attempt: AttemptKey, job: Job, **what: object) -> dict[str, object]:
    """The fields of an event of an Attempt: `what` happened comes early, the Run last."""
    return {
        "job": job.name,
        **what,
        "run_id": str(attempt.run),
        "attempt": attempt.number,
        "user": job.user,
        "fire_time": rfc3339(attempt.run.fire_time),
    }


def _of_run(run: RunKey, job: Job, **what: object) -> dict[str, object]:
    return {
        "job": job.name,
        **what,
        "run_id": str(run),
        "user": job.user,
        "fire_time": rfc3339(run.fire_time),
    }
