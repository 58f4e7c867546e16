"""The hosts of the cluster that the daemon's host is in."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from pycron.protocol.control_messages import StatusRequest
from pycron.web.views.viewing import ask, show


def routes() -> list[Route]:
    return [Route("/hosts", _hosts)]


async def _hosts(request: Request) -> Response:
    """Which hosts are live, and how this one is. A host without a cluster has no table."""
    answer = await ask(request, StatusRequest())
    cluster = answer.get("cluster")
    return show(
        request, "hosts.html", cluster=cluster,
        hosts=sorted({*cluster["hosts"], cluster["host"]}) if cluster else [],
    )  # fmt: skip
