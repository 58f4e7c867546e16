"""Directories of tables: a scan finds the tables that are new, changed or gone."""

import os
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pycron.config import Config
from pycron.crontab.line import RUN_PARTS_NAME, USER_NAME
from pycron.model.job import Source
from pycron.model.problem import Problem, Severity
from pycron.system.files import FileRules, Unreadable, way_facts
from pycron.tables.files import (
    ANY_OWNER,
    UNREAD,
    Signature,
    linked,
    problem_of,
    read_table_file,
    signature_of,
    text_of,
    too_many,
)


@dataclass(frozen=True, slots=True)
class Found:
    """A table that is new or has changed: its text, or the problem why there is none.

    With a text, the problem is a warning about the file. `changed`: when the file changed last
    (ctime in nanoseconds); None if that is not known.
    """

    source: Source
    text: str | None
    problem: Problem | None = None
    changed: int | None = None


@dataclass(frozen=True, slots=True)
class Gone:
    """A table that is not there any more. `name`: that of its Source."""

    name: str


@dataclass(frozen=True, slots=True)
class Ignored:
    """A path that is passed over: a file with another kind of name, an unreadable directory."""

    path: str
    reason: str


Change = Found | Gone | Ignored


def not_a_run_parts_name(name: str) -> str | None:
    """Why a directory of system tables passes over a file of this name; None if it does not.

    Editors' backups and package managers' copies have names that run-parts(8) does not take.
    """
    if RUN_PARTS_NAME.fullmatch(name):
        return None
    return "a table's name has letters, digits, _ and - only (run-parts)"


def not_a_user_name(name: str) -> str | None:
    """Why a spool passes over a file of this name; None if a user may have this name."""
    return None if USER_NAME.fullmatch(name) else "its name cannot be the name of a user"


@dataclass(frozen=True, slots=True)
class TableLocation:
    """A directory of tables, or one table file.

    `directory`: the path is a directory whose files are tables, or, for system tables, one table.

    `owner`: the user whose tables they are; None for system tables. `users`: each file is the table
    of the user with its name. `name`: what messages call the table, instead of its path. `rules`:
    what the files must be. `why_not`: why a file of this name is passed over; None for the default.
    """

    path: Path
    owner: str | None = None
    users: bool = False
    name: str | None = None
    directory: bool = False
    rules: FileRules = ANY_OWNER
    why_not: Callable[[str], str | None] | None = None

    def source_of(self, path: str) -> Source:
        """The Source of the file at this path, which is one of the candidates."""
        if self.users:
            name = os.path.basename(path)
            return Source(name, name)
        return Source(self.name or path, self.owner)

    @property
    def watched(self) -> Path:
        """The directory to watch for changes."""
        return self.path if self.directory and not self.path.is_file() else self.path.parent

    def candidates(self) -> list[str]:
        """The paths that may be tables: all but hidden files. Raises OSError."""
        path = str(self.path)
        if not self.directory:
            return [path]
        try:
            names = sorted(os.listdir(path))
        except FileNotFoundError:
            return []
        except NotADirectoryError:
            return [] if self.users else [path]
        return [f"{path}/{name}" for name in names if name[0] != "."]

    def why_no_table(self, path: str) -> str | None:
        """Why a file in this directory is passed over; None if its name is that of a table."""
        if path == str(self.path):
            return None
        why_not = self.why_not or (not_a_user_name if self.users else not_a_run_parts_name)
        return why_not(os.path.basename(path))


@dataclass(slots=True)
class _Known:
    """A table that an earlier scan found, with the signature that it had then."""

    location: TableLocation
    source: Source
    signature: Signature = UNREAD


