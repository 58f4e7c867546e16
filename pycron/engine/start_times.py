"""When the first Attempt of a Run may start: CRON_JITTER and CRON_START_DEADLINE."""

from pycron.model.job import Job, digest
from pycron.schedule.expressions import Reboot


def start_delay(job: Job, host: str) -> int:
    """Seconds from the fire time to the start: CRON_JITTER, or cronie's RANDOM_DELAY in minutes.

    The delay of a Job on a host is always the same. An @reboot Job has none.
    """
    spread = 0 if isinstance(job.schedule, Reboot) else job.settings.jitter
    return int(digest(host, job.id, "jitter"), 16) % (spread + 1) if spread else 0


def too_late(job: Job, planned: float, now: float) -> str | None:
    """Why a Run that was planned for a UTC second may not start any more; None if it may."""
    deadline = job.settings.start_deadline
    if deadline is None or now - planned <= deadline:
        return None
    return f"{round(now - planned)} seconds late; CRON_START_DEADLINE is {deadline}"
