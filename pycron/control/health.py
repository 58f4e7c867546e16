"""`status --health`: whether something is wrong with the daemon, for a container's health check."""

import time
from collections.abc import Iterator

from pycron.control.access import user_of
from pycron.control.context import Context
from pycron.control.handlers import handles
from pycron.control.server import Peer
from pycron.control.status import count_jobs
from pycron.model.instants import rfc3339
from pycron.model.problem import Severity
from pycron.protocol.control_answers import HealthAnswer
from pycron.protocol.control_messages import HealthRequest

_LATE = 60.0  # seconds
_NAMED = 3  # bad tables that are named


@handles(HealthRequest)
def health(context: Context, peer: Peer, request: HealthRequest) -> HealthAnswer:
    """The reasons why the daemon is not healthy, as far as the peer may know them."""
    sees, everything = context.access.sight(peer), context.access.sees_all(peer)
    running, _ = context.engine.count(sees)
    return {
        "reasons": [*_of_store(context), *_of_tables(context, peer), *_of_time(context, peer)],
        "runner_reads": context.runner_reads(request.ask),
        "tables": context.tables.count(None if everything else user_of(peer)),
        "jobs": count_jobs(context, peer),
        "running": running,
    }


def _of_store(context: Context) -> Iterator[str]:
    """The daemon writes at least once a minute, so this is never older."""
    if context.recorder.failure is not None:
        yield f"the database: {context.recorder.failure}"


def _of_tables(context: Context, peer: Peer) -> Iterator[str]:
    own = None if context.access.sees_all(peer) else user_of(peer)
    bad = {
        problem.file
        for problem in context.tables.problems()
        if problem.severity is Severity.ERROR and own in (None, problem.file)
    }
    if bad:
        more = f" and {len(bad) - _NAMED} more" if len(bad) > _NAMED else ""
        yield f"bad tables: {', '.join(sorted(bad)[:_NAMED])}{more} (pycron check)"


def _of_time(context: Context, peer: Peer) -> Iterator[str]:
    """What was due more than a minute ago and has not started."""
    engine, before = context.engine, time.time() - _LATE
    if engine.stopping:
        return
    sees = context.access.sight(peer)
    late = [run for run in engine.late(before) if sees(run.job.user)]
    if late:
        first = min(late, key=lambda run: run.planned)
        waits = f" (it waits: {first.why})" if first.why else ""
        yield (
            f"late Runs: {len(late)}, first {first.job.name} of {first.job.user}, planned for "
            f"{rfc3339(first.planned)}{waits}"
        )
    fire = engine.next_fire_time
    if fire is not None and fire < before:
        yield f"fire times since {rfc3339(fire)} have not been taken up"
