"""The concurrency policy: what happens when a fire time comes while the Job is busy already."""

from collections.abc import Sequence
from dataclasses import dataclass

from pycron.model.run import RunKey
from pycron.model.settings import Concurrency, Settings, concurrency_of, job_limit


@dataclass(frozen=True, slots=True)
class Meeting:
    """The effect of a new Run on the other Runs of its Job, and of them on it.

    `refusal`: why the new Run may not start; None if it may. `give_up`: queued Runs that make way
    for it. `stop`: running Attempts that are ended for it.
    """

    refusal: str | None = None
    give_up: tuple[RunKey, ...] = ()
    stop: tuple[RunKey, ...] = ()


def meet(settings: Settings, running: Sequence[RunKey], queued: Sequence[RunKey]) -> Meeting:
    """Apply CRON_CONCURRENCY to a new Run; both lists have the oldest Run first.

    A Run that waits for its retry is in neither list.
    """
    most = job_limit(settings)
    if most is None or len(running) + len(queued) < most:
        return Meeting()
    match concurrency_of(settings):
        case Concurrency.FORBID:
            what = "runs" if running else "waits"
            return Meeting(f"an earlier run still {what} (CRON_CONCURRENCY=forbid)")
        case Concurrency.QUEUE if queued:
            return Meeting("one waits already (CRON_CONCURRENCY=queue)")
        case Concurrency.REPLACE:
            surplus = max(0, len(running) - most + 1)
            return Meeting(give_up=tuple(queued), stop=tuple(running[:surplus]))
    return Meeting()
