"""Lists that the daemon answers page by page."""

from collections.abc import Iterator
from dataclasses import replace

from pycron.control.client import ControlClient
from pycron.protocol.control_answers import RunRow
from pycron.protocol.control_messages import JobsRequest, RunsRequest
from pycron.protocol.job_answers import ListedJobRow

_PAGE = 100  # rows of one answer


def read_jobs(client: ControlClient, wanted: JobsRequest | None = None) -> Iterator[ListedJobRow]:
    """The Jobs that a request selects, None: all that the user may see; by table and line.

    The daemon makes the next page while this one is used, so until the last one nothing else may be
    asked over this connection.
    """
    wanted = wanted or JobsRequest()
    seen = 0
    wanted = replace(wanted, position=0)
    answer = client.request(wanted)
    while answer["more"]:
        seen += len(answer["rows"])
        wanted = replace(wanted, first=seen, position=answer.get("position"))
        client.send(wanted)
        yield from answer["rows"]
        answer = client.receive(wanted)
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
