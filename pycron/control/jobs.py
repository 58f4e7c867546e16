"""`jobs` and `next`: the Jobs of all tables, and their fire times to come.

`calendar`: days that some of them depend on.
"""

import datetime
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from operator import itemgetter

from pycron.control.access import Refusal
from pycron.control.context import Context
from pycron.control.handlers import handles
from pycron.control.rows import (
    USUAL,
    last_run_row,
    listed_job_row,
    listed_row,
    next_row,
    paused_row,
    precise,
    recent_row,
    usual_seconds,
)
from pycron.control.runs import outcomes_in
from pycron.control.server import Peer
from pycron.crontab.entries import Entries, EntryContext
from pycron.crontab.jobs import Jobs
from pycron.crontab.listing import Listed, entries_from, listed
from pycron.engine.start_times import start_delay
from pycron.engine.upcoming import FARTHEST, Coming, first_from, in_order
from pycron.model.history import LastRun
from pycron.model.instants import rfc3339
from pycron.model.job import Job
from pycron.model.pause import Pause, Scope, scopes_of
from pycron.model.run import Outcome
from pycron.model.steps import Steps
from pycron.ports import StoreFailure
from pycron.protocol.control_messages import CalendarRequest, JobsRequest, NextRequest
from pycron.protocol.job_answers import (
    CalendarAnswer,
    JobsAnswer,
    NextAnswer,
    NextRow,
    ShownJobRow,
)
from pycron.schedule.fire_times import next_fire

_PAGE = 500  # rows of one answer
_STEP = 200  # entries that are looked at, or rows that are made, in one step: 5 ms
_LOOKED_AT = 100  # entries for each row of an answer; the client asks again for what is behind
_HISTORIES = 20  # the same, if the last Runs of each have to be looked at
_MOST_FIRES = 1000
_LONG_WAY = 30 * 86_400  # seconds; to look for a fire time that is further away takes longer
_MOST_RECENT = 50  # Runs that are listed of a Job

_Found = tuple[int, Entries, int]  # a position in the list of all Jobs, and the entry there


@handles(JobsRequest)
def list_jobs(context: Context, peer: Peer, request: JobsRequest) -> Steps[JobsAnswer]:
    if request.job is not None:
        jobs = _called(context, peer, request.job)
        named = [listed_job_row(job) for job in jobs]
        if request.details:
            _add_details(context, request, named, jobs)
        return {"rows": named, "more": False}
    wanted = _wanted(context, peer, request.user)
    if request.position is None:
        return _numbered_page(context.engine.jobs(), wanted, request.first)
    found = entries_from(context.engine.jobs(), request.position, wanted)
    chosen = _chosen(request)
    rows: list[ShownJobRow] = []
    position, last_position = request.position, request.position + chosen.most_looked_at
    batch = _next_batch(found, chosen, len(rows))
    while batch and len(rows) < chosen.most and position < last_position:
        made, room = _rows(context, chosen, batch), chosen.most - len(rows)
        rows += [row for _, row in made[:room]]
        if len(made) > room:
            return {"rows": rows, "more": True, "position": made[room][0]}
        position = batch[-1][0] + 1
        yield
        batch = _next_batch(found, chosen, len(rows))
    return {"rows": rows, "more": bool(batch), "position": position}


@dataclass(frozen=True, slots=True)
class _Chosen:
    """The Jobs and the details that a request asks for. `most`: rows of one answer.

    `recent`: so many of the last Runs of each Job.
    """

    text: str
    details: bool
    failed: bool
    outcomes: list[Outcome] | None
    most: int
    recent: int

    @property
    def by_runs(self) -> bool:
        """Whether the last Runs of a Job decide."""
        return self.failed or self.outcomes is not None

    @property
    def most_looked_at(self) -> int:
        """Entries that are looked at for one answer."""
        return self.most * (_HISTORIES if self.by_runs else _LOOKED_AT)

    @property
    def is_filter(self) -> bool:
        return bool(self.text or self.by_runs)


def _chosen(request: JobsRequest) -> _Chosen:
    """Raises Refusal for an unknown outcome."""
    outcomes = outcomes_in(request.outcome)
    text = (request.match or "").casefold()
    most = min(max(1, request.limit), _PAGE)
    return _Chosen(text, request.details, request.failed, outcomes, most, request.recent)


