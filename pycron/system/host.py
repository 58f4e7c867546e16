"""Which machine this is, and which of its boots."""

import socket
import time
from pathlib import Path


def host_id() -> str:
    """What stays the same for this installation: machine-id(5), else its name."""
    try:
        return Path("/etc/machine-id").read_text().strip() or socket.gethostname()
    except OSError:
        return socket.gethostname()


def boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def boot_time() -> float:
    """When the machine was started, by its clock of now."""
    return time.time() - float(Path("/proc/uptime").read_text().split()[0])
