"""The Jobs and Runs that a request names, among those that the peer may see."""

from collections.abc import Callable, Iterable
from itertools import islice, starmap
from typing import NamedTuple

from pycron.control.access import Refusal, user_of
from pycron.control.context import Context
from pycron.control.server import Peer
from pycron.crontab.jobs import Jobs
from pycron.engine.diagnosis import refused_in_words
from pycron.model.history import RefusedFilter, RunRecord
from pycron.model.job import Job
from pycron.model.run import RunKey

_SHOWN = 10  # Jobs that an error names
_COMPARED = 200  # Jobs whose names are compared with one that no Job has: 5 ms
_LONGEST_NAME = 64  # characters


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


class Called(NamedTuple):
    """A Job that has a name, or had it. `where`: its table and line."""

    id: str
    user: str
    where: str


def called(job: Job) -> Called:
    return Called(job.id, job.user, f"{job.source.name}:{job.line}")


def visible_job(context: Context, peer: Peer, name: str) -> Job:
    """The one Job of this name or id. Raises Refusal if there is none, or several."""
    sees = context.access.sight(peer)
    found = {job.id: job for job in context.engine.jobs().called(name) if sees(job.user)}
    if not found:
        raise no_such_job(context.engine.jobs(), sees, name)
    return found[only_one(name, peer, map(called, found.values()))]


def visible_recorded_job(context: Context, peer: Peer, name: str) -> str:
    """The id of the one Job that has this name or id, or of a removed one that had it.

    Raises Refusal if there is none, or several.
    """
    sees = context.access.sight(peer)
    live = [called(job) for job in context.engine.jobs().called(name) if sees(job.user)]
    if live:
        return only_one(name, peer, live)
    recorded = [job for job in starmap(Called, context.history.jobs_called(name)) if sees(job.user)]
    if not recorded:
        raise no_such_job(context.engine.jobs(), sees, name)
    return only_one(name, peer, recorded)


def no_such_job(jobs: Jobs, sees: Callable[[str], bool], name: str) -> Refusal:
    """The refusal, with the name of a Job that was probably meant.

    Only among the first Jobs that the peer may see: to make and compare many would take long.
    """
    from difflib import get_close_matches  # 300 KiB, and only a mistake asks for it

    visible = jobs.where(lambda each: sees(each.user))
    known = [entries[index].name for entries, index in islice(visible, _COMPARED)]
    alike = get_close_matches(name[:_LONGEST_NAME], known, n=1, cutoff=0.7)
    lower = [each for each in known if each.lower() == name.lower()]
    meant = (lower or alike)[:1]
    hint = f"did you mean {meant[0]}?" if meant else "pycron list"
    return Refusal(f'no such job: "{name}" ({hint})')


def only_one(name: str, peer: Peer, jobs: Iterable[Called]) -> str:
    """The id of the one Job; the peer's own go before those of others. Raises Refusal."""
    found = set(jobs)
    found = {job for job in found if job.user == user_of(peer)} or found
    if not found:
        raise Refusal(f'no such job: "{name}" (pycron list)')
    if len(found) > 1:
        shown = ", ".join(f"{job.id} ({job.user}, {job.where})" for job in sorted(found)[:_SHOWN])
        more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
        raise Refusal(f'several jobs are called "{name}": {shown}{more}; use an id')
    return found.pop().id
