"""`pycron web`: serves the page."""

import argparse
import socket
import time
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

from pycron.cli.daemon_choice import client_for
from pycron.cli.errors import Failed, WrongUse
from pycron.cli.verb import verb
from pycron.system.accounts import own_account
from pycron.system.listen_address import BadAddress, parse_address

_NO_WEB = "the page needs more packages: pip install 'pycrond[web]'"
_PACKAGES = ("starlette", "uvicorn", "jinja2", "prometheus_client")
_ADDRESS = "127.0.0.1:8753"


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--listen", metavar="ADDRESS", default=_ADDRESS,
                        help="at HOST:PORT (port 0: any free one), or at the socket of this path;"
                        f" default: {_ADDRESS}")  # fmt: skip


@verb("web", "Serve a page that shows Jobs and Runs.", _arguments)
def web(options: argparse.Namespace) -> None:
    if any(find_spec(package) is None for package in _PACKAGES):
        raise Failed(_NO_WEB)
    from pycron.web import server  # 200 ms, and an extra
    from pycron.web.daemon import Daemon
    from pycron.web.hosts import Hosts
    from pycron.web.one_time_links import OneTimeLinks
    from pycron.web.page import Page
    from pycron.web.sessions import Sessions
    from pycron.web.visitor import Visitor

    client_for(options).close()  # if there is no daemon, that is said now
    try:
        address = parse_address(options.listen)
        listener = server.listening(address)
    except BadAddress as error:
        raise WrongUse(str(error)) from None
    except OSError as error:
        raise Failed(f"{options.listen}: {error.strerror}") from None
    page = Page(
        Daemon(lambda: client_for(options, 10.0)),
        Sessions(time.monotonic),
        OneTimeLinks(time.monotonic),
        Hosts(["localhost", "127.0.0.1", "::1"]),
    )
    secret = page.links.make(Visitor(own_account().name, may_change=True, login="link"))
    link = f"{_url(listener, address)}/login/{secret}"
    server.run(listener, page, lambda: print(link, flush=True))


def _url(listener: socket.socket, address: tuple[str, int] | Path) -> str:
    if isinstance(address, Path):
        return f"http+unix://{quote(str(address), safe='')}"
    host, port = listener.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"
