"""`/metrics` of the page: what the visitor may see, for Prometheus."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from pycron.protocol.control_messages import MetricsRequest
from pycron.web.metrics import rendered
from pycron.web.page import page_of, visitor_of


def routes() -> list[Route]:
    return [Route("/metrics", _metrics, methods=["GET"])]


async def _metrics(request: Request) -> Response:
    answer = await page_of(request).daemon.ask(visitor_of(request), MetricsRequest())
    body, content_type = rendered(answer, request.headers.get("accept", ""))
    return Response(body, headers={"Content-Type": content_type})
