"""Decisions that need no memory: functions from values to values."""

from pycron.model import Cause, Ending, Job, Outcome, RunKey, Table, digest
from pycron.schedule import Reboot
from pycron.settings import Settings

_EX_TEMPFAIL = 75  # sysexits(3): try again later
_OUTCOME_OF_CAUSE = {
    Cause.TIMEOUT: Outcome.TIMED_OUT,
    Cause.MEMORY: Outcome.OUT_OF_MEMORY,
    Cause.CANCELLED: Outcome.CANCELLED,
}
_OUTCOME_WORDS = {
    Outcome.KILLED: "signal",
    Outcome.TIMED_OUT: "timeout",
    Outcome.OUT_OF_MEMORY: "memory",
    Outcome.LOST: "lost",
}


def outcome_of(ending: Ending) -> Outcome:
    """How an Attempt ended, by what the kernel and the runner said."""
    if ending.cause is not None:
        return _OUTCOME_OF_CAUSE[ending.cause]
    if ending.signal is not None:
        return Outcome.KILLED
    return Outcome.FAILED if ending.exit_status else Outcome.SUCCEEDED


def settle(last_good: Table | None, new: Table) -> Table:
    """Which Jobs run when a table has changed. A bad table never replaces a good one.

    With an error in the new one, the Jobs are those of its last good version; where there never
    was one, those of its good lines. The problems are the new ones either way.
    """
    if new.errors and last_good is not None:
        return Table(new.source, last_good.jobs, new.problems)
    return new


def start_delay(job: Job, host: str) -> int:
    """Seconds from the fire time to the start: CRON_JITTER spreads them, the same each time.

    RANDOM_DELAY of cronie is the same setting in minutes. @reboot comes when it comes.
    """
    spread = 0 if isinstance(job.schedule, Reboot) else job.settings.jitter
    return int(digest(host, job.id, "jitter"), 16) % (spread + 1) if spread else 0


def too_late(job: Job, planned: float, now: float) -> str | None:
    """Why a Run that was planned for this instant may not start any more; None if it may."""
    deadline = job.settings.start_deadline
    if deadline is None or now - planned <= deadline:
        return None
    return f"{round(now - planned)} seconds late; CRON_START_DEADLINE is {deadline}"


def is_retryable(settings: Settings, outcome: Outcome, exit_status: int | None) -> bool:
    """Whether an Attempt that ended so is tried again, as long as retries are left.

    CRON_NO_RETRY_ON weighs more than CRON_RETRY_ON, and exit status 75 more than both.
    """
    if outcome is Outcome.SUCCEEDED:
        return False
    if exit_status == _EX_TEMPFAIL:
        return True
    if _is_among(settings.no_retry_on, outcome, exit_status):
        return False
    return _is_among(settings.retry_on, outcome, exit_status)


def _is_among(conditions: tuple[str, ...], outcome: Outcome, exit_status: int | None) -> bool:
    for condition in conditions:
        if condition == "any" or condition == _OUTCOME_WORDS.get(outcome):
            return True
        first, _, last = condition.partition("-")
        if (
            outcome is Outcome.FAILED
            and exit_status is not None
            and first.isdigit()
            and int(first) <= exit_status <= int(last or first)
        ):
            return True
    return False


def retry_delay(settings: Settings, run: RunKey, number: int) -> float:
    """Seconds from the end of Attempt `number` to the start of the next one; never 0.

    The delay grows with each Attempt, up to its cap. The share of it that CRON_RETRY_JITTER names
    is random, but for a Run and Attempt always the same, so a restarted daemon says the same.
    """
    doublings = min(number - 1, 100)  # far beyond any cap, and a float can hold it
    delay = min(settings.retry_delay * settings.retry_backoff**doublings, settings.retry_delay_max)
    chance = (int(digest(str(run), str(number), "retry"), 16) % 1000 + 1) / 1000
    return delay * (1 - settings.retry_jitter + settings.retry_jitter * chance)


def past_retrying(settings: Settings, run: RunKey, at: float) -> str | None:
    """Why a retry at this instant comes too late for its Run; None when it doesn't."""
    limit = settings.retry_until
    if isinstance(limit, int) and at > run.fire_time + limit:
        return f"CRON_RETRY_UNTIL is {limit} seconds after the fire time"
    return None