def _next_batch(found: Iterator[_Found], chosen: _Chosen, rows: int) -> list[_Found]:
    """The entries of the next step; without a filter, not more than the page has room for."""
    room = _STEP if chosen.is_filter else max(1, chosen.most - rows)
    return list(islice(found, min(_STEP, room)))


def _called(context: Context, peer: Peer, name: str) -> list[Job]:
    """The Jobs of this name or id that the peer may see. Raises Refusal if there are none."""
    sees = context.access.sight(peer)
    jobs = [job for job in context.engine.jobs().called(name) if sees(job.user)]
    if not jobs:
        raise Refusal(f'no such job: "{name}" (pycron list)')
    return jobs


def _wanted(context: Context, peer: Peer, user: str | None) -> Callable[[EntryContext], bool]:
    sees = context.access.sight(peer)
    return lambda each: sees(each.user) and user in (None, each.user)


def _numbered_page(jobs: Jobs, wanted: Callable[[EntryContext], bool], first: int) -> JobsAnswer:
    """A page as the programs of earlier versions ask for it."""
    page = list(islice(jobs.where(wanted), first, first + _PAGE + 1))
    rows = [listed_row(listed(*each)) for each in page[:_PAGE]]
    return {"rows": rows, "more": len(page) > _PAGE}


def _rows(
    context: Context, chosen: _Chosen, batch: Sequence[_Found]
) -> list[tuple[int, ShownJobRow]]:
    """The positions and the rows of those of some entries that are chosen."""
    named = [(at, listed(entries, index), entries, index) for at, entries, index in batch]
    named = [each for each in named if not chosen.text or _contains(each[1], chosen.text)]
    if chosen.by_runs:
        runs = _last_runs(context, [entry.id for _, entry, _, _ in named], 0) or {}
        named = [each for each in named if _has_ended_so(chosen, runs.get(each[1].id, []))]
    elif not chosen.details:
        return [(at, listed_row(entry)) for at, entry, _, _ in named]
    found = _last_runs(context, [entry.id for _, entry, _, _ in named], chosen.recent)
    pauses = {pause.scope: pause for pause in context.engine.pauses}
    at, host = time.time(), context.reader_context().host
    now = int(at)
    rows: list[tuple[int, ShownJobRow]] = []
    for position, entry, entries, index in named:
        row = listed_row(entry)
        has_delay = entries.context(index).settings.jitter
        delay = start_delay(entries[index], host) if has_delay else 0
        pause = _pause_at(pauses, entry.scopes, at) if pauses else None
        _add_next(row, context.next_fires.after(entries, index, now), delay, pause)
        _add_runs(row, found, chosen.recent)
        rows.append((position, row))
    return rows


def _add_details(
    context: Context, request: JobsRequest, rows: list[ShownJobRow], jobs: Sequence[Job]
) -> None:
    """Add details to the rows of Jobs that were named, and their schedules in words."""
    from pycron.schedule.words import daylight_saving, explain  # only a person asks for it

    runs = _last_runs(context, [job.id for job in jobs], request.recent)
    pauses = {pause.scope: pause for pause in context.engine.pauses}
    at, host = time.time(), context.reader_context().host
    for row, job in zip(rows, jobs, strict=True):
        fire = next_fire(job.schedule, context.engine.zone_of(job.zone), int(at))
        _add_next(row, fire, start_delay(job, host), _pause_at(pauses, scopes_of(job), at))
        _add_runs(row, runs, request.recent)
        row["in_words"] = explain(job.schedule)
        row["daylight_saving"] = daylight_saving(job.schedule)


def _add_next(row: ShownJobRow, fire: int | None, delay: int, pause: Pause | None) -> None:
    """Add when a Job is due next, how much later it starts then, and the pause that holds now."""
    row["next_fire_time"] = None if fire is None else rfc3339(fire)
    row["delay"] = delay
    row["paused"] = paused_row(pause)


