"""What the views have in common: a question to the daemon, words for templates, and lists."""

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import urlencode

from starlette.requests import Request as HttpRequest
from starlette.responses import Response

from pycron.control.client import ControlError
from pycron.model.in_words import duration_in_words, number_of, size_in_words
from pycron.model.instants import parse_rfc3339
from pycron.protocol.control_answers import AttemptRow, LiveRow, RunRow, RunsAnswer
from pycron.protocol.control_messages import Request
from pycron.protocol.job_answers import LastRunRow, ListedJobRow
from pycron.web.bodies import whole_number
from pycron.web.page import page_of, render, visitor_of
from pycron.web.views.charts import spark_of
from pycron.web.views.times import Times, chosen_times
from pycron.wording.cells import Cell, Tone
from pycron.wording.job_words import end_cell
from pycron.wording.run_words import LATE, ended_as, took

A = TypeVar("A")

PAGE = 50  # rows
_NO_FILTERS: Mapping[str, object] = {}
_INSTANT = re.compile(r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", re.ASCII)


@dataclass(frozen=True, slots=True)
class Words:
    """Words that templates ask for, at the time of the request."""

    times: Times

    def duration(self, seconds: float | None) -> str:
        return "" if seconds is None else duration_in_words(seconds)

    def size(self, size: float | None) -> str:
        return "" if size is None else size_in_words(size)

    def number(self, number: int, what: str) -> str:
        return number_of(number, what)

    def took(self, row: RunRow | AttemptRow) -> str:
        return took(row, self.times.now) or ""

    def late(self, milliseconds: int | None) -> str:
        """How late a start was, if it is worth a look."""
        if milliseconds is None or milliseconds < LATE:
            return ""
        return f"{duration_in_words(milliseconds / 1000)} late"

    def text(self, text: str | None) -> str:
        """A sentence of the daemon, in which instants are shown as all others are."""
        return _INSTANT.sub(self._shown, text or "")

    def _shown(self, found: re.Match[str]) -> str:
        try:
            moment = self.times.at(found[0])
        except ValueError:
            return found[0]
        return found[0] if moment is None else moment.text

    def ended(self, row: RunRow) -> Cell:
        return ended_as(row)

    def last(self, row: ListedJobRow) -> Cell:
        """How a Job ended last, or that it is running."""
        if row.get("running_since"):
            return Cell("running", Tone.LIVE)
        last = row.get("last")
        return Cell("has not run yet", Tone.FAINT) if last is None else self.end(last)

    def running_for(self, row: LiveRow) -> Cell:
        """How long a command has been running, or that it is about to start."""
        if row["started"] is None:
            return Cell(row["state"], Tone.LIVE)
        seconds = max(0.0, self.times.now - parse_rfc3339(row["started"]))
        return Cell(duration_in_words(round(seconds)), Tone.LIVE)

    def share(self, row: LiveRow) -> float:
        """Which part of its usual duration has passed, at most 1."""
        usual, started = row.get("usual_seconds"), row["started"]
        if not usual or started is None:
            return 0.0
        return round(min(1.0, (self.times.now - parse_rfc3339(started)) / usual), 3)

    def end(self, row: LastRunRow | AttemptRow) -> Cell:
        """How a Run or an Attempt ended."""
        outcome = row["outcome"]
        if outcome is None:
            return Cell("running", Tone.LIVE)
        return end_cell(outcome, row["exit_status"], row["signal"])


async def ask(request: HttpRequest, question: Request[A]) -> A:
    """The daemon's answer to the visitor. Raises ControlError and Busy."""
    return await page_of(request).daemon.ask(visitor_of(request), question)


async def ask_or_say(request: HttpRequest, question: Request[A]) -> tuple[A | None, str | None]:
    """The daemon's answer; or the reason for which it refuses what the visitor has typed.

    Raises ControlError if there is no answer, and Busy.
    """
    try:
        return await ask(request, question), None
    except ControlError as error:
        if not error.answer:
            raise
        return None, str(error)


def times_of(request: HttpRequest) -> Times:
    cookies = request.cookies
    return chosen_times(cookies.get("times"), cookies.get("zone"), time.time())


def show(request: HttpRequest, template: str, **context: Any) -> Response:
    """A view, made of a template; see Words and Times for what the template can use."""
    times = times_of(request)
    here = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    context = {"times": times, "say": Words(times), "here": here, "spark_of": spark_of, **context}
    return render(request, template, **context)


def link(path: str, parameters: Mapping[str, object], **changed: object) -> str:
    """A path with the parameters of a list; those without a value are left out."""
    merged = {**parameters, **changed}
    query = urlencode({key: value for key, value in merged.items() if value not in (None, "")})
    return f"{path}?{query}" if query else path


def older(
    answer: RunsAnswer, limit: int, path: str, filters: Mapping[str, object] = _NO_FILTERS
) -> str | None:
    """The link to the older Runs of a list; None if a page of `limit` rows is not full."""
    if len(answer["rows"]) < limit:
        return None
    return link(path, filters, before=answer["before"])


def number_in(request: HttpRequest, name: str) -> int | None:
    """A whole number in the query; None if there is none."""
    return whole_number(request.query_params.get(name, ""), digits=18)


def text_in(request: HttpRequest, name: str) -> str | None:
    """A text in the query; None if it is empty or missing. The daemon refuses a longer one."""
    return request.query_params.get(name, "").strip()[:500] or None
