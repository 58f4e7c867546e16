"""Addresses at which a program listens, as a command line names them."""

from pathlib import Path

NO_PROMETHEUS_CLIENT = "metrics need prometheus-client: pip install 'pycrond[metrics]'"


class BadAddress(ValueError):
    """The text is no address."""


def parse_address(text: str) -> tuple[str, int] | Path:
    """`HOST:PORT`, `[ADDRESS]:PORT`, or the absolute path of a socket. Raises BadAddress.

    Port 0 stands for any free port.
    """
    if text.startswith("/"):
        return Path(text)
    host, colon, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        colon = ""
    if not (colon and host and port.isascii() and port.isdecimal() and int(port) < 65_536):
        reason = "HOST:PORT such as 127.0.0.1:9753, or the path of a socket"
        raise BadAddress(f'bad address: "{text}" ({reason})')
    return host, int(port)
