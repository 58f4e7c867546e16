"""The tables of the daemon: each change that a scan finds is read and passed to the engine."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from pycron.crontab import reader
from pycron.crontab.entries import Entries, nothing
from pycron.crontab.reader import ReaderContext
from pycron.crontab.shared_names import same_shared_jobs
from pycron.crontab.table import Table
from pycron.crontab.users import unknown_users
from pycron.engine.actions import Log
from pycron.engine.events import InputEvent, TableLoaded, TableRemoved
from pycron.engine.log_events import Event
from pycron.model.problem import Problem
from pycron.model.steps import Steps, finish
from pycron.system.accounts import Accounts
from pycron.system.files import WRONG_OWNER
from pycron.tables.check import parsing_found
from pycron.tables.directories import Found, Gone, Ignored, TableDirectories
from pycron.tables.spool_form import without_header
from pycron.tables.versions import TableVersions

_ONE_WRITE = 2_000_000_000  # nanoseconds that the writing of a table takes at most


@dataclass(frozen=True, slots=True)
class _Written:
    """A good version that has just been written, and the good one before it, if there was one.

    A scan reads whatever is in a file that somebody is just writing: first nothing, then a part of
    the text. Such a beginning may have no error, and must not become the last good version.
    `changed`: when the file changed, in nanoseconds.
    """

    changed: int
    table: Table
    before: Table | None

    def is_beginning_of(self, new: Table, changed: int | None) -> bool:
        """Whether this version is the beginning of a text that was written soon after it."""
        text, begun = new.jobs.table_text, self.table.jobs.table_text
        return self.is_recent(changed) and text != begun and text.startswith(begun)

    def is_recent(self, now: int | None) -> bool:
        return now is not None and 0 <= now - self.changed < _ONE_WRITE


@dataclass(slots=True)
class Tables:
    """The tables of the daemon, by name. Implements `ports.Tables`.

    `context`: what tables are read with. `feed` passes events to the engine, `log` entries to the
    log. `attend`: does what is due; it is called while a caller waits for tables. A bad table never
    replaces a good one (`with_last_good_jobs`). `versions`: keeps the tables of users that somebody
    changed without the daemon.
    """

    directories: TableDirectories
    accounts: Accounts
    context: Callable[[], ReaderContext]
    feed: Callable[[InputEvent], object]
    log: Callable[[Log], None]
    versions: TableVersions
    attend: Callable[[], object] = lambda: None
    _good: dict[str, Table] = field(default_factory=dict)  # the last version without errors
    _written: dict[str, _Written] = field(default_factory=dict)  # what has just been written
    _current: dict[str, Table] = field(default_factory=dict)
    _work: Steps[None] | None = None  # a scan that has begun
    _look_again: bool = False  # something has changed since it began
    _scans: int = 0  # how many have ended

    def rescan(self, again: bool = False) -> None:
        """Load what has changed; with `again`, load everything anew."""
        if self._work is not None:
            finish(self._work, self.attend)
        self._work, self._look_again = None, False
        finish(self._scan(again), self.attend)

    def look(self) -> None:
        """Load what has changed, in steps: see `work`."""
        if self._work is None:
            self._work = self._scan(again=False)
        else:
            self._look_again = True

    def rescanned(self) -> Steps[None]:
        """Wait in steps until `work` has loaded what has changed until now."""
        wanted = self._scans + (1 if self._work is None else 2)
        self.look()
        while self._scans < wanted:
            yield

    @property
    def has_work(self) -> bool:
        """Whether there are changes that are not loaded yet."""
        return self._work is not None

    def work(self) -> None:
        """Do a step of what `look` began: it takes a few milliseconds."""
        if self._work is None:
            return
        try:
            next(self._work)
        except StopIteration:
            self._work = None
            if self._look_again:
                self._look_again = False
                self.look()

    def _scan(self, again: bool) -> Steps[None]:
        for change in self.directories.scan(again):
            match change:
                case Found():
                    yield from self._load(change)
                case Gone():
                    self._unload(change.name)
                case Ignored():
                    fields = {"path": change.path, "reason": change.reason}
                    self.log(Log(Event.TABLE_IGNORED, fields, bad=True))
            yield
        self._scans += 1
        now = time.time_ns()
        recent = {name: each for name, each in self._written.items() if each.is_recent(now)}
        self._written = recent

    def problems(self) -> list[Problem]:
        """The problems of all loaded tables, and the files that are ignored."""
        found = [problem for table in self._current.values() for problem in table.problems]
        by_name = sorted(self._current.items())
        twice = same_shared_jobs(table.jobs for _, table in by_name)
        return [*found, *twice, *self.directories.ignored()]

    def count(self, owner: str | None = None) -> int:
        """How many tables are loaded, of a user or (None) of all."""
        if owner is None:
            return len(self._current)
        return sum(1 for table in self._current.values() if table.source.owner == owner)

    def entries(self, name: str) -> Entries:
        """The entries that run of the table with this name; none if there is no such table."""
        table = self._current.get(name)
        return table.jobs if table else nothing()

    def _load(self, found: Found) -> Steps[None]:
        name = found.source.name
        new = yield from parsing_found(found, self.context())
        changed = found.changed if self._scans else None  # what is there at the start is whole
        if found.text is not None:
            self._notice(name, without_header(found.text), len(new.jobs))
        new = replace(new, problems=(*new.problems, *unknown_users(new.jobs, self.accounts.exists)))
        if found.problem and found.problem.code == WRONG_OWNER and found.source.owner == name:
            self._good.pop(name, None)  # the table of an account that had this name before
        if new.errors:
            self._take_back_beginning(new, changed)
            yield from self._read_last_good_again(name)
        good = self._good.get(name)
        table = with_last_good_jobs(good, new)
        if not new.errors:
            self._keep_good(new, changed)
        self._current[name] = table
        self.feed(TableLoaded(table))
        self._log_load(new, table, kept=good is not None)

    def _keep_good(self, new: Table, changed: int | None) -> None:
        """Keep the last good version, and until it is surely whole, the one before it."""
        name = new.source.name
        if changed is not None:
            last = self._written.get(name)
            is_longer = last is not None and last.is_beginning_of(new, changed)
            before = last.before if last and is_longer else self._good.get(name)
            self._written[name] = _Written(changed, new, before)
        self._good[name] = new

    def _take_back_beginning(self, new: Table, changed: int | None) -> None:
        """Forget the last good version if it was only the beginning of this bad one."""
        name = new.source.name
        last = self._written.get(name)
        if last is None or not last.is_beginning_of(new, changed):
            return
        self._good.pop(name, None)
        if last.before is not None:
            self._good[name] = last.before

    def _notice(self, name: str, text: str | None, entries: int) -> None:
        """Keep a version of a user's own table, which has the name of the user."""
        if "/" not in name:
            self.versions.notice(name, text, lambda: entries)

    def _read_last_good_again(self, name: str) -> Steps[None]:
        """The configuration may have other defaults and ceilings since the last good version."""
        good = self._good.get(name)
        if good is not None:
            again = yield from reader.parsing(good.jobs.table_text, good.source, self.context())
            if not again.errors:
                self._good[name] = again

    def _unload(self, name: str) -> None:
        self._notice(name, None, 0)
        self._good.pop(name, None)
        self._written.pop(name, None)
        self._current.pop(name, None)
        self.feed(TableRemoved(name))
        self.log(Log(Event.TABLE_REMOVED, {"table": name}))

    def _log_load(self, new: Table, table: Table, kept: bool) -> None:
        """Log the problems of the new version, and which Jobs run. `kept`: there was a good one."""
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
