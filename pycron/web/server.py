"""Runs the page: its socket, and uvicorn with the limits of this page."""

import os
import resource
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import uvicorn

from pycron.web.app import create_app
from pycron.web.connections import PATIENCE, Connection
from pycron.web.page import Page

_BACKLOG = 1024  # connections that the kernel lets wait; that many are accepted at once
_FILES = 4096  # open files: the connections, and three times those that are accepted at once
_LONGEST_HEAD = 16_384  # bytes of the head of a request
_FIRST_INHERITED = 3  # sd_listen_fds(3)


@dataclass(frozen=True, slots=True)
class Tls:
    """The files of a certificate, with its chain, and of its key (PEM)."""

    certificate: Path
    key: Path


def inherited() -> socket.socket | None:
    """The socket on which systemd listens for this process; None without one."""
    if os.environ.get("LISTEN_PID") != str(os.getpid()) or os.environ.get("LISTEN_FDS") != "1":
        return None
    os.set_inheritable(_FIRST_INHERITED, False)
    return socket.socket(fileno=_FIRST_INHERITED)


def run(
    listener: socket.socket, page: Page, ready: Callable[[], object], tls: Tls | None = None
) -> None:
    """Serve until SIGTERM or SIGINT. `ready` is called once, before the first request is answered.

    Raises OSError if the certificate or its key cannot be used (ssl.SSLError is one).
    """
    config = uvicorn.Config(
        create_app(page),
        http=Connection,
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="error",  # who sends nonsense does not fill the log
        access_log=False,  # it would contain one-time links
        proxy_headers=False,
        server_header=False,
        backlog=_BACKLOG,
        timeout_keep_alive=int(PATIENCE),
        timeout_graceful_shutdown=2,
        h11_max_incomplete_event_size=_LONGEST_HEAD,
        ssl_certfile=tls.certificate if tls else None,
        ssl_keyfile=tls.key if tls else None,
    )
    config.load()
    _allow_files()
    ready()
    uvicorn.Server(config).run([listener])


def _allow_files() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < _FILES:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(_FILES, hard), hard))
