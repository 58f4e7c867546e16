"""`metrics`: what is counted, for programs that watch the daemon."""

import time
from itertools import islice

from pycron import __version__
from pycron.control.access import user_of
from pycron.control.context import Context
from pycron.control.handlers import handles
from pycron.control.server import Peer
from pycron.control.status import count_jobs
from pycron.crontab.entries import Entries
from pycron.engine.live_runs import Wait
from pycron.model.counts import OTHER_JOBS, Counts, Histogram, Series
from pycron.model.problem import Severity
from pycron.model.run import Outcome
from pycron.model.steps import Steps
from pycron.protocol.control_messages import MetricsRequest
from pycron.protocol.metrics_answer import HistogramRow, MetricsAnswer, MetricsRow

_AT_ONCE = 1000  # named Jobs that are looked at in one step
_FIRE_TIMES_AT_ONCE = 50

_Named = dict[Series, list[tuple[Entries, int]]]


@handles(MetricsRequest)
def metrics(context: Context, peer: Peer, _request: MetricsRequest) -> Steps[MetricsAnswer]:
    """Answer in steps: there may be many named Jobs, and fire times have to be found."""
    sees, sees_all = context.access.sight(peer), context.access.sees_all(peer)
    named = yield from _named(context)
    counted = context.history.counts(named)
    rows: list[MetricsRow] = []
    for number, (series, counts) in enumerate(counted.jobs.items()):
        if not sees(series.user):
            continue
        rows.append({**_row(series, counts), "next": _next(context, named[series])})
        if number % _FIRE_TIMES_AT_ONCE == 0:
            yield
    own = None if sees_all else user_of(peer)
    problems = [each for each in context.tables.problems() if each.severity is Severity.ERROR]
    waits = context.engine.count_waits(sees)
    answer: MetricsAnswer = {
        "version": __version__,
        "since": context.info().since,
        "outcomes": list(Outcome),
        "jobs": rows,
        "running": context.engine.count(sees)[0],
        "waiting": {wait: waits.get(wait, 0) for wait in Wait},
        "all_jobs": count_jobs(context, peer),
        "tables": context.tables.count(own),
        "bad_tables": len({each.file for each in problems if own in (None, each.file)}),
    }
    if sees_all:
        answer["dead_letters"] = context.history.count_dead()
        answer["other"] = _row(OTHER_JOBS, counted.other)
        answer["starts"] = _histogram(counted.starts.seconds)
        answer["deliveries"] = counted.deliveries.ended
        answer["config_is_good"] = context.info().config_state().error is None
        answer["store_is_writable"] = context.recorder.failure is None
    return answer


def _named(context: Context) -> Steps[_Named]:
    """The entries with CRON_NAME, by user and name."""
    found: _Named = {}
    entries_of_all = context.engine.jobs().named()
    while part := list(islice(entries_of_all, _AT_ONCE)):
        for entries, index, name in part:
            series = Series(entries.context(index).user, name)
            found.setdefault(series, []).append((entries, index))
        yield
    return found


def _next(context: Context, entries_of_series: list[tuple[Entries, int]]) -> int | None:
    """The next fire time of the Jobs of a series."""
    now = int(time.time())
    fires = (context.next_fires.after(*each, now) for each in entries_of_series)
    return min((fire for fire in fires if fire is not None), default=None)


def _row(series: Series, counts: Counts) -> MetricsRow:
    return {
        "job": series.job_name,
        "user": series.user,
        "ended": counts.ended,
        "seconds": _histogram(counts.seconds),
        "succeeded": counts.succeeded,
    }


def _histogram(histogram: Histogram) -> HistogramRow:
    return {
        "bounds": list(histogram.bounds),
        "buckets": histogram.buckets,
        "sum": histogram.sum,
    }
