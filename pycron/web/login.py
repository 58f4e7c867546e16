"""Logging in and out."""

from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from pycron.web.guard import cookie_name
from pycron.web.page import Page, page_of, render
from pycron.web.visitor import Visitor


def routes() -> list[Route]:
    return [
        Route("/login", _show, methods=["GET"]),
        Route("/login/{secret}", _use_link, methods=["GET"]),
        Route("/logout", _log_out, methods=["POST"]),
    ]


async def _show(request: Request) -> Response:
    return render(request, "login.html", next=own_path(request.query_params.get("next")))


async def _use_link(request: Request) -> Response:
    """A link works once; a second use, and any other secret, gets the same answer.

    A program that only looks at a link (HEAD) does not use it.
    """
    if request.method == "HEAD":
        return Response()
    visitor = page_of(request).links.use(request.path_params["secret"])
    if visitor is None:
        error = "This link was used already, or is too old. Start pycron web again for a new one."
        return render(request, "login.html", 403, next="/", error=error)
    return logged_in(request, visitor, "/")


def logged_in(request: Request, visitor: Visitor, where: str) -> Response:
    """The answer that begins a session, with a new id, and leads on.

    It is a page, no redirection: a browser that has followed a link of another site sends a cookie
    with SameSite=Strict only with what the page itself leads to.
    """
    page = page_of(request)
    _end_session(request, page)
    response = render(request, "logged_in.html", visitor=visitor, next=own_path(where))
    response.set_cookie(
        cookie_name(page), page.sessions.begin(visitor), path="/", secure=page.secure,
        httponly=True, samesite="strict",
    )  # fmt: skip
    return response


async def _log_out(request: Request) -> Response:
    page = page_of(request)
    _end_session(request, page)
    response = render(request, "login.html", visitor=None, next="/", said="You are logged out.")
    response.delete_cookie(
        cookie_name(page), path="/", secure=page.secure, httponly=True, samesite="strict"
    )
    return response


def _end_session(request: Request, page: Page) -> None:
    page.sessions.end(request.cookies.get(cookie_name(page), ""))


def own_path(wanted: str | None) -> str:
    """A path of this page; `/` for anything that leads elsewhere."""
    text = wanted or "/"
    parts = urlsplit(text)
    is_own = text.startswith("/") and text[1:2] not in ("/", "\\") and text.isprintable()
    return text if is_own and not parts.scheme and not parts.netloc else "/"
