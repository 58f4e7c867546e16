"""Lists that the daemon answers page by page."""

from collections.abc import Iterator
from dataclasses import replace

from pycron.control.client import ControlClient
from pycron.protocol.control_answers import RunRow
from pycron.protocol.control_messages import JobsRequest, RunsRequest
from pycron.protocol.framing import Message
from pycron.protocol.job_answers import ListedJobRow

_PAGE = 100  # rows of one answer


def read_jobs(client: ControlClient, wanted: JobsRequest | None = None) -> Iterator[ListedJobRow]:
    """The Jobs that a request selects, None: all that the user may see; by table and line.

    Until the last one, nothing else may be asked over this connection.
    """
    wanted, seen = wanted or JobsRequest(), 0

    def behind(answer: Message) -> JobsRequest | None:
        nonlocal seen
        if not answer.get("more"):
            return None
        seen += len(answer.get("rows", ()))
        return replace(wanted, first=seen, position=answer.get("position"))

    for answer in client.pages(replace(wanted, position=0), behind):
        yield from answer["rows"]


def read_runs(client: ControlClient, wanted: RunsRequest, limit: int) -> Iterator[RunRow]:
    """At most `limit` of the Runs that the request selects, newest first."""
    while limit > 0:
        answer = client.request(replace(wanted, limit=min(limit, _PAGE)))
        yield from answer["rows"]
        if answer["before"] is None:
            return
        limit -= len(answer["rows"])
        wanted = replace(wanted, before=answer["before"])
