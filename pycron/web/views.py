"""The views of the page."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from pycron.protocol.control_messages import TopRequest
from pycron.web.page import page_of, render, visitor_of


def routes() -> list[Route]:
    return [Route("/", _now)]


async def _now(request: Request) -> Response:
    """What runs, what waits, and what comes next."""
    answer = await page_of(request).daemon.ask(visitor_of(request), TopRequest())
    return render(request, "now.html", answer=answer)
