"""Directories of tables: a scan finds the tables that are new, changed or gone."""

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pycron.config import Config
from pycron.crontab.line import USER_NAME
from pycron.model.job import Source
from pycron.model.problem import Problem
from pycron.tables.files import (
    UNREAD,
    Signature,
    Unreadable,
    problem_of,
    read_table,
    signature_of,
    too_many,
)

# The names that run-parts(8) takes: editors' backups and package managers' copies have other names.
_DROP_IN_NAME = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)

_NAMES = "a table's name has letters, digits, _ and - only (run-parts)"


@dataclass(frozen=True, slots=True)
class Found:
    """A table that is new or has changed: its text, or the problem why there is none."""

    source: Source
    text: str | None
    problem: Problem | None = None


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


@dataclass(frozen=True, slots=True)
class TableLocation:
    """A directory of tables, or one table file.

    `owner`: the user whose tables they are; None for system tables. `users`: each file is the table
    of the user with its name. `name`: what messages call the table, instead of its path. `trusted`:
    the administrator named the file, so symlinks and loose permissions are allowed. `owners`: the
    uids that a table of this name may belong to; None allows any.
    """

    path: Path
    owner: str | None = None
    users: bool = False
    name: str | None = None
    directory: bool = False
    trusted: bool = False
    owners: Callable[[str], set[int]] | None = None

    def source_of(self, name: str) -> Source:
        """The Source of the file with this name."""
        if self.users:
            return Source(name, name)
        if self.name:
            return Source(self.name, self.owner)
        return Source(str(self.path / name) if self.directory else str(self.path), self.owner)

    @property
    def watched(self) -> Path:
        """The directory to watch for changes."""
        return self.path if self.directory else self.path.parent

    def candidates(self) -> list[str]:
        """The paths that may be tables: all but hidden files. Raises OSError."""
        path = str(self.path)
        if not self.directory:
            return [path]
        try:
            names = sorted(os.listdir(path))
        except (FileNotFoundError, NotADirectoryError):
            return []
        return [f"{path}/{name}" for name in names if name[0] != "."]

    def is_table_name(self, name: str) -> bool:
        """Whether a table in this directory may have this name."""
        return bool((USER_NAME if self.users else _DROP_IN_NAME).fullmatch(name))

    def read(self, path: str, source: Source, most_bytes: int) -> tuple[str, Signature]:
        """The text of one table, and its signature. Raises as `read_table`."""
        owners = self.owners(source.name) if self.owners else None
        return read_table(path, owners, most_bytes, self.trusted)


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
    _ignored: set[str] = field(default_factory=set)

    def scan(self, again: bool = False) -> Iterator[Change]:
        """The changes since the last scan; with `again`, every table counts as changed."""
        if again:
            self._forget()
        present: set[str] = set()
        for location in self.locations:
            yield from self._scan_location(location, present)
        for path in sorted(set(self._known) - present):
            yield Gone(self._known.pop(path).source.name)

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
        self._ignored.discard(str(location.path))
        for path in paths:
            if path not in self._known and (reason := self._why_not(location, path)):
                yield from self._ignore(path, reason)
                continue
            self._ignored.discard(path)
            try:
                found = self._look(location, path)
            except FileNotFoundError:  # deleted since the directory was listed
                continue
            present.add(path)
            if found:
                yield found

    def _why_not(self, location: TableLocation, path: str) -> str | None:
        """Why a path is passed over; None if it is a table."""
        if location.directory and not location.is_table_name(os.path.basename(path)):
            return _NAMES
        most = self.config().tables
        return too_many(most) if len(self._known) >= most else None

    def _ignore(self, path: str, reason: str) -> Iterator[Ignored]:
        """Report once that a path is passed over."""
        if path not in self._ignored:
            self._ignored.add(path)
            yield Ignored(path, reason)

    def _look(self, location: TableLocation, path: str) -> Found | None:
        """The table at a path; None if it has not changed. Raises FileNotFoundError."""
        known = self._known.get(path) or _Known(
            location, location.source_of(os.path.basename(path))
        )
        text, problem = None, None
        try:
            signature = signature_of(os.stat(path, follow_symlinks=location.trusted))
            if signature == known.signature:
                return None
            text, signature = location.read(path, known.source, self.config().table_bytes)
        except FileNotFoundError:
            raise
        except OSError as error:
            signature = UNREAD  # read it again at the next scan, even if it does not change
            problem = Unreadable("unreadable", f"cannot be read: {error.strerror}")
        except Unreadable as error:
            problem = error
        known.signature = signature
        self._known[path] = known
        return Found(known.source, text, problem_of(known.source, problem) if problem else None)
