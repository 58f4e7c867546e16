"""The identity of this machine and of its boot."""

import socket
import time
from pathlib import Path


def host_id() -> str:
    """A text that stays the same for this installation: machine-id(5), else the host name."""
    try:
        return Path("/etc/machine-id").read_text().strip() or socket.gethostname()
    except OSError:
        return socket.gethostname()


def name() -> str:
    """The host name, as cron puts it into a mail."""
    return socket.gethostname()


def boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def boot_time() -> float:
    """When the machine was started (UTC), computed from what its clock shows now."""
    return time.time() - float(Path("/proc/uptime").read_text().split()[0])
