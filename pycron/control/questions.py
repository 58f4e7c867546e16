"""`samples`, `starts` and `table-text`: what statistics, the calendar and a simulation are made of.

The client computes; the daemon only reads, in steps of a few milliseconds.
"""

from pycron.analysis.minute_counts import MinuteCounts
from pycron.control.access import Refusal, has_full_rights, user_of
from pycron.control.context import Context
from pycron.control.handlers import handles
from pycron.control.lookup import visible_recorded_job
from pycron.control.runs import visible_user
from pycron.control.server import Peer
from pycron.crontab.entries import Entries
from pycron.engine.reports import lateness_ms
from pycron.model.history import JobSample, RunSample, SampleFilter
from pycron.model.run import RunKey
from pycron.model.steps import Steps
from pycron.protocol.question_answers import (
    SampleRow,
    SamplesAnswer,
    StartsAnswer,
    TableTextAnswer,
)
from pycron.protocol.question_messages import SamplesRequest, StartsRequest, TableTextRequest

_PAGE = 100  # Jobs of one answer, and
_PAGE_RUNS = 2000  # Runs
_MOST_RUNS = 1000  # of one Job
_STEP = 300  # Runs that are read in a step, and
_COUNTED = 3000  # Runs that are counted in a step
_LONGEST = 2 * 86_400  # seconds whose minutes are counted
_LATEST = 3600  # seconds before the first minute: a Run that was due there may start later
_PART = 256 * 1024  # bytes of a table in one answer


@handles(SamplesRequest)
def samples(context: Context, peer: Peer, request: SamplesRequest) -> Steps[SamplesAnswer]:
    user = visible_user(context, peer, request.user)
    job = None if request.job is None else visible_recorded_job(context, peer, request.job)
    limit = min(request.limit, _MOST_RUNS)
    wanted = SampleFilter(limit, job, user, request.since, request.until)
    rows: list[SampleRow] = []
    after, runs, work = request.after, 0, 0
    while len(rows) < _PAGE and runs < _PAGE_RUNS:
        sample = context.history.job_sample(after, wanted)
        if sample is None:
            return {"rows": rows, "after": None}
        after = sample.number
        runs += len(sample.runs)
        work += 1 + len(sample.runs)
        if sample.runs:
            rows.append(_row(sample))
        if work >= _STEP:
            work = 0
            yield
    return {"rows": rows, "after": after}


def _row(sample: JobSample) -> SampleRow:
    return {
        "job": sample.name,
        "id": sample.id,
        "table": sample.table,
        "line": sample.line,
        "user": sample.user,
        "fire_times": [run.fire_time for run in sample.runs],
        "lateness_ms": [_lateness(sample.id, run) for run in sample.runs],
        "seconds": [None if run.duration is None else round(run.duration, 3)
                    for run in sample.runs],
        "outcomes": [run.outcome.value for run in sample.runs],
    }  # fmt: skip


def _lateness(job_id: str, run: RunSample) -> int | None:
    key = RunKey(job_id, run.fire_time, run.pass_number)
    if run.started is None or key.is_by_hand:
        return None
    return lateness_ms(key, run.started)


@handles(StartsRequest)
def starts(context: Context, peer: Peer, request: StartsRequest) -> Steps[StartsAnswer]:
    user = visible_user(context, peer, request.user)
    if not request.since < request.until <= request.since + _LONGEST:
        raise Refusal("bad time (at most two days)")
    found = MinuteCounts(request.since, request.until)
    after: tuple[int, int] | None = (0, 0)
    since = max(0, request.since - _LATEST)
    while after is not None:
        minutes, after = context.history.starts(since, request.until, after, user, _COUNTED)
        for minute, starts in minutes.items():
            found.add(minute, starts)
        yield
    return {"counts": list(found.counts)}


@handles(TableTextRequest)
def table_text(context: Context, peer: Peer, request: TableTextRequest) -> TableTextAnswer:
    """Root and the daemon's user may read all tables, any other user their own.

    So may not operators, who see all Jobs: the variables of a table may be secrets.
    """
    readable = _readable(context, peer)
    if request.number >= len(readable):
        return {"table": None, "owner": None, "host": "", "text": "", "rest": None}
    entries = readable[request.number]
    text, rest = _part(entries.encoded_text, request.first)
    source = entries.source
    return {
        "table": source.name,
        "owner": source.owner,
        "host": entries.host,
        "text": text,
        "rest": rest,
    }


def _readable(context: Context, peer: Peer) -> list[Entries]:
    every = context.engine.jobs().tables
    if has_full_rights(peer):
        return list(every)
    return [entries for entries in every if entries.source.owner == user_of(peer)]


def _part(text: bytes, first: int) -> tuple[str, int | None]:
    """Whole lines of a text from a byte on, and where the rest begins."""
    end = text.find(b"\n", first + _PART) + 1 or len(text)
    return text[first:end].decode("utf-8", "surrogatepass"), end if end < len(text) else None
