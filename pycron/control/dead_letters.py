"""`redrive` and `drop`: what the owner of a dead letter, and root, do with it."""

from collections.abc import Iterator

from pycron.control.access import Refusal
from pycron.control.context import Context
from pycron.control.handlers import handles
from pycron.control.lookup import visible_run
from pycron.control.operations import ENDING
from pycron.control.server import Peer
from pycron.engine.delivery_jobs import recorded_message
from pycron.engine.events import Redriven, SkippedFollower
from pycron.model.history import RunRecord
from pycron.model.run import AttemptKey, Outcome, RunKey
from pycron.protocol.control_answers import DropAnswer, RedriveAnswer
from pycron.protocol.control_messages import DropRequest, RedriveRequest
from pycron.schedule.expressions import After


@handles(RedriveRequest)
def redrive(context: Context, peer: Peer, request: RedriveRequest) -> RedriveAnswer:
    run = _dead_letter(context, peer, request.run_id)
    job_id, last = run.key.job_id, len(run.attempts)
    job = recorded_message(run) or context.engine.jobs().find({job_id}).get(job_id)
    if job is None:
        raise Refusal(f"{run.job}: its entry is gone; it can only be dropped")
    followers = tuple(_skipped_followers(context, run.key))
    if not context.feed(Redriven(AttemptKey(run.key, last), job, followers)):
        raise Refusal(ENDING)
    live = context.engine.find(run.key)
    return {
        "run_id": run.run_id,
        "attempt": last + 1,
        "job": run.job,
        "why": None if live is None else live.why,
    }


def _skipped_followers(context: Context, run: RunKey) -> Iterator[SkippedFollower]:
    """The Runs of @after Jobs that were skipped because of a Run, each behind those it waits for.

    Takes as many queries as there are Jobs that follow the Job of the Run.
    """
    jobs = context.engine.jobs().following(run.job_id)
    skipped = {run.job_id}
    for job in jobs:
        assert isinstance(job.schedule, After)
        found = context.history.run(run._replace(job_id=job.id))
        if found is None or found.outcome is not Outcome.SKIPPED or found.attempts:
            continue
        if skipped.isdisjoint(job.schedule.job_ids):
            continue
        skipped.add(job.id)
        awaited = (context.history.run(run._replace(job_id=each)) for each in job.schedule.job_ids)
        ended = {each.key.job_id: each.outcome for each in awaited if each and each.outcome}
        alive = {job_id: how for job_id, how in ended.items() if job_id not in skipped}
        yield SkippedFollower(found.key, job, alive)


@handles(DropRequest)
def drop(context: Context, peer: Peer, request: DropRequest) -> DropAnswer:
    run = _dead_letter(context, peer, request.run_id)
    context.history.drop_dead(run.key)
    return {"run_id": run.run_id, "job": run.job}


def _dead_letter(context: Context, peer: Peer, run_id: str) -> RunRecord:
    """A dead letter that the peer may handle. Raises Refusal.

    Only the store knows whether the Run is still a dead letter and which Attempts it had, so it is
    refused while some records could not be written.
    """
    if context.recorder.behind:
        raise Refusal("the history cannot be written to, so it is not up to date; try it later")
    run = visible_run(context, peer, run_id)
    context.access.check_may_change(peer, run.user)
    if not run.dead:
        raise Refusal(f"{run.run_id} is no dead letter")
    return run