def _add_runs(row: ShownJobRow, runs: Mapping[str, list[LastRun]] | None, recent: int) -> None:
    """Add what the last Runs of a Job say about it; None: the history cannot be read."""
    if runs is None:
        return
    own = runs.get(row["id"])
    if own is None:  # it has not run yet
        row["last"] = row["running_since"] = row["usual_seconds"] = None
        if recent:
            row["recent"] = []
        return
    ended = next((run for run in own if run.outcome is not None), None)
    running = (run.started for run in own if run.outcome is None and run.ended is None)
    row["last"] = None if ended is None else last_run_row(ended)
    row["running_since"] = precise(next(filter(None, running), None))
    row["usual_seconds"] = usual_seconds(own)
    if recent:
        row["recent"] = [recent_row(run) for run in reversed(own[:recent]) if run.outcome]


def _contains(entry: Listed, text: str) -> bool:
    return text in entry.name.casefold() or text in entry.command.casefold()


def _last_runs(
    context: Context, job_ids: Sequence[str], recent: int
) -> Mapping[str, list[LastRun]] | None:
    """The last Runs by Job; None if the history cannot be read: the Jobs can be listed still."""
    try:
        return context.history.last_runs(job_ids, min(max(recent, USUAL), _MOST_RECENT))
    except StoreFailure:
        return None


def _has_ended_so(chosen: _Chosen, runs: Sequence[LastRun]) -> bool:
    outcome = next((run.outcome for run in runs if run.outcome is not None), None)
    if outcome is None or (chosen.failed and outcome is Outcome.SUCCEEDED):
        return False
    return chosen.outcomes is None or outcome in chosen.outcomes


@handles(NextRequest)
def list_next(context: Context, peer: Peer, request: NextRequest) -> Steps[NextAnswer]:
    zone_of, host = context.engine.zone_of, context.reader_context().host
    first = yield from _first_fires(context, peer, request)
    pauses = {pause.scope: pause for pause in context.engine.pauses}
    rows: list[NextRow] = []
    last, farthest = time.time(), time.time() + FARTHEST
    for fire, job in islice(in_order(first, zone_of), min(request.count, _MOST_FIRES)):
        if fire > farthest:
            break
        local = zone_of(job.zone).local(fire).isoformat()
        pause = _pause_at(pauses, scopes_of(job), fire)
        rows.append(next_row(job, fire, local, start_delay(job, host), pause))
        if not len(rows) % _STEP or fire > last + _LONG_WAY:
            last = fire
            yield
    return {"rows": rows}


def _first_fires(context: Context, peer: Peer, request: NextRequest) -> Steps[list[Coming]]:
    """The next fire time of each Job that may be wanted, in order."""
    engine, most = context.engine, min(max(request.count, 1), _MOST_FIRES)
    start = int(time.time()) + 1 if request.start is None else request.start
    if start > time.time() + FARTHEST:
        return []
    if request.job is not None:
        jobs = _called(context, peer, request.job)
        fires = [
            (next_fire(job.schedule, engine.zone_of(job.zone), start - 1), job) for job in jobs
        ]
        return sorted([(fire, job) for fire, job in fires if fire is not None], key=itemgetter(0))
    if request.start is None:
        return engine.coming(most, context.access.sight(peer))
    wanted = _wanted(context, peer, None)
    return (yield from first_from(engine.jobs(), wanted, context.next_fires, start, most))


def _pause_at(
    pauses: Mapping[Scope, Pause], scopes: Iterable[Scope], instant: float
) -> Pause | None:
    """A pause of one of these scopes that holds at a UTC second, as far as it is known now."""
    found = (pauses[scope] for scope in scopes if scope in pauses)
    return next((pause for pause in found if pause.covers(instant)), None)


@handles(CalendarRequest)
def calendar(context: Context, peer: Peer, request: CalendarRequest) -> CalendarAnswer:
    """Every user may see every calendar: all may use them in their tables."""
    found = context.config().calendars.get(request.name)
    if found is None:
        raise Refusal(f'no such calendar: "{request.name}"')
    if not datetime.MINYEAR <= request.year <= datetime.MAXYEAR:
        raise Refusal("bad year")
    return {"days": [str(day) for day in found.days_in(request.year)]}
