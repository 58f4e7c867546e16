"""Output of Attempts: as a file, and as it grows."""

import re

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from pycron.protocol.control_messages import OutputRequest, RunRequest
from pycron.web.events import EventStream
from pycron.web.outputs import Growing, parts_of
from pycron.web.viewing import ask, number_in


def routes() -> list[Route]:
    return [
        Route("/runs/{run}/output", _download),
        Route("/runs/{run}/stream", _stream),
    ]


async def _download(request: Request) -> Response:
    """The whole output as the command printed it, for a file: a browser shows it nowhere."""
    run_id, attempt = request.path_params["run"], number_in(request, "attempt")
    answer = await ask(request, OutputRequest(run_id, attempt, tail=0))
    name = f"{run_id}.{answer['attempt']}.log"
    return StreamingResponse(
        parts_of(request, run_id, answer["attempt"]),
        media_type="application/octet-stream",
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


async def _stream(request: Request) -> Response:
    """What a Run prints from now on. A browser that asks again says how far it has come."""
    run_id = request.path_params["run"]
    answer = await ask(request, RunRequest(run_id))
    attempt = number_in(request, "attempt") or max(1, len(answer["attempts"]))
    offset = number_in(request, "offset") or 0
    last = re.fullmatch(r"(\d{1,6})\.(\d{1,18})", request.headers.get("last-event-id", ""))
    if last:
        attempt, offset = int(last[1]), int(last[2])
    growing = Growing(request, run_id, attempt, offset)
    return EventStream(request, growing.events())
