"""The Jobs and Runs that a request names, among those that the peer may see."""

from collections.abc import Collection

from pycron.control.access import Refusal
from pycron.control.context import Context
from pycron.control.server import Peer
from pycron.engine.diagnosis import refused_in_words
from pycron.model.history import RefusedFilter, RunRecord
from pycron.model.job import Job
from pycron.model.run import RunKey


def visible_run(context: Context, peer: Peer, run_id: str) -> RunRecord:
    """The recorded Run of this run_id. Raises Refusal."""
    try:
        key = RunKey.parse(run_id)
    except ValueError as error:
        raise Refusal(str(error)) from None
    found = context.history.run(key)
    if found is None or not context.access.sight(peer)(found.user):
        raise Refusal(f'no such run: "{run_id}"{_why_not(context, peer, key)}')
    return found


def _why_not(context: Context, peer: Peer, run: RunKey) -> str:
    """In words, that a fire time of a Job which the peer may see got no Run; else nothing."""
    job = context.engine.jobs().find({run.job_id}).get(run.job_id)
    if job is None or not context.access.sight(peer)(job.user):
        return ""
    fire = run.fire_time
    refused = context.history.refused(RefusedFilter(1, job.user, fire, fire + 1))
    return f" ({refused_in_words(refused[0])})" if refused else ""


def visible_job(context: Context, peer: Peer, name: str) -> Job:
    """The one Job of this name or id. Raises Refusal if there is none, or several."""
    sees = context.access.sight(peer)
    found = [job for job in context.engine.jobs().called(name) if sees(job.user)]
    if not found:
        raise Refusal(f'no such job: "{name}" (pycron list)')
    return only_one(name, found)


def only_one(name: str, jobs: Collection[Job]) -> Job:
    """The only Job of a collection. Raises Refusal if there are several."""
    if len(jobs) > 1:
        ids = ", ".join(f"{job.id} ({job.source.name}:{job.line})" for job in jobs)
        raise Refusal(f'several jobs are called "{name}": {ids}')
    return next(iter(jobs))
