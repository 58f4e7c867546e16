"""Tells the service manager that the daemon makes progress, from the loop and never from a timer.

systemd kills and restarts a daemon that has told it nothing for WatchdogSec (systemd.service(5)).
"""

import time
from dataclasses import dataclass, field

from pycron.system.sd_notify import notify, watchdog_seconds

_START_STEP = 180  # seconds in which the next step of the start has to come


@dataclass(slots=True)
class Watchdog:
    """`seconds`: the longest silence that the service manager allows; infinity without one.

    The turns of the loop are the sign of life. A turn that reads tables may be long, so each table
    that was read is one, too.
    """

    seconds: float = field(default_factory=watchdog_seconds)
    _ready: bool = False
    _told: float = 0.0  # seconds of the monotonic clock

    @property
    def patience(self) -> float:
        """How long the loop may wait for something to happen, in seconds."""
        return self.seconds / 2

    def ready(self) -> None:
        """The start is over. From now on the service manager watches."""
        self._ready = True
        notify("READY=1")

    def turned(self) -> None:
        """The loop has done one turn. Not every turn is worth a message."""
        now = time.monotonic()
        if now - self._told >= self.seconds / 4:
            self._told = now
            notify("WATCHDOG=1")

    def table_was_read(self) -> None:
        """A step of a long turn, or of the start, which may take longer than TimeoutStartSec."""
        if self._ready:
            self.turned()
        else:
            notify(f"EXTEND_TIMEOUT_USEC={_START_STEP * 1_000_000}")
