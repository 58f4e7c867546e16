"""The lease file: until when the shared Attempts of this host may run (design: "Lease").

Only the agent (pycron/cluster) writes it, and it writes it as a whole. The runner reads it before
each fork of a shared Attempt and every second; the daemon reads it as the second watcher. A shared
Attempt may run only while `may_run` says so.

Deadlines are in seconds of CLOCK_BOOTTIME: no step of the clock moves them, and they go on while
the machine is asleep. They mean nothing after a reboot, so the file names the boot.

Imported by the runner: it stays small.
"""

import contextlib
import json
import os
import time
from typing import NamedTuple

_MOST_BYTES = 4096
_LATEST = 2**40  # seconds: a deadline
_MODE = 0o644  # the runner and the daemon may be of another account than the agent


class Lease(NamedTuple):
    """What the file says.

    `incarnation`: None if the lease is void: the host was fenced, and whatever runs for an earlier
    incarnation is killed at once. `deadline`: seconds of CLOCK_BOOTTIME; 0.0 until the incarnation
    is registered. `store`: the id of the store that the Attempts are recorded in. `boot`: the
    kernel's id of the boot that the deadline belongs to.
    """

    incarnation: str | None
    deadline: float
    store: str
    boot: str


def now() -> float:
    """Seconds of CLOCK_BOOTTIME."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def may_run(lease: Lease | None, incarnation: str, at: float) -> bool:
    """Whether an Attempt of this incarnation may run at this second of CLOCK_BOOTTIME."""
    return lease is not None and lease.incarnation == incarnation and at < lease.deadline


def is_void(lease: Lease | None, incarnation: str) -> bool:
    """Whether an Attempt of this incarnation is to be killed at once, without a TERM before.

    A file that cannot be read says nothing: what was read before holds, up to its deadline.
    """
    return lease is not None and lease.incarnation != incarnation


def read(path: str) -> Lease | None:
    """None if there is no such file, if it is damaged, or if it was written before a reboot."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        lease = _lease(os.read(descriptor, _MOST_BYTES))
    except (OSError, ValueError, RecursionError):
        return None
    finally:
        os.close(descriptor)
    return lease if lease.boot == boot_id() else None


def write(path: str, lease: Lease) -> None:
    """Replace the file as a whole. Raises OSError.

    It is not synced: after a power cut it means nothing.
    """
    new = f"{path}.new"
    with contextlib.suppress(FileNotFoundError):
        os.unlink(new)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    descriptor = os.open(new, flags, _MODE)
    try:
        os.fchmod(descriptor, _MODE)
        os.write(descriptor, json.dumps(lease._asdict()).encode())
    finally:
        os.close(descriptor)
    os.replace(new, path)


def boot_id() -> str:
    """The kernel's id of this boot (random(4)); "" where there is none."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return ""


def _lease(data: bytes) -> Lease:
    """Raises ValueError."""
    values = json.loads(data)
    if not isinstance(values, dict):
        raise ValueError("no object")
    incarnation, deadline = values.get("incarnation"), values.get("deadline")
    store, boot = values.get("store"), values.get("boot")
    if not isinstance(incarnation, str | None) or not isinstance(deadline, float | int):
        raise ValueError("no lease")
    if isinstance(deadline, bool) or not 0 <= deadline < _LATEST:  # NaN is outside, too
        raise ValueError("no lease")
    if not isinstance(store, str) or not isinstance(boot, str):
        raise ValueError("no lease")
    return Lease(incarnation, float(deadline), store, boot)
