"""Output of Attempts: as a file, and as it grows."""

import re

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from pycron.protocol.control_messages import RunRequest
from pycron.web.events import EventStream
from pycron.web.output import output
from pycron.web.views.live_output import Growing
from pycron.web.views.viewing import ask, number_in


def routes() -> list[Route]:
    return [
        Route("/runs/{run_id}/output", output),
        Route("/runs/{run_id}/stream", _stream),
    ]


async def _stream(request: Request) -> Response:
    """What a Run prints from now on. A browser that asks again says how far it has come."""
    run_id = request.path_params["run_id"]
    answer = await ask(request, RunRequest(run_id))
    attempt = number_in(request, "attempt") or max(1, len(answer["attempts"]))
    offset = number_in(request, "offset") or 0
    last = re.fullmatch(r"(\d{1,6})\.(\d{1,18})", request.headers.get("last-event-id", ""))
    if last:
        attempt, offset = int(last[1]), int(last[2])
    growing = Growing(request, run_id, attempt, offset)
    return EventStream(request, growing.events())
