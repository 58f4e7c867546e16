"""The page as an ASGI application."""

from pathlib import Path

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from pycron.control.client import ControlError, NoDaemon
from pycron.web import api, metrics_route
from pycron.web.access import login
from pycron.web.access.guard import Guard
from pycron.web.daemon import Busy, NotAllowed
from pycron.web.page import Page, json_answer, render
from pycron.web.views import routes as views

_STATIC = Path(__file__).parent / "static"


def create_app(page: Page) -> ASGIApp:
    app = Starlette(
        routes=[
            *login.routes(),
            *views.routes(),
            *api.routes(),
            *metrics_route.routes(),
            Mount("/static", StaticFiles(directory=_STATIC), name="static"),
        ],
        exception_handlers={
            ControlError: _control_error,
            Busy: _busy,
            NotAllowed: _not_allowed,
            HTTPException: _http_error,
        },
    )
    app.state.page = page
    return Guard(app, page)


async def _control_error(request: Request, error: Exception) -> Response:
    """The daemon does not answer, or refuses; what the visitor may not see does not exist."""
    text = str(error)
    if isinstance(error, NoDaemon) or not (isinstance(error, ControlError) and error.answer):
        return _error(request, 503, text)
    words = {"no such": 404, "bad ": 400}
    status = next((words[each] for each in words if text.startswith(each)), 409)
    return _error(request, status, text)


async def _busy(request: Request, error: Exception) -> Response:
    return _error(request, 503, str(error))


async def _not_allowed(request: Request, error: Exception) -> Response:
    return _error(request, 403, str(error))


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return _error(request, error.status_code, error.detail)


def _error(request: Request, status: int, text: str) -> Response:
    if request.url.path.startswith("/api/"):
        return json_answer({"error": text}, status)
    return render(request, "error.html", status, code=status, error=text)
