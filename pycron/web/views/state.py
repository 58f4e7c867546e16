"""What happens now, and what needs somebody: failures, late Runs, dead letters."""

from asyncio import gather
from collections.abc import Sequence
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from pycron.model.delivery import Occasion
from pycron.model.in_words import number_of
from pycron.model.instants import parse_rfc3339
from pycron.model.run import FAILURES, Outcome
from pycron.protocol.control_answers import HealthAnswer, LiveRow, RunRow, TopAnswer
from pycron.protocol.control_messages import HealthRequest, RunsRequest, TopRequest
from pycron.web.views.viewing import PAGE, ask, number_in, older, show, times_of
from pycron.wording.run_words import LATE

_DAY = 86_400  # seconds
_COUNTED = 100  # Runs; of more, the page says "100 or more"
_LOOKED_AT = 5  # pages of a hundred Runs in which late starts are looked for
_LONGER = 2  # times as long as usual, and
_LONGER_BY = 60  # seconds longer
_WAITS_LATE = LATE / 1000  # seconds


def routes() -> list[Route]:
    return [
        Route("/", _now),
        Route("/failures", _failures),
        Route("/late", _late),
        Route("/dead", _dead),
    ]


@dataclass(frozen=True, slots=True)
class Attention:
    """One thing that needs somebody, and where the page shows more. `bad`: it is wrong."""

    text: str
    where: str
    bad: bool = True


async def _now(request: Request) -> Response:
    since = int(times_of(request).now) - _DAY
    failures = ",".join(FAILURES)
    top, health, failed, dead = await gather(
        ask(request, TopRequest(PAGE, usual=True)),
        ask(request, HealthRequest()),
        ask(request, RunsRequest(_COUNTED, outcome=failures, since=since)),
        ask(request, RunsRequest(_COUNTED, dead=True)),
    )
    needs = attention(
        health, len(failed["rows"]), len(dead["rows"]), len(overdue(top, since + _DAY))
    )
    return show(request, "now.html", top=top, health=health, needs=needs)


def attention(health: HealthAnswer, failed: int, dead: int, late: int) -> list[Attention]:
    """What needs somebody; nothing, if all is well."""
    found = [Attention(reason, "", True) for reason in health["reasons"]]
    if failed:
        found.append(Attention(f"{_many(failed, 'failure')} in the last day", "/failures"))
    if dead:
        found.append(Attention(_many(dead, "dead letter"), "/dead"))
    if late:
        found.append(Attention(f"{_many(late, 'Run')} late or longer than usual", "/late", False))
    return found


def _many(number: int, what: str) -> str:
    return f"{number} or more {what}s" if number >= _COUNTED else number_of(number, what)


def overdue(top: TopAnswer, now: float) -> list[LiveRow]:
    """The Runs that wait although their time has come, or run much longer than usual."""
    return [*waiting_late(top, now), *running_long(top, now)]


def waiting_late(top: TopAnswer, now: float) -> list[LiveRow]:
    return [
        row
        for row in top["waiting"]
        if row["planned"] is not None and parse_rfc3339(row["planned"]) < now - _WAITS_LATE
    ]


def running_long(top: TopAnswer, now: float) -> list[LiveRow]:
    return [row for row in top["running"] if _is_long(row, now)]


def _is_long(row: LiveRow, now: float) -> bool:
    usual, started = row.get("usual_seconds"), row["started"]
    if usual is None or started is None:
        return False
    longest = max(_LONGER * usual, usual + _LONGER_BY)
    return now - parse_rfc3339(started) > longest


async def _failures(request: Request) -> Response:
    """Every Run that did not succeed, if nobody wanted that; newest first."""
    before = number_in(request, "before")
    answer = await ask(request, RunsRequest(PAGE, before, outcome=",".join(FAILURES)))
    return show(request, "failures.html", rows=answer["rows"],
                older=older(answer, PAGE, "/failures"))  # fmt: skip


async def _dead(request: Request) -> Response:
    before = number_in(request, "before")
    answer = await ask(request, RunsRequest(PAGE, before, dead=True))
    return show(request, "dead.html", rows=answer["rows"],
                older=older(answer, PAGE, "/dead"))  # fmt: skip


async def _late(request: Request) -> Response:
    """What waits too long, runs too long, was missed in the last day, or started late."""
    now = times_of(request).now
    since = int(now) - _DAY
    top, missed, told, late = await gather(
        ask(request, TopRequest(500, usual=True)),
        ask(request, RunsRequest(PAGE, outcome=Outcome.MISSED.value, since=since)),
        ask(request, RunsRequest(_COUNTED, deliveries=True, since=since)),
        _late_starts(request, since),
    )
    return show(
        request, "late.html", waiting=waiting_late(top, now), running=running_long(top, now),
        missed=missed["rows"], expected=said_to_be_late(told["rows"]), late=late[0],
        looked_at=late[1],
    )  # fmt: skip


def said_to_be_late(deliveries: Sequence[RunRow]) -> list[RunRow]:
    """Of some deliveries, those that tell that a Run is late (CRON_EXPECT_WITHIN): one of each Run.

    One that has no Attempt waits, because the time of the Run has not come yet.
    """
    late = [
        row
        for row in deliveries
        if (row.get("delivery") or "").endswith(f" {Occasion.LATE.value}") and row["attempts"]
    ]
    return list({row.get("about"): row for row in late}.values())


async def _late_starts(request: Request, since: int) -> tuple[list[RunRow], int]:
    """Among the newest Runs, those that started late; and at how many Runs it looked."""
    found: list[RunRow] = []
    looked_at, before = 0, None
    for _ in range(_LOOKED_AT):
        answer = await ask(request, RunsRequest(100, before, since=since))
        found += [row for row in answer["rows"] if (row["lateness_ms"] or 0) >= LATE]
        looked_at += len(answer["rows"])
        before = answer["before"]
        if len(answer["rows"]) < 100 or len(found) >= PAGE:
            break
    return found[:PAGE], looked_at
