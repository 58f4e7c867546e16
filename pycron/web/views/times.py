"""Times as a viewer of the page wants them: local, in the zone of each Job, or UTC."""

from dataclasses import dataclass
from enum import StrEnum
from functools import cache

from pycron.model.in_words import ago_in_words, ahead_in_words, instant_in_words
from pycron.model.instants import parse_rfc3339, rfc3339
from pycron.schedule.zone import UTC, Zone
from pycron.system.zone_data import UnknownZone, ZoneData


class Choice(StrEnum):
    """In which zone times are shown."""

    LOCAL = "local"
    JOB = "job"
    UTC = "utc"


@dataclass(frozen=True, slots=True)
class Moment:
    """An instant for a person. `whole`: with its date and its zone; `iso`: for programs."""

    text: str
    whole: str
    iso: str
    ago: str


@dataclass(frozen=True, slots=True)
class Times:
    """`local`: the zone of the browser, else that of the machine. `now`: a UTC second."""

    choice: Choice
    local: Zone
    now: float

    @property
    def zone(self) -> Zone:
        """The zone of all times that belong to no Job, and of all times that a viewer types."""
        return UTC if self.choice is Choice.UTC else self.local

    @property
    def title(self) -> str:
        """The zone of the times on a page, in words."""
        if self.choice is Choice.JOB:
            return f"Times in the zone of each Job, others in {self.local.name}"
        return f"Times in {self.zone.name}"

    def at(self, when: str | float | None, *zone: str | None) -> Moment | None:
        """An instant (RFC 3339, or a UTC second), or None.

        `zone`: that of its Job, where None is the machine's; without it, it belongs to no Job.
        """
        if when is None:
            return None
        instant = parse_rfc3339(when) if isinstance(when, str) else when
        shown = _zone(zone[0]) if zone and self.choice is Choice.JOB else self.zone
        text = instant_in_words(instant, shown, self.now)
        if self.choice is Choice.JOB:
            text += f" {shown.name}"
        local = shown.local(int(instant))
        whole = f"{local:%A %Y-%m-%d %H:%M:%S} {shown.name} (UTC{local:%z})"
        return Moment(text, whole, rfc3339(instant), _distance(instant, self.now))


def _distance(instant: float, now: float) -> str:
    seconds = now - instant
    if abs(seconds) >= 600:
        seconds = round(seconds / 60) * 60
    return ago_in_words(seconds) if seconds >= 0 else ahead_in_words(-seconds)


@cache
def zones() -> ZoneData:
    """The zone data of this machine, which this process reads once."""
    return ZoneData()


def _zone(name: str | None) -> Zone:
    """The zone of this name; the machine's if this machine does not know the name."""
    try:
        return zones().zone(name)
    except UnknownZone:
        return zones().machine


def chosen_times(choice: str | None, browser_zone: str | None, now: float) -> Times:
    """The times that cookies ask for; anything unknown in them stands for what is usual."""
    known = Choice(choice) if choice in list(Choice) else Choice.LOCAL
    return Times(known, _zone(browser_zone or None), now)
