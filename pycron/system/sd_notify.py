"""Reports the state of the daemon to the service manager: sd_notify(3), without its library."""

import math
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


def watchdog_seconds() -> float:
    """How long the service manager waits for `WATCHDOG=1` before it kills this process.

    Infinity if it does not wait: sd_watchdog_enabled(3).
    """
    time, pid = os.environ.get("WATCHDOG_USEC", ""), os.environ.get("WATCHDOG_PID", "")
    if not time.isdecimal() or pid not in ("", str(os.getpid())):
        return math.inf
    return int(time) / 1e6 or math.inf
