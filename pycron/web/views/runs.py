"""Runs, one Run, and lines of output that contain a text."""

from dataclasses import dataclass
from datetime import datetime

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from pycron.model.run import FAILURES, NOT_SUCCEEDED, Outcome, RunKey
from pycron.protocol.control_answers import RunAnswer
from pycron.protocol.control_messages import RunRequest, RunsRequest
from pycron.protocol.output_answers import FoundLine
from pycron.protocol.output_messages import SearchRequest
from pycron.schedule.local_days import wall_instant
from pycron.schedule.zone import Zone
from pycron.web.views.live_output import plain_in, shown_output
from pycron.web.views.viewing import (
    PAGE,
    ask,
    ask_or_say,
    link,
    number_in,
    older,
    show,
    text_in,
    times_of,
)

_FILTERS = ("job", "owner", "outcome", "since", "until", "kind")
_GROUPS = {"failures": FAILURES, "not succeeded": NOT_SUCCEEDED}
_LINES = 100  # of one answer to a search


def routes() -> list[Route]:
    return [
        Route("/runs", _runs),
        Route("/runs/{run}", _run),
        Route("/search", _search),
    ]


async def _runs(request: Request) -> Response:
    """A page of Runs, newest first, from one of them on."""
    filters = {name: text_in(request, name) for name in _FILTERS}
    wanted, error = _wanted(filters, times_of(request).zone)
    answer = None
    if error is None:
        wanted.before = number_in(request, "before")
        answer, error = await ask_or_say(request, wanted)
    rows = answer["rows"] if answer else []
    return show(
        request, "runs.html", status=200 if error is None else 400, rows=rows, filters=filters,
        error=error, filtered=any(filters.values()), outcomes=[*_GROUPS, *Outcome],
        newest=link("/runs", filters) if wanted.before else None,
        older=older(answer, PAGE, "/runs", filters) if answer else None,
    )  # fmt: skip


def _wanted(filters: dict[str, str | None], zone: Zone) -> tuple[RunsRequest, str | None]:
    """The question that the filters ask; or what is wrong with one of them."""
    outcome = filters["outcome"]
    wanted = RunsRequest(
        PAGE, job=filters["job"], user=filters["owner"],
        outcome=",".join(_GROUPS[outcome]) if outcome in _GROUPS else outcome,
        deliveries=filters["kind"] == "deliveries",
    )  # fmt: skip
    try:
        wanted.since = _instant(filters["since"], zone)
        wanted.until = _instant(filters["until"], zone)
    except ValueError as error:
        return wanted, str(error)
    return wanted, None


def _instant(text: str | None, zone: Zone) -> int | None:
    """The UTC second of a local time such as 2026-03-08T02:30. Raises ValueError."""
    if text is None:
        return None
    try:
        return wall_instant(datetime.fromisoformat(text), zone)
    except ValueError:
        raise ValueError(f'bad time: "{text}" (such as 2026-03-08T02:30)') from None


async def _run(request: Request) -> Response:
    """One Run, its Attempts, and the end of the output of one of them."""
    run_id = request.path_params["run"]
    answer = await ask(request, RunRequest(run_id))
    output = None
    if answer["attempts"]:
        number = number_in(request, "attempt") or len(answer["attempts"])
        output = await shown_output(request, run_id, number, number_in(request, "offset"))
    return show(
        request, "run.html", run=answer["row"], attempts=answer["attempts"], id=run_id,
        deliveries=answer.get("deliveries", []), output=output, plain=plain_in(request),
        job_id=_job_id(run_id), state=_state(answer),
    )  # fmt: skip


def _job_id(run_id: str) -> str:
    return RunKey.parse(run_id).job_id


def _state(answer: RunAnswer) -> str:
    """`ended`, `running`, or `waiting` for its first or its next Attempt."""
    if answer["row"]["outcome"] is not None:
        return "ended"
    attempts = answer["attempts"]
    return "running" if attempts and attempts[-1]["ended"] is None else "waiting"


# ---- lines that contain a text


@dataclass(frozen=True, slots=True)
class Line:
    """A line that was found. `parts`: other text and the text that was searched, in turns."""

    row: FoundLine
    parts: list[str]


async def _search(request: Request) -> Response:
    filters = {name: text_in(request, name) for name in ("q", "job", "run")}
    lines: list[Line] = []
    error = following = None
    text = filters["q"]
    if text is not None:
        wanted = SearchRequest(
            text, filters["run"], filters["job"], before=number_in(request, "before"), limit=_LINES
        )
        answer, error = await ask_or_say(request, wanted)
        if answer:
            lines = [Line(row, row["line"].split(text)) for row in answer["rows"]]
            following = answer["before"]
    return show(
        request, "search.html", status=200 if error is None else 400, filters=filters,
        lines=lines, error=error,
        older=link("/search", filters, before=following) if following else None,
    )  # fmt: skip
