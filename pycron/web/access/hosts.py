"""The names of the page: what a browser may send as Host and as Origin."""

import ipaddress
import re
from collections.abc import Iterable

_DEFAULT_PORTS = {"http": 80, "https": 443}
# A name or an IPv4 address, or an IPv6 address in brackets; and perhaps a port.
_NETLOC = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::([0-9]{1,5}))?", re.IGNORECASE)


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
        found = _host_and_port(host, 0)
        return found is not None and found[0] in self._names

    def is_own_origin(self, origin: str, host: str) -> bool:
        """Whether the header Origin names the host that the request was sent to.

        The scheme is not compared: TLS may end at a proxy in front of the page.
        """
        scheme, separator, netloc = origin.partition("://")
        if not separator or scheme not in _DEFAULT_PORTS:
            return False
        default = _DEFAULT_PORTS[scheme]
        named = _host_and_port(netloc, default)
        return named is not None and named == _host_and_port(host, default)


def _host_and_port(netloc: str, default: int) -> tuple[str, int] | None:
    """The host in lower case, without brackets, and the port; None for anything else."""
    found = _NETLOC.fullmatch(netloc)
    if found is None:
        return None
    return found[1].lower().strip("[]"), int(found[2] or default)
