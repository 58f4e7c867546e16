"""CRON_CONCURRENCY and CRON_MAX_RUNNING: what a new Run does to the other Runs of its Job."""

import pytest

from pycron.engine.concurrency import Meeting, meet
from pycron.model.run import RunKey
from pycron.model.settings import Concurrency, Settings

A, B, C = (RunKey("0123456789abcdef", second) for second in (60, 120, 180))
FORBID, QUEUE, REPLACE = Concurrency.FORBID, Concurrency.QUEUE, Concurrency.REPLACE
STARTS = Meeting()
RUNS = Meeting("an earlier run still runs (CRON_CONCURRENCY=forbid)")
WAITS = Meeting("an earlier run still waits (CRON_CONCURRENCY=forbid)")
ONE_WAITS = Meeting("one waits already (CRON_CONCURRENCY=queue)")


@pytest.mark.parametrize(
    ("settings", "running", "queued", "meeting"),
    [
        (Settings(), (A, B), (C,), STARTS),  # allow, without a limit
        (Settings(max_running=2), (A,), (), STARTS),
        (Settings(max_running=2), (A, B), (C,), STARTS),  # it waits in the queue
        (Settings(concurrency=FORBID), (), (), STARTS),
        (Settings(concurrency=FORBID), (A,), (), RUNS),
        (Settings(concurrency=FORBID), (), (A,), WAITS),
        (Settings(concurrency=FORBID, max_running=2), (A,), (), STARTS),
        (Settings(concurrency=FORBID, max_running=2), (A,), (B,), RUNS),
        (Settings(retries=1), (A,), (), RUNS),  # a Job with retries forbids by default
        (Settings(concurrency=QUEUE), (A,), (), STARTS),
        (Settings(concurrency=QUEUE), (A,), (B,), ONE_WAITS),
        (Settings(concurrency=REPLACE), (A,), (), Meeting(stop=(A,))),
        (Settings(concurrency=REPLACE), (), (A,), Meeting(give_up=(A,))),
        (Settings(concurrency=REPLACE), (A,), (B, C), Meeting(give_up=(B, C), stop=(A,))),
        (Settings(concurrency=REPLACE, max_running=2), (A, B), (C,), Meeting(None, (C,), (A,))),
        (Settings(concurrency=REPLACE, max_running=2), (A,), (B,), Meeting(give_up=(B,))),
    ],
)
def test_a_new_run_meets_the_others(
    settings: Settings,
    running: tuple[RunKey, ...],
    queued: tuple[RunKey, ...],
    meeting: Meeting,
) -> None:
    assert meet(settings, running, queued) == meeting
