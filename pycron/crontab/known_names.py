"""The names of the configuration that settings may have: zones, pools, notifications, calendars."""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass

from pycron.crontab.line import EntryLine, LineError
from pycron.crontab.messages import read_message
from pycron.model.settings import Setting
from pycron.schedule.day_rules import Calendar

UNKNOWN_CALENDAR = "unknown-calendar"  # the code of the problem

Warnings = Iterator[tuple[str, str]]
"""Codes and messages."""


@dataclass(frozen=True, slots=True)
class KnownNames:
    """Checks the names in the values of settings; see ReaderContext for these attributes.

    `owner`: of the table; None for a system table.
    """

    owner: str | None
    zone_exists: Callable[[str], bool]
    pools: Mapping[str, Collection[str] | None] | None
    notifications: Mapping[str, Collection[str] | None] | None
    calendars: Mapping[str, Calendar] | None
    senders: Mapping[str, Collection[str] | None] | None

    def warnings(self, setting: Setting, text: str, column: int) -> Warnings:
        """What is wrong with the names in the text of a value. Raises LineError."""
        match setting.name:
            case "CRON_TZ":
                if not self.zone_exists(text):
                    message = f'bad CRON_TZ: "{text}" (no such time zone; {setting.form})'
                    raise LineError("unknown-zone", message, column)
            case "CRON_POOL":
                yield from self._of_pool(text)
            case "CRON_NOTIFY":
                for name in text.split(",") if self.notifications is not None else ():
                    yield from self._of_notification(name)
            case "CRON_ONLY" | "CRON_EXCEPT":
                for name in text.split(","):
                    yield from self._of_calendar(setting.name, name, column)

    def denies_pool(self, name: str) -> bool:
        """Whether the configuration has this pool for other users; then the entry has no pool."""
        users = (self.pools or {}).get(name)
        return users is not None and self.owner not in (None, "root", *users)

    def check_message(self, sender: str | None, entry: EntryLine) -> None:
        """An entry with CRON_SEND has a message, and may use the sender. Raises LineError.

        A mistake is one of the entry, also if the setting stands on a line of its own above it: the
        text of the message must never be run as a command.
        """
        if sender is None:
            return
        try:
            read_message(entry.command, entry.stdin)
        except ValueError as error:
            raise LineError("bad-message", f"bad message: {error}", entry.command_column) from None
        if self.senders is None:
            return
        if sender not in self.senders:
            known = ", ".join(sorted(self.senders)) or "none"
            reason = f"no section [senders.{sender}] in the configuration; it has {known}"
            raise LineError("unknown-sender", f'bad CRON_SEND: "{sender}" ({reason})', entry.column)
        users = self.senders[sender]
        if users is not None and self.owner not in (None, "root", *users):
            reason = f"[senders.{sender}] of the configuration is not for {self.owner}"
            raise LineError("sender-denied", f'bad CRON_SEND: "{sender}" ({reason})', entry.column)

    def _of_pool(self, name: str) -> Warnings:
        if self.pools is not None and name not in self.pools:
            message = f'CRON_POOL: "{name}" is not in the configuration, and has no limit'
            yield "unknown-pool", message
        if self.denies_pool(name):
            message = f'CRON_POOL: "{name}" is not for {self.owner}, whose jobs count against no'
            yield "pool-denied", f"{message} pool"

    def _of_notification(self, name: str) -> Warnings:
        """A section that the configuration does not have, or not for this user."""
        sections = self.notifications or {}
        if name not in sections:
            message = f'CRON_NOTIFY: "{name}" is not in the configuration, and tells nobody'
            yield "unknown-notification", message
            return
        users = sections[name]
        if users is not None and self.owner not in (None, "root", *users):
            message = f'CRON_NOTIFY: "{name}" tells nothing about the jobs of {self.owner}'
            yield "notification-denied", message

    def _of_calendar(self, setting: str, name: str, column: int) -> Warnings:
        if self.calendars is None:
            reason = "the configuration cannot be read here, so this calendar is not known"
            yield UNKNOWN_CALENDAR, f'{setting}: "{name}": {reason}'
        elif name not in self.calendars:
            known = ", ".join(sorted(self.calendars)) or "none"
            reason = f"no such calendar in [calendars] of the configuration; it has {known}"
            raise LineError(UNKNOWN_CALENDAR, f'bad {setting}: "{name}" ({reason})', column)
