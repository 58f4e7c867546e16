"""The values that the routes of the page share."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.requests import HTTPConnection, Request
from starlette.responses import HTMLResponse, Response

from pycron.model.text import visible
from pycron.web.access.attempts import Attempts
from pycron.web.access.hosts import Hosts
from pycron.web.access.one_time_links import OneTimeLinks
from pycron.web.access.sessions import Sessions
from pycron.web.access.tokens import Tokens
from pycron.web.access.visitor import Visitor
from pycron.web.daemon import Daemon
from pycron.web.streams import Streams


def _made_visible(value: object) -> object:
    """A text of a stranger without control characters, and without halves of surrogate pairs."""
    return visible(value) if type(value) is str else value


_TEMPLATES = Environment(
    loader=PackageLoader("pycron.web"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    finalize=_made_visible,
)


@dataclass(frozen=True, slots=True)
class Page:
    """`own_user`: the user of this process. `proxies`: who may name a user in Remote-User.

    A proxy is an IP address, or for a Unix socket the name of the user whose process connects.
    `secure`: the page itself uses TLS. `say`:
    writes a line to the log of the page. `counted_hours`: the starts in each minute of hours that
    are over, by user and the first second of the hour; views/day.py keeps them.
    """

    daemon: Daemon
    sessions: Sessions
    links: OneTimeLinks
    hosts: Hosts
    tokens: Tokens
    attempts: Attempts
    own_user: str
    proxies: frozenset[str] = frozenset()
    secure: bool = False
    say: Callable[[str], None] = lambda _: None
    streams: Streams = field(default_factory=Streams)
    counted_hours: dict[tuple[str, int], list[int]] = field(default_factory=dict)

    def admits(self, user: str) -> bool:
        """Whether this user may log in: without the account of the page, only its own user."""
        return self.daemon.acts_for_others or user == self.own_user


def page_of(request: HTTPConnection) -> Page:
    return cast(Page, request.app.state.page)


def visitor_of(request: HTTPConnection) -> Visitor:
    """Who has sent the request; the guard has checked it."""
    return cast(Visitor, request.state.visitor)


def address_of(request: HTTPConnection) -> str:
    """The peer: an IP address, or the name of the user at the other end of a Unix socket."""
    return request.client.host if request.client else "unknown"


def render(request: Request, template: str, status: int = 200, **context: Any) -> Response:
    """A page, made of a template of pycron/web/templates. `visitor` is None before the login."""
    context.setdefault("visitor", getattr(request.state, "visitor", None))
    text = _TEMPLATES.get_template(template).render(request=request, **context)
    # Bytes of a table that are no UTF-8 come as lone surrogates (PEP 383).
    return HTMLResponse(text.encode("utf-8", "replace"), status)


def json_answer(value: object, status: int = 200) -> Response:
    """JSON in ASCII, in which a lone surrogate has an escape, too."""
    text = json.dumps(value, separators=(",", ":"))
    return Response(text.encode(), status, media_type="application/json")
