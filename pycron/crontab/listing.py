"""Entries as a list of all Jobs shows them.

Such a list needs no schedule and few settings; to make a Job of an entry takes three times as long.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

from pycron.crontab.day_rules import day_settings
from pycron.crontab.entries import Entries, EntryContext
from pycron.crontab.jobs import Jobs
from pycron.crontab.line import read_entry
from pycron.model.pause import ALL, Scope
from pycron.schedule.expressions import is_random, resolved_text


class Listed(NamedTuple):
    """What an entry says. `resolved`, `days`: see the keys of `pycron list` in pycron(1)."""

    id: str
    name: str
    table: str
    line: int
    user: str
    schedule: str
    resolved: str
    days: str | None
    zone: str | None
    command: str
    stdin: str | None
    pool: str | None

    @property
    def scopes(self) -> list[Scope]:
        """The scopes of pauses that it belongs to, as those of its Job."""
        scopes = [ALL, Scope.of_user(self.user), Scope.of_job(self.id)]
        return [*scopes, Scope.of_pool(self.pool)] if self.pool else scopes


def listed(entries: Entries, index: int) -> Listed:
    """One entry of a table."""
    entry = read_entry(entries.text(index), 0, entries.source.owner)
    context = entries.context(index)
    words = " ".join(entry.words)
    is_plain = words[0] != "@" and not is_random(words)
    name = entries.name(index, entry.command)
    resolved = words if is_plain else resolved_text(entries[index].schedule)
    settings = context.settings
    return Listed(entries.id(index), name, entries.source.name, entries.lines[index], context.user,
                  words, resolved, day_settings(settings), settings.zone, entry.command,
                  entry.stdin, settings.pool)  # fmt: skip


def entries_from(
    jobs: Jobs, position: int, holds: Callable[[EntryContext], bool]
) -> Iterator[tuple[int, Entries, int]]:
    """The entries from this position on whose EntryContext fulfils a condition.

    Positions count the Jobs of all tables, in the order of table and line. What comes before costs
    nothing, so a list may be asked for in parts.
    """
    begin = 0
    for entries in jobs.tables:
        if begin + len(entries) > position:
            for index in entries.where(holds, max(0, position - begin)):
                yield begin + index, entries, index
        begin += len(entries)
