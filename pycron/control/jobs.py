"""`jobs`: the Jobs of all tables, page by page."""

from itertools import islice

from pycron.control.context import Context
from pycron.control.handlers import handles
from pycron.control.rows import job_row
from pycron.control.server import Peer
from pycron.protocol.control_answers import JobsAnswer
from pycron.protocol.control_messages import JobsRequest

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
