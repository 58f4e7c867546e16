"""Lists that the daemon answers page by page."""

from collections.abc import Iterator
from dataclasses import replace

from pycron.control.client import ControlClient
from pycron.protocol.control_answers import JobRow, RunRow
from pycron.protocol.control_messages import JobsRequest, RunsRequest

_PAGE = 100  # rows of one answer


def read_jobs(client: ControlClient) -> Iterator[JobRow]:
    """All Jobs that the user may see, in the order of table and line."""
    first, more = 0, True
    while more:
        answer = client.request(JobsRequest(first))
        yield from answer["rows"]
        first += len(answer["rows"])
        more = answer["more"]


def read_runs(client: ControlClient, wanted: RunsRequest, limit: int) -> Iterator[RunRow]:
    """At most `limit` of the Runs that the request selects, newest first."""
    while limit > 0:
        answer = client.request(replace(wanted, limit=min(limit, _PAGE)))
        yield from answer["rows"]
        if answer["before"] is None:
            return
        limit -= len(answer["rows"])
        wanted = replace(wanted, before=answer["before"])
