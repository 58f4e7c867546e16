"""`runs`, `run` and `output`: the recorded Runs, one of them, and what it has printed."""

from binascii import b2a_base64
from pathlib import Path

from pycron.control.access import Refusal, user_of
from pycron.control.context import Context
from pycron.control.handlers import handles
from pycron.control.lookup import no_such_job, visible_recorded_job, visible_run
from pycron.control.rows import attempt_row, refused_row, run_details, run_row, waits_for
from pycron.control.server import Peer
from pycron.model.history import RefusedFilter, RunFilter
from pycron.model.run import AttemptKey, Outcome
from pycron.protocol.control_answers import OutputAnswer, RefusedAnswer, RunAnswer, RunsAnswer
from pycron.protocol.control_messages import OutputRequest, RefusedRequest, RunRequest, RunsRequest
from pycron.system.output_names import output_name

_PAGE = 100  # rows of one answer: more would keep the daemon from its other work
OUTPUT_CHUNK = 256 * 1024  # bytes


@handles(RunsRequest)
def list_runs(context: Context, peer: Peer, request: RunsRequest) -> RunsAnswer:
    user = visible_user(context, peer, request.user)
    outcomes = outcomes_in(request.outcome)
    job, job_ids = request.job, tuple[str, ...]()
    if job is not None and request.one:
        job = visible_recorded_job(context, peer, job)
    elif job is not None:
        job_ids = known_ids(context, peer, job)
    wanted = RunFilter(
        limit=min(request.limit, _PAGE),
        job=job,
        user=user,
        outcomes=outcomes,
        since=request.since,
        until=request.until,
        before=request.before,
        dead=True if request.dead else None,
        delivery=_delivery(request),
        job_ids=job_ids,
    )
    runs = context.history.runs(wanted)
    return {"rows": [run_row(run) for run in runs], "before": runs[-1].number if runs else None}


def visible_user(context: Context, peer: Peer, user: str | None) -> str | None:
    """The user whose Runs are listed; None for all users. Raises Refusal."""
    if context.access.sees_all(peer):
        return user
    own = user_of(peer)
    if user not in (None, own):
        raise Refusal("you may see your own runs only")
    return own


def _delivery(request: RunsRequest) -> bool | None:
    """Whether deliveries are wanted: only they, none of them, or (None) both."""
    if request.deliveries:
        return True
    return None if request.job is not None or request.dead else False


def outcomes_in(names: str | None) -> list[Outcome] | None:
    """The Outcomes of a text with commas. Raises Refusal."""
    if names is None:
        return None
    try:
        return [Outcome(name) for name in names.split(",")]
    except ValueError:
        raise Refusal(f'unknown outcome: "{names}" ({", ".join(Outcome)})') from None


def known_ids(context: Context, peer: Peer, name: str) -> tuple[str, ...]:
    """The ids of the Jobs that the peer may see and that are called so now.

    The record may know them by another name. Raises Refusal if there is and was no such Job.
    """
    sees = context.access.sight(peer)
    found = tuple(job.id for job in context.engine.jobs().called(name) if sees(job.user))
    if not found and not any(map(sees, context.history.owners_of(name))):
        raise no_such_job(context.engine.jobs(), sees, name)
    return found


@handles(RefusedRequest)
def list_refused(context: Context, peer: Peer, request: RefusedRequest) -> RefusedAnswer:
    user = visible_user(context, peer, request.user)
    wanted = RefusedFilter(min(request.limit, _PAGE), user, request.since, request.until)
    return {"rows": [refused_row(each) for each in context.history.refused(wanted)]}


@handles(RunRequest)
def show_run(context: Context, peer: Peer, request: RunRequest) -> RunAnswer:
    run = visible_run(context, peer, request.run_id)
    row = run_details(run)
    job = context.engine.jobs().find({run.key.job_id}).get(run.key.job_id)
    if job is not None and job.command == run.command:
        row["stdin"] = job.stdin
    return {
        "row": row,
        "attempts": [attempt_row(attempt) for attempt in run.attempts],
        "deliveries": [run_row(each) for each in context.history.deliveries(run.key)],
    }


@handles(OutputRequest)
def output(context: Context, peer: Peer, request: OutputRequest) -> OutputAnswer:
    """A part of an Attempt's output, and whether the Attempt and its Run can print more.

    With `follow`, an Attempt that does not exist has printed nothing, and it has ended if its Run
    has ended.
    """
    run = visible_run(context, peer, request.run_id)
    live = context.engine.find(run.key)
    over = run.outcome is not None
    count = len(run.attempts)
    wanted = max(1, count) if request.attempt is None else request.attempt
    attempt = run.attempts[wanted - 1] if 1 <= wanted <= count else None
    if attempt is None and not request.follow:
        raise Refusal(f"{run.run_id} has {count} attempts")
    key = AttemptKey(run.key, wanted)
    size = kept_size(context, key) if attempt else 0
    begin = request.offset if request.tail is None else max(0, size - request.tail)
    data = part_of_output(context, key, begin) if attempt else b""
    outcome = attempt.outcome if attempt else None
    return {
        "data": b2a_base64(data, newline=False).decode(),
        "attempt": wanted,
        "attempts": count,
        "ended": (outcome is not None or over) and len(data) < OUTPUT_CHUNK,
        "more": len(data) == OUTPUT_CHUNK,
        "outcome": outcome,
        "output_bytes": attempt.output_bytes if attempt else None,
        "over": over,
        "why": None if live is None else waits_for(live),
        "begin": begin,
        "size": max(size, begin + len(data)) if data else size,
    }


def kept_size(context: Context, attempt: AttemptKey) -> int:
    """How many bytes of an Attempt's output are kept."""
    short = context.history.short_output(attempt)
    return output_size(context, attempt) if short is None else len(short)


def part_of_output(context: Context, attempt: AttemptKey, offset: int) -> bytes:
    """The output from this byte on, as far as one answer takes it."""
    short = context.history.short_output(attempt)
    if short is not None:
        return short[offset:]
    return _read_output(context.output / output_name(attempt), offset)


def _read_output(path: Path, offset: int) -> bytes:
    try:
        if offset > path.stat().st_size:  # the offset may be larger than seek(2) accepts
            return b""
        with path.open("rb") as file:
            file.seek(offset)
            return file.read(OUTPUT_CHUNK)
    except FileNotFoundError:
        return b""  # the Attempt has printed nothing


def output_size(context: Context, attempt: AttemptKey) -> int:
    """How many bytes the output file of a running Attempt has."""
    try:
        return (context.output / output_name(attempt)).stat().st_size
    except OSError:
        return 0  # the Attempt has printed nothing
