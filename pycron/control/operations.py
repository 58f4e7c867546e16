"""`start` and `kill`: what the owner of a Job, and root, do with its Runs by hand."""

import time

from pycron.control.access import Refusal, has_full_rights, user_of
from pycron.control.channel import Channel
from pycron.control.context import Context
from pycron.control.handlers import handles
from pycron.control.lookup import called, only_one, visible_job
from pycron.control.server import Peer
from pycron.engine.actions import Record, RecordNotStarted, RecordRun
from pycron.engine.events import CancelledByHand, StartedByHand
from pycron.engine.live_runs import LiveRun
from pycron.model.job import Job
from pycron.model.run import FIRST_BY_HAND, RunKey
from pycron.model.shared import SharedKey
from pycron.protocol.control_answers import KillAnswer, StartAnswer, StateRow
from pycron.protocol.control_messages import KillRequest, StartRequest

ENDING = "the daemon is ending, and begins nothing"


@handles(StartRequest)
def start(context: Context, peer: Peer, request: StartRequest) -> StartAnswer:
    """Start a Job now, within the limits unless forced; refused if the Run is given up at once."""
    job = visible_job(context, peer, request.job)
    context.access.check_may_change(peer, job.user)
    if request.force and not has_full_rights(peer):
        raise Refusal("only root may use --force: it goes past everybody's limits and pauses")
    live = start_by_hand(context, peer, job, force=request.force)
    return {
        "run_id": str(live.run), "state": live.state.value, "why": live.why, "job": job.name,
    }  # fmt: skip


def start_by_hand(context: Context, peer: Peer, job: Job, *, force: bool) -> LiveRun:
    """The Run of a Job that a peer starts now. Raises Refusal if it is given up at once."""
    pass_number = _free_pass_number(context, job)
    records = context.feed(StartedByHand(job, user_of(peer), pass_number, force)).records
    run = next((each.run for each in records if isinstance(each, RecordRun) and each.by), None)
    if run is None:
        raise Refusal(ENDING)
    context.last_start = run
    _check_not_given_up(job, run, records)
    live = context.engine.find(run)
    assert live is not None  # or it would have been given up
    return live


def _check_not_given_up(job: Job, run: RunKey, records: list[Record]) -> None:
    for record in records:
        if isinstance(record, RecordNotStarted) and record.run == run:
            raise Refusal(f"{job.name}: {record.outcome.value}: {record.reason}")


def _free_pass_number(context: Context, job: Job) -> int:
    """A pass number that no Run of the Job has in this second, recorded or not."""
    run = RunKey(job.id, int(time.time()), FIRST_BY_HAND)
    last = context.last_start
    if last and last.fire_time >= run.fire_time:
        run = RunKey(job.id, run.fire_time, last.pass_number + 1)
    while context.engine.is_alive(run) or context.history.run(run):
        run = RunKey(job.id, run.fire_time, run.pass_number + 1)
    return run.pass_number


@handles(KillRequest)
def kill(context: Context, peer: Peer, request: KillRequest) -> KillAnswer | Channel[KillAnswer]:
    """End a Run, all Runs of a Job that run or wait, or all commands of those the peer may end.

    A shared Run may be on another host, or wait in the database.
    """
    if request.everything:
        found = _own_commands(context, peer)
    elif (channel := _kill_elsewhere(context, peer, request.run_id)) is not None:
        return channel
    else:
        found = _called(context, peer, request.run_id)
    for live in found:
        context.feed(CancelledByHand(live.run, user_of(peer), request.kill_after))
    return {"rows": [_state_row(live) for live in found]}


def _kill_elsewhere(context: Context, peer: Peer, run_id: str) -> Channel[KillAnswer] | None:
    """None if this is no shared Run of a Job of this host, or if it is here. Raises Refusal."""
    try:
        run = RunKey.parse(run_id)
    except ValueError:
        return None
    job = context.engine.shared_job(run.job_id)
    if context.cluster is None or job is None or context.engine.is_alive(run):
        return None
    if not context.access.sight(peer)(job.user):
        return None
    context.access.check_may_change(peer, job.user)
    row: StateRow = {"run_id": run_id, "state": "elsewhere", "job": job.name}
    shared = SharedKey(job.user, job.name, run.fire_time)
    return context.cluster.kill(shared, user_of(peer), {"ok": True, "rows": [row]})


def _state_row(live: LiveRun) -> StateRow:
    return {"run_id": str(live.run), "state": live.state.value, "job": live.job.name}


def _own_commands(context: Context, peer: Peer) -> list[LiveRun]:
    """The running commands that the peer may end; what tells of a Run goes on."""
    may = context.access.power(peer)
    running = context.engine.running
    return [live for live in running if not live.job.is_message and may(live.job.user)]


def _called(context: Context, peer: Peer, name: str) -> list[LiveRun]:
    """The Run with this id, or the Runs of the Job with this name. Raises Refusal."""
    sees = context.access.sight(peer)
    found = [
        live
        for live in context.engine.alive
        if name in (str(live.run), live.job.name, live.job.id) and sees(live.job.user)
    ]
    if not found:
        raise Refusal(f'nothing runs or waits that is called "{name}"')
    job_id = only_one(name, peer, (called(live.job) for live in found))
    found = [live for live in found if live.job.id == job_id]
    context.access.check_may_change(peer, found[0].job.user)
    return found