@dataclass(slots=True)
class TableDirectories:
    """All locations of tables, and the tables that the last scan found in them.

    A scan reads only the tables that have changed. If none has, it costs little more than one
    stat(2) for each table.
    """

    locations: list[TableLocation]
    config: Callable[[], Config]
    _known: dict[str, _Known] = field(default_factory=dict)  # by path
    _ignored: dict[str, str] = field(default_factory=dict)  # paths, with the reason

    def scan(self, again: bool = False) -> Iterator[Change]:
        """The changes since the last scan; with `again`, every table counts as changed."""
        if again:
            self._forget()
        present: set[str] = set()
        for location in self.locations:
            yield from self._scan_location(location, present)
        for path in sorted(set(self._known) - present):
            yield Gone(self._known.pop(path).source.name)

    def ignored(self) -> Iterator[Problem]:
        """Warnings about the paths that the last scan has passed over, and that are still there."""
        for path, reason in self._ignored.items():
            if os.path.lexists(path):
                yield Problem(path, 0, 1, Severity.WARNING, "ignored-file", reason)

    def forget_replaced(self, uids: Mapping[str, int]) -> set[str]:
        """Let the next scan read the tables of accounts that have another uid now; their names.

        `uids`: of accounts, by name.
        """
        found = set()
        for path, known in self._known.items():
            name = os.path.basename(path)
            uid = uids.get(name) if known.location.users else None
            if uid is not None and _owner(path) not in (0, uid, None):
                known.signature = UNREAD
                found.add(name)
        return found

    def _forget(self) -> None:
        for known in self._known.values():
            known.signature = UNREAD
        self._ignored.clear()

    def _scan_location(self, location: TableLocation, present: set[str]) -> Iterator[Change]:
        """The changes in one location; the paths of its tables are added to `present`."""
        try:
            paths = location.candidates()
        except OSError as error:  # the tables may be there still: an unreadable directory
            present |= {path for path, known in self._known.items() if known.location == location}
            yield from self._ignore(str(location.path), f"cannot be read: {error.strerror}")
            return
        self._ignored.pop(str(location.path), None)
        for path in paths:
            if path not in self._known and (reason := self._why_not(location, path)):
                yield from self._ignore(path, reason)
                continue
            self._ignored.pop(path, None)
            try:
                found = self._look(location, path)
            except FileNotFoundError:  # deleted since the directory was listed
                continue
            present.add(path)
            if found:
                yield found

    def _why_not(self, location: TableLocation, path: str) -> str | None:
        """Why a path is passed over; None if it is a table."""
        if reason := location.why_no_table(path):
            return reason
        most = self.config().tables
        return too_many(most) if len(self._known) >= most else None

    def _ignore(self, path: str, reason: str) -> Iterator[Ignored]:
        """Report once that a path is passed over."""
        if path not in self._ignored:
            self._ignored[path] = reason
            yield Ignored(path, reason)

    def _look(self, location: TableLocation, path: str) -> Found | None:
        """The table at a path; None if it has not changed. Raises FileNotFoundError."""
        known = self._known.get(path) or _Known(location, location.source_of(path))
        text, problem, changed, rules = None, None, None, location.rules
        try:
            signature = _signature(path, rules)
            if signature == known.signature:
                return None
            content = read_table_file(path, rules, self.config().table_bytes)
            text, changed = text_of(content), content.status.st_ctime_ns
        except FileNotFoundError:
            raise
        except OSError as error:
            signature = UNREAD  # read it again at the next scan, even if it does not change
            reason = f"cannot be read: {error.strerror}"
            problem = problem_of(known.source, Unreadable("unreadable", reason))
        except Unreadable as error:
            problem = problem_of(known.source, error)
        else:
            problem = linked(known.source, content) if not rules.trusted else None
        known.signature = signature
        self._known[path] = known
        return Found(known.source, text, problem, changed)


def _owner(path: str) -> int | None:
    try:
        return os.lstat(path).st_uid
    except OSError:
        return None


def _signature(path: str, rules: FileRules) -> Signature:
    """The signature of the file, or of a symlink that leads to none. Raises OSError."""
    try:
        status = os.stat(path, follow_symlinks=rules.follows_links)
    except FileNotFoundError:
        status = os.lstat(path)
    if rules.checked_links and stat.S_ISLNK(status.st_mode):
        return way_facts(path, rules)
    return signature_of(status)
