"""The page as an ASGI application."""

from pathlib import Path

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles

from pycron.control.client import ControlError, NoDaemon
from pycron.web import login, views
from pycron.web.daemon import Busy
from pycron.web.guard import Guard
from pycron.web.page import Page, render

_STATIC = Path(__file__).parent / "static"


def create_app(page: Page) -> Starlette:
    app = Starlette(
        routes=[
            *login.routes(),
            *views.routes(),
            Mount("/static", StaticFiles(directory=_STATIC), name="static"),
        ],
        middleware=[Middleware(Guard, page)],
        exception_handlers={
            ControlError: _control_error,
            Busy: _busy,
            HTTPException: _http_error,
        },
    )
    app.state.page = page
    return app


async def _control_error(request: Request, error: Exception) -> Response:
    """The daemon does not answer (503), or refuses (404 for what the visitor may not know of)."""
    text = str(error)
    status = 503 if isinstance(error, NoDaemon) or not getattr(error, "answer", None) else 409
    return _error(request, 404 if "no such" in text else status, text)


async def _busy(request: Request, error: Exception) -> Response:
    return _error(request, 503, str(error))


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return _error(request, error.status_code, error.detail)


def _error(request: Request, status: int, text: str) -> Response:
    if request.url.path.startswith("/api/"):
        return JSONResponse({"error": text}, status)
    return render(request, "error.html", status, code=status, error=text)
