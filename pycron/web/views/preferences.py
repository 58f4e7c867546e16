"""What a viewer chooses: the zone of times, and light or dark. Kept in cookies of the browser.

A link sets them, not a POST: they change nothing but how the page looks in this browser, and those
who may only look at things may choose, too.
"""

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from pycron.web.access.login import own_path
from pycron.web.access.visitors import is_secure
from pycron.web.page import page_of
from pycron.web.views.times import Choice

_CHOICES = {"times": tuple(Choice), "theme": ("auto", "light", "dark"), "ansi": ("shown", "plain")}
_A_YEAR = 366 * 86_400  # seconds


def routes() -> list[Route]:
    return [Route("/preferences", _set)]


async def _set(request: Request) -> Response:
    """Set what is in the query, and lead back to where the viewer was."""
    response = RedirectResponse(own_path(request.query_params.get("next")), 303)
    for name, values in _CHOICES.items():
        value = request.query_params.get(name)
        if value in values:
            response.set_cookie(
                name, value, _A_YEAR, path="/", secure=is_secure(page_of(request), request),
                httponly=True, samesite="strict",
            )  # fmt: skip
    return response
