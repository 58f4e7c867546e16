"""What every request has to pass before a route sees it, and what every answer gets.

Host and Origin are checked, the visitor is found, and the headers of the answer forbid what the
page does not need.
"""

from urllib.parse import quote

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pycron.web.access.tokens import BadTokens
from pycron.web.access.visitors import find_visitor, has_bearer
from pycron.web.page import Page

_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; "
        "object-src 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",  # for browsers that do not know frame-ancestors
}
_SAFE = frozenset({"GET", "HEAD"})
_METHODS = _SAFE | {"POST"}
_OPEN = ("/login/", "/static/")  # without a login, as /login itself


class Guard:
    """ASGI middleware around all routes."""

    def __init__(self, app: ASGIApp, page: Page) -> None:
        self._app = app
        self._page = page

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                _add_headers(MutableHeaders(scope=message), scope["path"])
            await send(message)

        if scope["type"] != "http":
            return
        app = self._refusal(scope) or self._app
        await app(scope, receive, send_with_headers)

    def _refusal(self, scope: Scope) -> Response | None:
        """The answer to a request that may not pass; else None, and its visitor is in its state."""
        headers = Headers(scope=scope)
        method, path = scope["method"], scope["path"]
        if method not in _METHODS:
            return PlainTextResponse("only GET, HEAD and POST are used here\n", 405)
        if not self._page.hosts.knows(headers.get("host", "")):
            reason = "this page is not known by the name in Host (pycron web --host NAME)\n"
            return PlainTextResponse(reason, 421)
        if method not in _SAFE and not has_bearer(scope) and not self._is_of_the_page(headers):
            return PlainTextResponse("refused: the request does not come from this page\n", 403)
        try:
            visitor = find_visitor(self._page, scope)
        except BadTokens as error:
            self._page.say(str(error))
            return PlainTextResponse("the file of tokens cannot be used: see the log\n", 503)
        scope.setdefault("state", {})["visitor"] = visitor
        if path == "/login" or path.startswith(_OPEN):
            return None
        if visitor is None:
            return _not_logged_in(scope)
        if method not in _SAFE and not visitor.may_change and path != "/logout":
            return PlainTextResponse("refused: you may only look at things here\n", 403)
        return None

    def _is_of_the_page(self, headers: Headers) -> bool:
        """Whether a request that changes something was sent by the page, not by another site.

        Browsers say where it comes from: Sec-Fetch-Site, and Origin. Origin is `null` for a form of
        a page with our Referrer-Policy (Fetch standard, "append a request Origin header"); then
        only Sec-Fetch-Site counts, which a page in a sandbox cannot have as `same-origin`.
        """
        origin, site = headers.get("origin"), headers.get("sec-fetch-site")
        if site not in (None, "same-origin"):
            return False
        if origin in (None, "null"):
            return site == "same-origin"
        return self._page.hosts.is_own_origin(origin, headers.get("host", ""))


def _add_headers(headers: MutableHeaders, path: str) -> None:
    for name, value in _HEADERS.items():
        headers[name] = value
    # A browser asks each time whether a static file is still the same.
    headers["Cache-Control"] = "no-cache" if path.startswith("/static/") else "no-store"


def _not_logged_in(scope: Scope) -> Response:
    if scope["path"].startswith(("/api/", "/metrics")):
        return JSONResponse({"error": "log in first"}, 401, {"WWW-Authenticate": "Bearer"})
    if scope["method"] not in _SAFE:
        return PlainTextResponse("log in first\n", 401)
    query = scope["query_string"].decode("latin-1")
    wanted = scope["path"] + (f"?{query}" if query else "")
    return RedirectResponse(f"/login?next={quote(wanted, safe='')}", 303)
