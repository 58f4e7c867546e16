"""All Jobs, and one Job."""

import time
from asyncio import gather
from collections.abc import Mapping
from datetime import datetime

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from pycron.control.client import ControlError
from pycron.protocol.control_answers import WhyRow
from pycron.protocol.control_messages import JobsRequest, NextRequest, RunsRequest, WhyRequest
from pycron.protocol.job_answers import ShownJobRow
from pycron.protocol.question_answers import SampleRow
from pycron.protocol.question_messages import SamplesRequest
from pycron.web.views.charts import Durations, durations_of
from pycron.web.views.viewing import PAGE, ask, ask_or_say, link, number_in, older, show, text_in
from pycron.wording.advice import meaning

_RECENT = 20  # Runs of a sparkline
_CHARTED = 100  # Runs of a chart
_HISTORY = 25  # Runs on the page of a Job
_COMING = 5  # fire times
_SEARCHING = 0.15  # seconds; then the page says how far it has looked


def routes() -> list[Route]:
    return [
        Route("/jobs", _jobs),
        Route("/jobs/{job}", _job),
        Route("/jobs/{job}/why", _why),
    ]


async def _jobs(request: Request) -> Response:
    """A page of the Jobs in the order of table and line, from a position on."""
    position = number_in(request, "position") or 0
    filters = {name: text_in(request, name) for name in ("q", "owner", "failed")}
    wanted = JobsRequest(
        position=position, details=True, user=filters["owner"], match=filters["q"],
        failed=bool(filters["failed"]), limit=PAGE, recent=_RECENT,
    )  # fmt: skip
    (rows, following, more), called = await gather(
        _page(request, wanted), _called(request, filters, position)
    )
    ids = {row["id"] for row in called}
    rows = [*called, *(row for row in rows if row["id"] not in ids)]
    return show(
        request, "jobs.html", rows=rows, filters=filters, filtered=any(filters.values()),
        first=position, following=following, more=more,
        next=link("/jobs", filters, position=following) if more else None,
        begin=link("/jobs", filters) if position else None,
    )  # fmt: skip


async def _called(
    request: Request, filters: Mapping[str, str | None], position: int
) -> list[ShownJobRow]:
    """The Jobs that are called as the text says: they are found at once, also among very many."""
    name, owner = filters["q"], filters["owner"]
    if name is None or position or filters["failed"]:
        return []
    answer, _ = await ask_or_say(request, JobsRequest(job=name, details=True, recent=_RECENT))
    return [row for row in answer["rows"] if owner in (None, row["user"])] if answer else []


async def _page(request: Request, wanted: JobsRequest) -> tuple[list[ShownJobRow], int, bool]:
    """The rows of a page, from where the next one continues, and whether there may be one.

    If few Jobs are wanted, the page has fewer rows: how many Jobs are looked at is bounded by time.
    """
    rows: list[ShownJobRow] = []
    end = time.monotonic() + _SEARCHING
    while True:
        answer = await ask(request, wanted)
        rows += answer["rows"]
        position = answer.get("position", wanted.first + len(rows))
        if not answer["more"] or len(rows) >= PAGE or time.monotonic() > end:
            return rows, position, answer["more"]
        wanted.position = position


async def _job(request: Request) -> Response:
    """One Job; its history is still there when its entry is gone."""
    job, before = request.path_params["job"], number_in(request, "before")
    (found, refusal), runs, samples = await gather(
        ask_or_say(request, JobsRequest(job=job, details=True, recent=_RECENT)),
        ask(request, RunsRequest(_HISTORY, before, job=job)),
        _sample(request, job),
    )
    row = found["rows"][0] if found else None
    coming = (await ask(request, NextRequest(_COMING, job=row["id"])))["rows"] if row else []
    rows = runs["rows"]
    if row is None and not rows:
        raise ControlError(refusal or "no such job", {"ok": False})
    name = row["job"] if row else rows[0]["job"]
    return show(
        request, "job.html", job=row, name=name, id=job, coming=coming, rows=rows,
        older=older(runs, _HISTORY, f"/jobs/{job}"), newest=before is None, chart=_chart(samples),
    )  # fmt: skip


async def _sample(request: Request, job: str) -> SampleRow | None:
    """The newest Runs of a Job that have ended; None if there are none."""
    answer, _ = await ask_or_say(request, SamplesRequest(_CHARTED, job=job))
    return answer["rows"][0] if answer and answer["rows"] else None


def _chart(sample: SampleRow | None) -> Durations | None:
    if sample is None or len(sample["seconds"]) < 2:
        return None
    return durations_of(sample["fire_times"], sample["seconds"], sample["outcomes"])


async def _why(request: Request) -> Response:
    """What happened to a Job at a time: `time`, as the clock in the Job's zone shows it."""
    job, typed = request.path_params["job"], text_in(request, "time")
    rows: list[WhyRow] = []
    error = None
    if typed is not None:
        second = _second(typed)
        if second is None:
            error = f'bad time: "{typed}" (such as 2026-03-08T02:30)'
        else:
            answer, error = await ask_or_say(request, WhyRequest(time=second, job=job, wall=True))
            rows = answer["rows"] if answer else []
    status = 200 if error is None else 400
    return show(request, "why.html", status=status, id=job, typed=typed or "", rows=rows,
                error=error, meanings=[meaning(row) for row in rows])  # fmt: skip


def _second(text: str) -> int | None:
    """The wall second of a time without a zone; None if it is none, or before 1970."""
    try:
        wall = datetime.fromisoformat(text)
    except ValueError:
        return None
    if wall.tzinfo is not None or wall.year < 1970 or wall.year > 9998:
        return None
    return int((wall - datetime(1970, 1, 1)).total_seconds())
