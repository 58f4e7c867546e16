"""`jobs`: the Jobs of all tables, page by page; `calendar`: days that some of them depend on."""

import datetime
from itertools import islice

from pycron.control.access import Refusal
from pycron.control.context import Context
from pycron.control.handlers import handles
from pycron.control.rows import job_row
from pycron.control.server import Peer
from pycron.protocol.control_answers import CalendarAnswer, JobsAnswer
from pycron.protocol.control_messages import CalendarRequest, JobsRequest

_PAGE = 500


@handles(JobsRequest)
def list_jobs(context: Context, peer: Peer, request: JobsRequest) -> JobsAnswer:
    sees = context.access.sight(peer)
    visible = context.engine.jobs().where(lambda each: sees(each.user))
    page = list(islice(visible, request.first, request.first + _PAGE + 1))
    return {
        "rows": [job_row(entries[index]) for entries, index in page[:_PAGE]],
        "more": len(page) > _PAGE,
    }


@handles(CalendarRequest)
def calendar(context: Context, peer: Peer, request: CalendarRequest) -> CalendarAnswer:
    """Every user may see every calendar: all may use them in their tables."""
    found = context.config().calendars.get(request.name)
    if found is None:
        raise Refusal(f'no such calendar: "{request.name}"')
    if not datetime.MINYEAR <= request.year <= datetime.MAXYEAR:
        raise Refusal("bad year")
    return {"days": [str(day) for day in found.days_in(request.year)]}
