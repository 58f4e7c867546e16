"""A day as a heat map of starts, by the minute."""

import datetime
from functools import partial

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from pycron.analysis.minute_counts import MINUTE, MinuteCounts
from pycron.protocol.question_messages import StartsRequest
from pycron.schedule.local_days import day_start
from pycron.schedule.zone import Zone
from pycron.web.page import page_of, visitor_of
from pycron.web.views.charts import hours_of
from pycron.web.views.times import Times
from pycron.web.views.viewing import ask, show, text_in, times_of

_HOUR = 3600  # seconds
_BUSIEST = 5  # minutes that are named
_MOST_COUNTED = 2400  # hours that are remembered
_FIRST = datetime.date(1970, 1, 2)
_LAST = datetime.date(9998, 1, 1)


def routes() -> list[Route]:
    return [Route("/day", _day)]


async def _day(request: Request) -> Response:
    times = times_of(request)
    day = _day_in(text_in(request, "date"), times)
    following = day + datetime.timedelta(days=1)
    start, end = (day_start(each, times.zone) for each in (day, following))
    counts = MinuteCounts(start, end)
    counts.add_all(await _starts(request, start, end, int(times.now)))
    hours, levels = hours_of(counts)
    today = times.zone.local(int(times.now)).date()
    return show(
        request, "day.html", day=day, is_today=day == today, hours=hours, levels=levels,
        total=counts.total, busiest=counts.busiest(_BUSIEST), clock=partial(_clock, times.zone),
        wall=partial(_wall, times.zone),
        previous=day - datetime.timedelta(days=1), following=following if day < today else None,
    )  # fmt: skip


async def _starts(request: Request, start: int, end: int, now: int) -> list[int]:
    """The starts in each minute of a day.

    What has happened does not change, so the hours that are over are asked for once: to count a
    hundred thousand Runs takes the daemon 0.2 s.
    """
    user, counted = visitor_of(request).user, page_of(request).counted_hours
    hours = range(start, end, _HOUR)
    known = {hour: counted[user, hour] for hour in hours if (user, hour) in counted}
    new = [hour for hour in hours if hour not in known]
    if new:
        answer = await ask(request, StartsRequest(since=new[0], until=min(new[-1] + _HOUR, end)))
        for hour in new:
            first = (hour - new[0]) // MINUTE
            known[hour] = answer["counts"][first : first + _HOUR // MINUTE]
    for hour in new:
        if hour + 2 * _HOUR <= now:
            counted[user, hour] = known[hour]
    while len(counted) > _MOST_COUNTED:
        del counted[next(iter(counted))]
    return [number for hour in hours for number in known[hour]]


def _clock(zone: Zone, instant: int) -> str:
    return f"{zone.local(instant):%H:%M}"


def _wall(zone: Zone, instant: int) -> str:
    """A local time as a field of a form has it."""
    return f"{zone.local(instant):%Y-%m-%dT%H:%M}"


def _day_in(text: str | None, times: Times) -> datetime.date:
    """The day of this date; today, if it is none."""
    today = times.zone.local(int(times.now)).date()
    try:
        day = datetime.date.fromisoformat(text or "")
    except ValueError:
        return today
    return day if _FIRST <= day < _LAST else today
