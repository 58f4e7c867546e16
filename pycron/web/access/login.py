"""Logging in and out: with a one-time link, a token, or a password."""

import ipaddress
import time

import anyio
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from pycron.control.client import ControlError
from pycron.protocol.web_messages import LoginRequest, LoginResultRequest, WebRequest
from pycron.web.access.visitor import Visitor
from pycron.web.access.visitors import by_token, cookie_name, is_secure
from pycron.web.bodies import form_of
from pycron.web.daemon import Busy
from pycron.web.page import Page, address_of, page_of, render

_PATIENCE = 35.0  # seconds for the check of a password
_PAUSE = 0.2  # seconds between two questions


def routes() -> list[Route]:
    return [
        Route("/login", _show, methods=["GET"]),
        Route("/login", _log_in, methods=["POST"]),
        Route("/login/{secret}", _use_link, methods=["GET"]),
        Route("/logout", _log_out, methods=["POST"]),
    ]


async def _show(request: Request) -> Response:
    return await _form(request, own_path(request.query_params.get("next")))


async def _form(request: Request, where: str, status: int = 200, **said: str) -> Response:
    """The form with the ways to log in that there are. `said`: `error`, or what was done."""
    page = page_of(request)
    ways = {
        "passwords": await _takes_passwords(page),
        "tokens": bool(page.tokens),
        "links": not page.daemon.acts_for_others,
    }
    return render(request, "login.html", status, next=where, visitor=None, **ways, **said)


async def _takes_passwords(page: Page) -> bool:
    try:
        return (await page.daemon.ask(None, WebRequest()))["passwords"]
    except (ControlError, Busy):
        return False


async def _use_link(request: Request) -> Response:
    """A link works once; a second use, and any other secret, gets the same answer.

    A program that only looks at a link (HEAD) does not use it.
    """
    if request.method == "HEAD":
        return Response()
    visitor = page_of(request).links.use(request.path_params["secret"])
    if visitor is None:
        error = "This link was used already, or is too old. Start pycron web again for a new one."
        return await _form(request, "/", 403, error=error)
    return logged_in(request, visitor, "/")


async def _log_in(request: Request) -> Response:
    page, form, address = page_of(request), await form_of(request), address_of(request)
    where = own_path(form.get("next"))
    if _is_of_one(address) and not page.attempts.may_try(address):
        error = "Too many attempts failed from your address. Try again in ten minutes."
        return await _form(request, where, 429, error=error)
    try:
        visitor = await _visitor(page, form)
    except ControlError as refused:
        return await _form(request, where, 403, error=f"{refused}")
    if visitor is None:
        page.attempts.failed(address)
        who = form.get("user") or "a token"
        page.say(f"login refused: {who} from {address}")
        error = "That is not right, or you may not log in here."
        return await _form(request, where, 403, error=error)
    return logged_in(request, visitor, where)


async def _visitor(page: Page, form: dict[str, str]) -> Visitor | None:
    """Who logs in with what the form contains; None if that is not right. Raises ControlError."""
    if token := form.get("token"):
        return by_token(page, token.strip())
    user, password = form.get("user", ""), form.get("password", "")
    if not user or not page.admits(user) or not await _is_right(page, user, password):
        return None
    return Visitor(user, may_change=True, login="password")


async def _is_right(page: Page, user: str, password: str) -> bool:
    """Whether the daemon, which asks PAM, finds a password right. Raises ControlError."""
    check = (await page.daemon.ask(None, LoginRequest(user, password)))["check"]
    until = time.monotonic() + _PATIENCE
    while time.monotonic() < until:
        result = await page.daemon.ask(None, LoginResultRequest(check))
        if result["done"]:
            return result["accepted"]
        await anyio.sleep(_PAUSE)
    return False


def _is_of_one(address: str) -> bool:
    """Whether an address stands for one browser; a proxy and this machine send for many.

    For those, the daemon limits the attempts by user.
    """
    try:
        return not ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def logged_in(request: Request, visitor: Visitor, where: str) -> Response:
    """The answer that begins a session, with a new id, and leads on.

    It is a page, no redirection: a browser that has followed a link of another site sends a cookie
    with SameSite=Strict only with what the page itself leads to.
    """
    page = page_of(request)
    _end_session(request, page)
    response = render(request, "logged_in.html", visitor=visitor, next=own_path(where))
    response.set_cookie(
        cookie_name(page, request), page.sessions.begin(visitor), path="/", httponly=True,
        secure=is_secure(page, request), samesite="strict",
    )  # fmt: skip
    page.say(f"login: {visitor.user} ({visitor.login}) from {address_of(request)}")
    return response


async def _log_out(request: Request) -> Response:
    page = page_of(request)
    _end_session(request, page)
    response = await _form(request, "/", said="You are logged out.")
    response.delete_cookie(
        cookie_name(page, request), path="/", httponly=True,
        secure=is_secure(page, request), samesite="strict",
    )  # fmt: skip
    return response


def _end_session(request: Request, page: Page) -> None:
    page.sessions.end(request.cookies.get(cookie_name(page, request), ""))


def own_path(wanted: str | None) -> str:
    """A path of this page; `/` for anything that leads elsewhere."""
    text = wanted or "/"
    is_own = text.startswith("/") and text[1:2] not in ("/", "\\") and text.isprintable()
    return text if is_own else "/"
