"""The daemon's tables: what the spool finds, parsed, settled, and handed to the engine."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

from pycron.crontab.reader import ReaderContext
from pycron.crontab.table import Table
from pycron.engine.actions import Log
from pycron.engine.events import InputEvent, TableLoaded, TableRemoved
from pycron.engine.log_events import Event
from pycron.model.problem import Problem, Severity
from pycron.system.accounts import Accounts
from pycron.tables.check import parse_found
from pycron.tables.directories import Change, Found, Gone, Ignored, TableDirectories


@dataclass(slots=True)
class Tables:
    """All tables by name. `feed` takes what the engine is to know, `log` what people are."""

    directories: TableDirectories
    accounts: Accounts
    context: Callable[[], ReaderContext]
    feed: Callable[[InputEvent], object]
    log: Callable[[Log], None]
    _good: dict[str, Table] = field(default_factory=dict)
    _current: dict[str, Table] = field(default_factory=dict)

    def rescan(self, again: bool = False) -> None:
        """Take up what has changed; with `again`, read everything anew."""
        for change in self.directories.scan(again):
            self._take(change)

    def problems(self) -> list[Problem]:
        return [problem for table in self._current.values() for problem in table.problems]

    def count(self) -> int:
        return len(self._current)

    def _take(self, change: Change) -> None:
        match change:
            case Gone():
                self._good.pop(change.name, None)
                self._current.pop(change.name, None)
                self.feed(TableRemoved(change.name))
                self.log(Log(Event.TABLE_REMOVED, {"table": change.name}))
            case Ignored():
                fields = {"path": change.path, "reason": change.reason}
                self.log(Log(Event.TABLE_IGNORED, fields, bad=True))
            case Found():
                self._found(change)

    def _found(self, found: Found) -> None:
        name = found.source.name
        new = parse_found(found, self.context())
        new = replace(new, problems=(*new.problems, *self._unknown_users(new)))
        good = self._good.get(name)
        table = with_last_good_jobs(good, new)
        if not new.errors:
            self._good[name] = new
        self._current[name] = table
        self.feed(TableLoaded(table))
        self._say(new, table, kept=good is not None)

    def _unknown_users(self, table: Table) -> Iterator[Problem]:
        """A warning only: a directory service may know the user by the time the Job is due."""
        for user, line in table.jobs.users().items():
            if not self.accounts.exists(user):
                message = f'no such user: "{user}" (its commands fail until there is one)'
                name = table.source.name
                yield Problem(name, line, 1, Severity.WARNING, "unknown-user", message)

    def _say(self, new: Table, table: Table, kept: bool) -> None:
        name = table.source.name
        for problem in table.problems:
            fields = {"table": name, "line": problem.line, "problem": str(problem)}
            self.log(Log(Event.TABLE_PROBLEM, fields, bad=True))
        if not new.errors:
            self.log(Log(Event.TABLE_LOADED, {"table": name, "jobs": len(table.jobs)}))
            return
        running = "its last good version" if kept else "its good lines" if table.jobs else "nothing"
        fields = {"table": name, "errors": len(new.errors), "jobs": len(table.jobs),
                  "running": running}  # fmt: skip
        self.log(Log(Event.TABLE_BAD, fields, bad=True))


def with_last_good_jobs(last_good: Table | None, new: Table) -> Table:
    """The table to run after a change: a bad table never replaces a good one.

    If the new table has errors, the Jobs are those of its last good version; if there never was a
    good version, those of its good lines. The problems are those of the new table in any case.
    """
    if new.errors and last_good is not None:
        return Table(new.source, last_good.jobs, new.problems)
    return new
