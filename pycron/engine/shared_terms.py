"""What the database has to know of a shared Job, to decide about one of its Runs."""

from collections.abc import Callable

from pycron.crontab.queue_specs import spec_of
from pycron.engine.retries import is_retryable
from pycron.engine.start_times import start_delay
from pycron.model.job import Job
from pycron.model.run import Outcome
from pycron.model.settings import CatchUp, concurrency_of
from pycron.model.shared import RetryTerms, Terms
from pycron.schedule.expressions import After
from pycron.schedule.fire_times import next_fire
from pycron.schedule.zone import Zone

# Seconds after a fire time in which the Run may start without CRON_CATCHUP.
SHORTEST_WINDOW = 300


def terms_of(job: Job, fire: int, cluster: str, zone_of: Callable[[str | None], Zone]) -> Terms:
    """The terms of the Run of a shared Job at a fire time (UTC second)."""
    settings = job.settings
    after = job.schedule.jobs if isinstance(job.schedule, After) else ()
    queue = settings.runs_on.queue
    return Terms(
        concurrency=concurrency_of(settings).value,
        max_running=settings.max_running,
        pool=settings.pool,
        window=window_of(job, cluster),
        catch_up=settings.catch_up is not CatchUp.NONE,
        after=tuple(after),
        group=settings.runs_on.group,
        retry=_retry_terms(job, fire, zone_of),
        table=job.source.name,
        line=job.line,
        queue=queue,
        spec=None if queue is None else spec_of(job),
    )


def window_of(job: Job, cluster: str) -> float:
    """Seconds after a fire time in which its first Attempt may start."""
    deadline = job.settings.start_deadline or 0
    return float(max(SHORTEST_WINDOW, deadline) + start_delay(job, cluster))


def _retry_terms(job: Job, fire: int, zone_of: Callable[[str | None], Zone]) -> RetryTerms:
    settings = job.settings
    until: float | None = None
    if settings.retry_until == "next":
        until = next_fire(job.schedule, zone_of(job.zone), fire)
    elif isinstance(settings.retry_until, int):
        until = fire + settings.retry_until
    return RetryTerms(
        most=settings.retries,
        lost=is_retryable(settings, Outcome.LOST, None),
        delay=settings.retry_delay,
        backoff=settings.retry_backoff,
        delay_max=settings.retry_delay_max,
        jitter=settings.retry_jitter,
        until=until,
    )
