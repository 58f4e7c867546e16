"""The names of the page: what a browser may send as Host and as Origin."""

import ipaddress
from collections.abc import Iterable
from urllib.parse import urlsplit

_DEFAULT_PORTS = {"http": 80, "https": 443}


def is_loopback(host: str) -> bool:
    """Whether a host of an address is this machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Hosts:
    """`names`: hosts without a port, in any case; a browser may name any port of them.

    A name that somebody else has pointed at this machine (DNS rebinding) is none of them.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._names = frozenset(name.lower().strip("[]") for name in names)

    def knows(self, host: str) -> bool:
        """Whether the header Host names the page."""
        return _host_of(host) in self._names

    def is_own_origin(self, origin: str, host: str) -> bool:
        """Whether the header Origin names the host that the request was sent to.

        The scheme is not compared: TLS may end at a proxy in front of the page.
        """
        parts = urlsplit(origin)
        if parts.scheme not in _DEFAULT_PORTS or not parts.netloc or parts.path:
            return False
        default = _DEFAULT_PORTS[parts.scheme]
        return _with_port(parts.netloc, default) == _with_port(host, default)


def _host_of(netloc: str) -> str | None:
    try:
        return urlsplit(f"//{netloc}").hostname
    except ValueError:
        return None


def _with_port(netloc: str, default: int) -> tuple[str | None, int] | None:
    """The host and the port; None for what is neither."""
    try:
        parts = urlsplit(f"//{netloc}")
        return parts.hostname, parts.port or default
    except ValueError:
        return None
