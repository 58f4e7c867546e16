"""Decisions that need no memory: functions from values to values."""

from pycron.model import Ending, Job, Outcome, Table, digest


def outcome_of(ending: Ending) -> Outcome:
    """How an Attempt ended, by what the kernel said."""
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

    RANDOM_DELAY of cronie is the same setting in minutes.
    """
    spread = job.settings.jitter
    return int(digest(host, job.id, "jitter"), 16) % (spread + 1) if spread else 0


def too_late(job: Job, planned: float, now: float) -> str | None:
    """Why a Run that was planned for this instant may not start any more; None if it may."""
    deadline = job.settings.start_deadline
    if deadline is None or now - planned <= deadline:
        return None
    return f"{round(now - planned)} seconds late; CRON_START_DEADLINE is {deadline}"
