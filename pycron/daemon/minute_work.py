"""The work that the daemon does once a minute, besides what is due."""

import math
from collections.abc import Callable
from dataclasses import dataclass

_MINUTE = 60
_LOOK_AHEAD = 2.0  # seconds before the end of a minute


@dataclass(slots=True)
class MinuteWork:
    """`look` comes two seconds before a minute ends: fire times may depend on what it finds.

    `tidy` is what nothing depends on. It follows at once; but if something is due in a moment, it
    waits until that has started.
    """

    look: Callable[[], None]
    tidy: Callable[[], None]
    _next_look: float = 0.0
    _next_tidying: float = math.inf

    @property
    def next_at(self) -> float:
        """The UTC second at which there is work."""
        return min(self._next_look, self._next_tidying)

    def look_now(self) -> None:
        """Do not wait for the end of the minute: the clock was set back."""
        self._next_look = 0.0

    def do(self, now: float, next_wakeup: float) -> None:
        """Do what is due by now. `next_wakeup`: when the engine has something to do."""
        if now >= self._next_look:
            self.look()
            # The end of this minute, in a moment; or of the last one, if this work comes late.
            boundary = now - (now + _LOOK_AHEAD) % _MINUTE + _LOOK_AHEAD
            self._next_tidying = boundary if next_wakeup < boundary else now
            self._next_look = boundary + _MINUTE - _LOOK_AHEAD
        if now >= self._next_tidying:
            self.tidy()
            self._next_tidying = math.inf
