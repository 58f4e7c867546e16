"""Runs the page: its socket, and uvicorn with the limits of this page."""

import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import uvicorn

from pycron.system import unix_sockets
from pycron.web.app import create_app
from pycron.web.connections import Connection
from pycron.web.page import Page

_BACKLOG = 128  # connections that the kernel lets wait
_LONGEST_HEAD = 16_384  # bytes of the head of a request
_KEEP_ALIVE = 30  # seconds
_SOCKET_MODE = 0o660


def listening(address: tuple[str, int] | Path) -> socket.socket:
    """A socket that listens at an address. Raises OSError."""
    if isinstance(address, Path):
        return unix_sockets.listen(str(address), _SOCKET_MODE, _BACKLOG)
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    return socket.create_server(address, family=family, backlog=_BACKLOG)


def run(listener: socket.socket, page: Page, ready: Callable[[], object], tls: Any = None) -> None:
    """Serve until SIGTERM or SIGINT. `ready` is called once before the first request is answered.

    `tls`: the paths of the certificate and of its key.
    """
    certificate, key = tls or (None, None)
    config = uvicorn.Config(
        create_app(page),
        http=Connection,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,  # it would contain one-time links
        proxy_headers=False,
        server_header=False,
        backlog=_BACKLOG,
        timeout_keep_alive=_KEEP_ALIVE,
        timeout_graceful_shutdown=2,
        h11_max_incomplete_event_size=_LONGEST_HEAD,
        ssl_certfile=certificate,
        ssl_keyfile=key,
    )
    config.load()
    ready()
    uvicorn.Server(config).run([listener])
