"""Checks of an entry against the clock of its zone: hours that are skipped or come twice."""

import datetime
from collections.abc import Iterator

from pycron.lint.code import note
from pycron.lint.found import Entry, Found
from pycron.schedule.expressions import WallTimes
from pycron.schedule.zone import Stretch, Zone

SHARED_ZONE = note(
    "shared-zone",
    "A shared job (CRON_ON=any) without CRON_TZ is due by the clock of the cluster: cluster.zone of"
    " pycron.toml, which is UTC by default. All hosts have to agree, so the machine's zone is not"
    " used.",
    "CRON_NAME=nightly CRON_ON=any 30 5 * * * /usr/local/bin/report",
    "CRON_TZ=Europe/Berlin CRON_NAME=nightly CRON_ON=any 30 5 * * * /usr/local/bin/report",
)
DST_GAP = note(
    "dst-gap",
    "The clock of the zone skips a time at which the entry is due: an entry with a fixed time runs"
    " once, when the clock has jumped; one with a star in minute or hour does not run then.",
    "CRON_TZ=Europe/Berlin 30 2 * * * /usr/local/bin/backup",
    "CRON_TZ=Europe/Berlin 30 4 * * * /usr/local/bin/backup",
)
DST_FOLD = note(
    "dst-fold",
    "The clock of the zone shows a time twice at which the entry is due: an entry with a fixed time"
    " runs the first time only; one with a star in minute or hour runs both times.",
    "CRON_TZ=Europe/Berlin 30 2 * * * /usr/local/bin/backup",
    "CRON_TZ=Europe/Berlin 30 4 * * * /usr/local/bin/backup",
)
_AHEAD = 400 * 86_400  # seconds in which changes of the clock are looked for
_ALL_HOURS = 0xFFFFFF


class ClockChecks:
    """The checks of one table; many of its entries have the same schedule and zone."""

    def __init__(self, now: int) -> None:
        self._now = now
        self._stretches: dict[str, list[Stretch]] = {}
        self._found: dict[object, tuple[str | None, str | None]] = {}

    def of(self, entry: Entry, zone: Zone, key: object) -> Iterator[Found]:
        """What the next changes of the clock do to an entry. Equal keys mean equal schedules."""
        times = entry.times
        if not isinstance(times, WallTimes) or times.hours == _ALL_HOURS:
            return
        if zone.name not in self._stretches:
            self._stretches[zone.name] = list(self._coming(zone))
        stretches = self._stretches[zone.name]
        if not stretches:
            return
        key = key, zone.name
        if key not in self._found:
            self._found[key] = _of_gap(times, zone, stretches), _of_fold(times, zone, stretches)
        gap, fold = self._found[key]
        start, end = entry.start, entry.command_start
        remedy = "choose another hour, or a zone without it (CRON_TZ=UTC)"
        if gap:
            yield Found(DST_GAP, start, end, gap, remedy)
        if fold:
            yield Found(DST_FOLD, start, end, fold, remedy)

    def _coming(self, zone: Zone) -> Iterator[Stretch]:
        """The stretches that begin soon with a shift of the clock."""
        stretch = zone.stretch_at(self._now)
        while stretch.end < self._now + _AHEAD:
            stretch = zone.stretch_at(stretch.end)
            if stretch.skipped or stretch.repeated_until > stretch.start + stretch.offset:
                yield stretch


def _of_gap(times: WallTimes, zone: Zone, stretches: list[Stretch]) -> str | None:
    for stretch in stretches:
        wall = stretch.start + stretch.offset
        due = times.next_wall((wall - stretch.skipped) // 60, wall // 60)
        if due is not None:
            then = "it does not run then" if times.wildcard else f"it runs at {_clock(wall // 60)}"
            return f"{_clock(due)} does not exist on {_date(due)} in {zone.name}: {then}"
    return None


def _of_fold(times: WallTimes, zone: Zone, stretches: list[Stretch]) -> str | None:
    for stretch in stretches:
        wall = stretch.start + stretch.offset
        due = times.next_wall(wall // 60, stretch.repeated_until // 60)
        if due is not None:
            then = "it runs both times" if times.wildcard else "it runs the first time only"
            return f"{_clock(due)} comes twice on {_date(due)} in {zone.name}: {then}"
    return None


def _clock(minute: int) -> str:
    return f"{minute // 60 % 24:02}:{minute % 60:02}"


def _date(minute: int) -> datetime.date:
    return datetime.date(1970, 1, 1) + datetime.timedelta(minutes=minute)


def of_shared(entry: Entry, *, has_zone: bool) -> Iterator[Found]:
    """A zone that a shared Job has got without its table naming one. `has_zone`: the table does."""
    named = has_zone or "CRON_TZ" in entry.text[: entry.start]
    if entry.settings.runs_on.shared and not named and isinstance(entry.times, WallTimes):
        message = f"a shared job without CRON_TZ is due by the clock of {entry.settings.zone}"
        remedy = f"write CRON_TZ={entry.settings.zone}, or another zone, in front of the entry"
        yield Found(SHARED_ZONE, entry.start, entry.command_start, message, remedy)
