"""Retries: whether, when and how long a failed Attempt is followed by another one."""

from pycron.model.job import digest
from pycron.model.run import Outcome, RunKey
from pycron.model.settings import Settings

_EX_TEMPFAIL = 75  # sysexits(3): try again later
_WORD_OF_OUTCOME = {
    Outcome.KILLED: "signal",
    Outcome.TIMED_OUT: "timeout",
    Outcome.OUT_OF_MEMORY: "memory",
    Outcome.LOST: "lost",
}
_MOST_DOUBLINGS = 100  # far beyond any CRON_RETRY_DELAY_MAX, and still a float


def is_retryable(settings: Settings, outcome: Outcome, exit_status: int | None) -> bool:
    """Whether an Attempt that ended like this is retried, as long as there are retries left.

    CRON_NO_RETRY_ON overrides CRON_RETRY_ON, and exit status 75 overrides both.
    """
    if outcome in (Outcome.SUCCEEDED, Outcome.CANCELLED):
        return False
    if exit_status == _EX_TEMPFAIL:
        return True
    if _matches_any(settings.no_retry_on, outcome, exit_status):
        return False
    return _matches_any(settings.retry_on, outcome, exit_status)


def _matches_any(conditions: tuple[str, ...], outcome: Outcome, exit_status: int | None) -> bool:
    return any(_matches(condition, outcome, exit_status) for condition in conditions)


def _matches(condition: str, outcome: Outcome, exit_status: int | None) -> bool:
    """`condition`: `any`, a word for an Outcome, an exit status, or a range of them."""
    if condition == "any" or condition == _WORD_OF_OUTCOME.get(outcome):
        return True
    first, _, last = condition.partition("-")
    if outcome is not Outcome.FAILED or exit_status is None or not first.isdigit():
        return False
    return int(first) <= exit_status <= int(last or first)


def retry_delay(settings: Settings, run: RunKey, number: int) -> float:
    """Seconds from the end of Attempt `number` to the start of the next one; never 0.

    The delay grows with each Attempt, up to CRON_RETRY_DELAY_MAX. Jitter makes it longer, also
    beyond that maximum, and never shorter: by a random part of the share that CRON_RETRY_JITTER
    names. That part is always the same for a Run and an Attempt, so a daemon that restarts finds
    the same delay.
    """
    doublings = min(number - 1, _MOST_DOUBLINGS)
    delay = min(settings.retry_delay * settings.retry_backoff**doublings, settings.retry_delay_max)
    chance = (int(digest(str(run), str(number), "retry"), 16) % 1000 + 1) / 1000
    return delay * (1 + settings.retry_jitter * chance)


def too_late_to_retry(settings: Settings, since: float, at: float) -> str | None:
    """Why CRON_RETRY_UNTIL does not allow a retry at a UTC second; None if it does.

    `since`: the fire time of the Run, or when the Run was redriven.
    """
    limit = settings.retry_until
    if isinstance(limit, int) and at > since + limit:
        return f"CRON_RETRY_UNTIL is {limit} seconds, and they are over"
    return None
