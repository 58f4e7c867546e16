"""The day rules of an entry, from its settings and the calendars of the configuration."""

import datetime
from collections.abc import Mapping

from pycron.crontab.line import LineError
from pycron.model.settings import SETTINGS, Settings
from pycron.schedule.day_rules import Calendar, DayRules, Every
from pycron.schedule.expressions import Schedule, WallTimes, limited
from pycron.schedule.fire_times import next_fire
from pycron.schedule.packed import Packed, unpack
from pycron.schedule.zone import UTC

# The attributes of settings that decide about fire times.
SETTINGS_OF_TIMES = ("zone", "every", "only", "excepted")
NO_CALENDARS: Mapping[str, Calendar] = {}
_EPOCH = datetime.date(1970, 1, 1).toordinal()


def day_rules(settings: Settings, calendars: Mapping[str, Calendar]) -> DayRules | None:
    """What CRON_EVERY, CRON_ONLY and CRON_EXCEPT say; None if no day is left out.

    A calendar that is not known has no effect; the reader says so.
    """
    if not (settings.every or settings.only or settings.excepted):
        return None
    only = tuple(calendars[name] for name in settings.only if name in calendars)
    excepted = tuple(calendars[name] for name in settings.excepted if name in calendars)
    rules = DayRules(settings.every, only, excepted)
    return None if rules == DayRules() else rules


def day_settings(settings: Settings) -> str | None:
    """The settings about days as they stand in front of an entry; None without any."""
    if not (settings.every or settings.only or settings.excepted):
        return None  # of nearly all entries
    values = {
        "CRON_EVERY": str(settings.every or ""),
        "CRON_ONLY": ",".join(settings.only),
        "CRON_EXCEPT": ",".join(settings.excepted),
    }
    return " ".join(f"{name}={value}" for name, value in values.items() if value)


def parse_day_settings(text: str) -> Settings:
    """The settings that `day_settings` wrote. Raises ValueError."""
    values = {}
    for word in text.split():
        name, _, value = word.partition("=")
        if name not in SETTINGS:
            raise ValueError
        values[SETTINGS[name].attribute] = SETTINGS[name].parse(value)
    return Settings(**values)


def refuse_never(schedule: Packed | Schedule, every: Every | None, column: int) -> None:
    """Raise LineError if the fields never choose a day that CRON_EVERY chooses."""
    if every is None:
        return
    times = unpack(*schedule) if isinstance(schedule, tuple) else schedule
    if not isinstance(times, WallTimes):
        return
    first = (every.date.toordinal() - _EPOCH) * 86_400
    if next_fire(limited(times, DayRules(every)), UTC, first) is None:
        message = f"bad CRON_EVERY: {every} (it would never run: the fields choose other days)"
        raise LineError("never-fires", message, column)
