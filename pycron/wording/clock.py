"""The clock by which times are shown to people."""

from dataclasses import dataclass
from functools import lru_cache

from pycron.model.in_words import instant_in_words
from pycron.model.instants import parse_rfc3339, rfc3339
from pycron.schedule.zone import UTC, Zone


@dataclass(frozen=True, slots=True, eq=False)
class Clock:
    """`zone`: in which times are shown. `now`: the UTC second that they are compared with.

    `short`: without what is the same for all times, as a person reads them on a terminal. Times in
    a file or a pipe are whole, as somebody may sort them or read them on another day.
    """

    zone: Zone
    now: float
    short: bool

    def at(self, instant: float) -> str:
        """An instant: `14:45`, `Nov 28 14:45`; in a file or a pipe 2026-11-28T14:45:00+01:00."""
        if self.short:
            return instant_in_words(instant, self.zone, self.now)
        if self.zone is UTC:
            return rfc3339(instant)
        return self.zone.local(int(instant)).isoformat()

    def at_text(self, text: str) -> str:
        """The same of an instant as JSON has it."""
        return _at_text(self, text)

    @property
    def title(self) -> str:
        """What stands above the times: `times in Europe/Berlin`."""
        return f"times in {self.zone.name}"


@lru_cache(maxsize=4096)  # thousands of Jobs are due at the same minutes
def _at_text(clock: Clock, text: str) -> str:
    return clock.at(parse_rfc3339(text))
