"""`pycron web`: serves the page."""

import argparse
import socket
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from pycron.cli.daemon_choice import client_for
from pycron.cli.errors import Failed, WrongUse
from pycron.cli.page_rights import rights_of_page
from pycron.cli.verb import verb
from pycron.cli.web_tokens import ACTIONS, manage_tokens, tokens_file
from pycron.model.text import printable
from pycron.protocol.web_messages import WebAnswer
from pycron.system.listen_address import BadAddress, parse_address

if TYPE_CHECKING:
    from pycron.web.page import Page
    from pycron.web.server import Tls

NO_WEB = "the page needs more packages: pip install 'pycrond[web]'"
_PACKAGES = ("starlette", "uvicorn", "jinja2", "prometheus_client")
_ADDRESS = "127.0.0.1:8753"
_PATIENCE = 10.0  # seconds for an answer of the daemon
_SOCKET_MODE = 0o660  # of a Unix socket
_LOCAL = ("localhost", "127.0.0.1", "::1")


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--listen", metavar="ADDRESS", default=_ADDRESS,
                        help="at HOST:PORT (port 0: any free one), or at the socket of this path;"
                        f" default: {_ADDRESS}")  # fmt: skip
    parser.add_argument("--host", metavar="NAME", action="append", default=[],
                        help="a name by which browsers call the page; may be repeated")  # fmt: skip
    parser.add_argument("--cert", metavar="FILE", type=Path,
                        help="TLS: the certificate, with its chain (PEM)")  # fmt: skip
    parser.add_argument("--key", metavar="FILE", type=Path, help="TLS: its key (PEM)")
    parser.add_argument("--remote-user-from", metavar="PEER", action="append", default=[],
                        help="the proxy, an IP address or a user of this machine, that names the"
                        " user in Remote-User; may be repeated")  # fmt: skip
    parser.add_argument("--tokens", choices=ACTIONS,
                        help="list, make or revoke tokens, and serve nothing")  # fmt: skip
    parser.add_argument("--name", metavar="NAME", help="of a token")
    parser.add_argument("--of", metavar="USER", help="of a new token; default: you")
    parser.add_argument("--operate", action="store_true",
                        help="a new token may also start, kill, pause and redrive")  # fmt: skip


@verb("web", "Serve a page that shows Jobs and Runs.", _arguments)
def web(options: argparse.Namespace) -> None:
    if options.tokens:
        manage_tokens(options)
        return
    if options.name or options.of or options.operate:
        raise WrongUse("--name, --of and --operate go with --tokens")
    if any(find_spec(package) is None for package in _PACKAGES):
        raise Failed(NO_WEB)
    _serve(options, rights_of_page(options, _PATIENCE))


def _serve(options: argparse.Namespace, about: WebAnswer) -> None:
    from pycron.web import server  # 200 ms, and an extra

    tls = _tls(options)
    listener = server.inherited() or _listener(options)
    page = _page(options, about, listener, secure=tls is not None)
    if not _is_local(listener):
        _check_open_address(options, about, page, tls)

    def ready() -> None:
        print(_first_line(page, listener, about, tls), flush=True)

    try:
        server.run(listener, page, ready, tls)
    except OSError as error:
        raise Failed(f"{options.cert}, {options.key}: {error.strerror or error}") from None


def _tls(options: argparse.Namespace) -> "Tls | None":
    from pycron.web.server import Tls

    if (options.cert is None) != (options.key is None):
        raise WrongUse("--cert and --key go together")
    return Tls(options.cert, options.key) if options.cert else None


def _listener(options: argparse.Namespace) -> socket.socket:
    from pycron.web.listening import listening

    try:
        return listening(parse_address(options.listen), _SOCKET_MODE)
    except BadAddress as error:
        raise WrongUse(str(error)) from None
    except OSError as error:
        raise Failed(f"{options.listen}: {error.strerror}") from None


def _page(
    options: argparse.Namespace, about: WebAnswer, listener: socket.socket, *, secure: bool
) -> "Page":
    from pycron.web.access.attempts import Attempts
    from pycron.web.access.hosts import Hosts
    from pycron.web.access.one_time_links import OneTimeLinks
    from pycron.web.access.sessions import Sessions
    from pycron.web.access.tokens import Tokens
    from pycron.web.daemon import Daemon
    from pycron.web.page import Page

    names = [*_LOCAL, *options.host]
    if listener.family != socket.AF_UNIX:
        names.append(listener.getsockname()[0])
    return Page(
        Daemon(lambda: client_for(options, _PATIENCE), about["acts_for_others"], _say),
        Sessions(time.monotonic),
        OneTimeLinks(time.monotonic),
        Hosts(names),
        Tokens(tokens_file(options)),
        Attempts(time.monotonic),
        about["user"],
        frozenset(options.remote_user_from),
        secure,
        _say,
    )


def _say(text: str) -> None:
    """The log of the page is its standard error."""
    print(f"pycron web: {printable(text)}", file=sys.stderr, flush=True)


def _is_local(listener: socket.socket) -> bool:
    """Whether only processes of this machine reach the socket."""
    from pycron.web.access.hosts import is_loopback

    return listener.family == socket.AF_UNIX or is_loopback(listener.getsockname()[0])


def _check_open_address(
    options: argparse.Namespace, about: WebAnswer, page: "Page", tls: "Tls | None"
) -> None:
    """Raises WrongUse for an address that others reach, if they could listen in, or not log in."""
    if tls is None:
        raise WrongUse(
            f"{options.listen}: not without TLS (--cert and --key): others could listen in"
        )
    if not (about["passwords"] or page.tokens or page.proxies):
        raise WrongUse(
            f"{options.listen}: nobody could log in: make a token (pycron web --tokens add), or set"
            " web.pam_service"
        )


def _first_line(page: "Page", listener: socket.socket, about: WebAnswer, tls: "Tls | None") -> str:
    """The URL: with a one-time link, if the page has one user, and only this machine reaches it."""
    from pycron.web.access.visitor import Visitor

    url = _url(listener, "http" if tls is None else "https")
    if about["acts_for_others"] or not _is_local(listener):
        return f"{url}/"
    secret = page.links.make(Visitor(about["user"], may_change=True, login="link"))
    return f"{url}/login/{secret}"


def _url(listener: socket.socket, scheme: str) -> str:
    name = listener.getsockname()
    if listener.family == socket.AF_UNIX:
        return f"{scheme}+unix://{quote(str(name), safe='')}"
    host = f"[{name[0]}]" if listener.family == socket.AF_INET6 else name[0]
    return f"{scheme}://{host}:{name[1]}"
