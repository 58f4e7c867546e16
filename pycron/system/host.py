"""The identity of this machine, or of this container, and of its boot."""

import os
import socket
import time
from pathlib import Path

# What a program needs that shows something on the desktop of its user, such as notify-send(1).
DESKTOP_VARIABLES = (
    "DBUS_SESSION_BUS_ADDRESS", "XDG_RUNTIME_DIR", "DISPLAY", "WAYLAND_DISPLAY", "XAUTHORITY",
)  # fmt: skip
_NO_MACHINE_ID = ("", "uninitialized")  # an image for many machines has no id yet: machine-id(5)


def host_id() -> str:
    """A text that stays the same for this installation.

    PYCRON_HOST_ID in the environment, else machine-id(5), else the host name.
    """
    return os.environ.get("PYCRON_HOST_ID") or _machine_id() or socket.gethostname()


def _machine_id() -> str | None:
    try:
        text = Path("/etc/machine-id").read_text().strip()
    except OSError:
        return None
    return None if text in _NO_MACHINE_ID else text


def name() -> str:
    """The host name, as cron puts it into a mail."""
    return socket.gethostname()


# The inode of the PID namespace of the machine itself (PROC_PID_INIT_INO of the kernel).
_MACHINE = 0xEFFFFFFC


def boot_id() -> str:
    """A text that is another one after each boot.

    A container boots when process 1 of its PID namespace starts: the kernel does not boot then, and
    its boot id stays.
    """
    kernel = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    init = _start_of_init()
    return kernel if init is None else f"{kernel} {init:.2f}"


def boot_time() -> float:
    """When the machine or the container was started (UTC), computed from what its clock shows."""
    uptime = float(Path("/proc/uptime").read_text().split()[0])
    return time.time() - uptime + (_start_of_init() or 0.0)


def _start_of_init() -> float | None:
    """In a container: the seconds from the boot of the machine to the start of process 1.

    None on the machine itself, or if /proc does not show process 1 to this user.
    """
    try:
        if os.stat("/proc/self/ns/pid").st_ino == _MACHINE:
            return None
        facts = Path("/proc/1/stat").read_text()
    except OSError:
        return None
    started = facts.rpartition(")")[2].split()[19]  # proc(5): field 22, behind the name
    return int(started) / os.sysconf("SC_CLK_TCK")
