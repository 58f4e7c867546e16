"""Finds out who sends a request: by a token, the word of a proxy, or the cookie of a session."""

from starlette.datastructures import Headers
from starlette.requests import HTTPConnection
from starlette.types import Scope

from pycron.web.access.visitor import Visitor
from pycron.web.page import Page, address_of

_FOR_PROGRAMS = ("/api/", "/metrics")  # where a token may be in the head of the request


def is_secure(page: Page, request: HTTPConnection) -> bool:
    """Whether the browser uses TLS: with the page, or with a proxy in front of it that says so.

    Everybody can say so; then the cookie is only sent less often.
    """
    return page.secure or request.headers.get("x-forwarded-proto") == "https"


def cookie_name(page: Page, request: HTTPConnection) -> str:
    """`__Host-`: a browser takes it only from this host, and only with Secure."""
    return "__Host-pycron" if is_secure(page, request) else "pycron"


def has_bearer(scope: Scope) -> bool:
    """Whether the request carries a token itself. No browser adds that by itself."""
    given = Headers(scope=scope).get("authorization", "")
    return scope["path"].startswith(_FOR_PROGRAMS) and given.lower().startswith("bearer ")


def find_visitor(page: Page, scope: Scope) -> Visitor | None:
    """Raises BadTokens if the file of tokens cannot be used."""
    if has_bearer(scope):
        return by_token(page, Headers(scope=scope)["authorization"][len("bearer ") :].strip())
    request = HTTPConnection(scope)
    if page.proxies:
        named = request.headers.getlist("remote-user")
        if named and address_of(request) in page.proxies:
            return _named_by_proxy(page, named)
    session_id = request.cookies.get(cookie_name(page, request))
    return _of_session(page, session_id, used=_is_asked_for(request))


def by_token(page: Page, text: str) -> Visitor | None:
    """The user of a token, if there is one. Raises BadTokens."""
    token = page.tokens.named(text)
    if token is None or not page.admits(token.user):
        return None
    return Visitor(token.user, token.may_change, f"token {token.name}", token.id)


def _named_by_proxy(page: Page, named: list[str]) -> Visitor | None:
    """A proxy that passes on a Remote-User of the browser would send two of them."""
    if len(named) != 1 or not named[0] or not page.admits(named[0]):
        return None
    return Visitor(named[0], may_change=True, login="proxy")


def _is_asked_for(request: HTTPConnection) -> bool:
    """Whether a person asks, and not the page by itself: then a session that nobody uses ends."""
    return "x-refresh" not in request.headers and not request.url.path.endswith("/stream")


def _of_session(page: Page, session_id: str | None, *, used: bool) -> Visitor | None:
    visitor = None if session_id is None else page.sessions.find(session_id, used=used)
    if session_id and visitor and visitor.token and not page.tokens.has(visitor.token):
        page.sessions.end(session_id)  # the token was revoked
        return None
    return visitor
