"""The values that the routes of the page share."""

from dataclasses import dataclass, field
from typing import Any, cast

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import Response
from starlette.templating import Jinja2Templates

from pycron.web.daemon import Daemon
from pycron.web.hosts import Hosts
from pycron.web.one_time_links import OneTimeLinks
from pycron.web.sessions import Sessions
from pycron.web.streams import Streams
from pycron.web.visitor import Visitor

_TEMPLATES = Jinja2Templates(
    env=Environment(
        loader=PackageLoader("pycron.web"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
)


@dataclass(frozen=True, slots=True)
class Page:
    """`secure`: browsers reach the page through TLS only, so cookies are marked as Secure."""

    daemon: Daemon
    sessions: Sessions
    links: OneTimeLinks
    hosts: Hosts
    secure: bool = False
    streams: Streams = field(default_factory=Streams)


def page_of(request: Request) -> Page:
    return cast(Page, request.app.state.page)


def visitor_of(request: Request) -> Visitor:
    """Who has sent the request; the guard has checked it."""
    return cast(Visitor, request.state.visitor)


def render(request: Request, template: str, status: int = 200, **context: Any) -> Response:
    """A page, made of a template of pycron/web/templates. `visitor` is None before the login."""
    context.setdefault("visitor", getattr(request.state, "visitor", None))
    return _TEMPLATES.TemplateResponse(request, template, context, status_code=status)
