"""`follow`: which Attempts run, and which have ended lately, for those who follow all output."""

from collections.abc import Iterator
from typing import TypeVar

from pycron.control.context import Context
from pycron.control.handlers import handles
from pycron.control.runs import output_size
from pycron.control.server import Peer
from pycron.engine.live_runs import LiveRun
from pycron.model.history import RunRecord
from pycron.model.steps import Steps
from pycron.protocol.output_answers import FollowAnswer, FollowedRow
from pycron.protocol.output_messages import FollowRequest

T = TypeVar("T")

_AT_ONCE = 50  # Attempts in a step: a few milliseconds


@handles(FollowRequest)
def follow(context: Context, peer: Peer, request: FollowRequest) -> Steps[FollowAnswer]:
    """Deliveries are left out: what tells of a Run is no output of a Job."""
    sees = context.access.sight(peer)
    last = context.ended.last
    after = last if request.after is None else request.after
    ends, forgotten = context.ended.after(after)
    running = [
        live
        for live in context.engine.running
        if live.job.delivery is None and live.number and sees(live.job.user)
    ]
    growing: list[FollowedRow] = []
    ended: list[FollowedRow] = []
    for part in _parts(running):
        growing += [_growing(context, live) for live in part]
        yield
    for keys in _parts(ends):
        ended += [
            _ended(run, key.number)
            for key in keys
            if (run := context.history.run(key.run)) and len(run.attempts) >= key.number
            and run.delivery is None and sees(run.user)
        ]  # fmt: skip
        yield
    return {"running": growing, "ended": ended, "last": last, "forgotten": forgotten}


def _parts(items: list[T]) -> Iterator[list[T]]:
    return (items[at : at + _AT_ONCE] for at in range(0, len(items), _AT_ONCE))


def _growing(context: Context, live: LiveRun) -> FollowedRow:
    size = output_size(context, live.attempt)
    return _row(str(live.run), live.job.name, live.number, size, None)


def _ended(run: RunRecord, number: int) -> FollowedRow:
    attempt = run.attempts[number - 1]
    return _row(run.run_id, run.job, number, attempt.output_kept or 0, attempt.outcome)


def _row(run_id: str, job: str, attempt: int, size: int, outcome: str | None) -> FollowedRow:
    return {
        "run_id": run_id, "job": job, "attempt": attempt, "output_bytes": size, "outcome": outcome,
    }  # fmt: skip
