"""Reports the state of the daemon to the service manager: sd_notify(3), without its library."""

import os
import socket


def notify(state: str) -> None:
    """Send a state such as `READY=1`; does nothing if there is no service manager."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
        try:
            channel.sendto(state.encode(), address)
        except OSError:
            pass  # the service manager has a time-out of its own
