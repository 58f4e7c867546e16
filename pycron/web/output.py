"""The output of an Attempt, raw: as the command has printed it."""

import urllib.parse
from base64 import b64decode
from collections.abc import AsyncIterator

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from pycron.protocol.control_answers import OutputAnswer
from pycron.protocol.control_messages import OutputRequest
from pycron.web.bodies import whole_number
from pycron.web.page import page_of, visitor_of


async def output(request: Request) -> Response:
    """`attempt`: its number; without it, the last one. It is a download, never shown as a page."""
    run_id, wanted = request.path_params["run_id"], request.query_params.get("attempt")
    attempt = None if wanted is None else whole_number(wanted, digits=9)
    if wanted is not None and attempt is None:
        raise HTTPException(400, "bad attempt (a whole number)")
    question = OutputRequest(run_id, attempt)
    first = await page_of(request).daemon.ask(visitor_of(request), question)
    name = urllib.parse.quote(f"{run_id}-{first['attempt']}.log", safe="")
    return StreamingResponse(
        _parts(request, run_id, first),
        media_type="text/plain; charset=utf-8",
        headers={"Content-Disposition": f"attachment; filename*=UTF-8''{name}"},
    )


async def _parts(request: Request, run_id: str, first: OutputAnswer) -> AsyncIterator[bytes]:
    """Each part is asked for when the browser has taken the ones before."""
    answer, offset = first, 0
    while True:
        data = b64decode(answer["data"])
        offset += len(data)
        yield data
        if not answer["more"]:
            return
        question = OutputRequest(run_id, first["attempt"], offset)
        answer = await page_of(request).daemon.ask(visitor_of(request), question)
