"""Lists that come page by page, from this daemon and from one of an earlier version."""

from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest

from pycron.cli.pages import read_jobs
from pycron.control.client import ControlClient
from pycron.protocol.control_messages import JobsRequest
from pycron.protocol.framing import Message

JOBS: list[Any] = [
    {"job": f"j{number}", "user": "joe" if number % 3 else "root"} for number in range(23)
]
PAGE = 5


class Daemon:
    """Answers pages. `knows_positions`: as daemons do since there are filters."""

    def __init__(self, *, knows_positions: bool) -> None:
        self.knows_positions = knows_positions

    def pages(
        self, first: JobsRequest, behind: Callable[[Message], JobsRequest | None]
    ) -> Iterator[Message]:
        request: JobsRequest | None = first
        while request is not None:
            answer = self.answer(request)
            request = behind(answer)
            yield answer

    def answer(self, request: JobsRequest) -> Message:
        if not self.knows_positions:
            found = JOBS[request.first : request.first + PAGE]
            return {"rows": found, "more": request.first + PAGE < len(JOBS)}
        begin = request.position or 0
        page = JOBS[begin : begin + PAGE]
        wanted = [row for row in page if request.user in (None, row["user"])]
        return {"rows": wanted, "more": begin + PAGE < len(JOBS), "position": begin + PAGE}


@pytest.mark.parametrize("knows_positions", [True, False])
def test_every_job_is_read_once(knows_positions: bool) -> None:
    client = cast(ControlClient, Daemon(knows_positions=knows_positions))
    assert [dict(row) for row in read_jobs(client)] == JOBS


def test_a_page_may_be_empty_and_not_be_the_last() -> None:
    client = cast(ControlClient, Daemon(knows_positions=True))
    assert list(read_jobs(client, JobsRequest(user="nobody"))) == []
    roots = [row for row in JOBS if row["user"] == "root"]
    assert [dict(row) for row in read_jobs(client, JobsRequest(user="root"))] == roots
