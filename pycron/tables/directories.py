"""Tables on disk: found, checked, read and installed.

The checks are made on the open file, so nobody can swap it in between: a table is a regular file
with one name, of the right owner, that nobody else can write to. A symlink is not followed and a
FIFO is not waited for.
"""

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pycron.crontab.line import USER_NAME
from pycron.model.job import Source
from pycron.model.problem import Problem
from pycron.tables.files import (
    _UNREAD,
    Signature,
    Unreadable,
    _signature,
    problem_of,
    read_table,
    too_many,
)

# What run-parts(8) takes; so an editor's backup or a package manager's leftover is no table.
_DROP_IN_NAME = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)

_NAMES = "a table's name has letters, digits, _ and - only (run-parts)"


@dataclass(frozen=True, slots=True)
class Found:
    """A table as it was found: its text, or why there is none."""

    source: Source
    text: str | None
    problem: Problem | None = None


@dataclass(frozen=True, slots=True)
class Gone:
    name: str


@dataclass(frozen=True, slots=True)
class Ignored:
    """A path that is passed over: a file that is no table by its name, an unreadable directory."""

    path: str
    reason: str


Change = Found | Gone | Ignored


@dataclass(frozen=True, slots=True)
class TableLocation:
    """Where tables are: a directory of them, or one file.

    `owners`: the uids that a table may belong to; None stands for any. `users`: each file is the
    table of the user it is named after. `name`: what messages call the table, where it isn't the
    path. `trusted`: a file that an administrator named; symlinks and
    loose permissions are theirs to choose.
    """

    path: Path
    owner: str | None = None
    users: bool = False
    name: str | None = None
    directory: bool = False
    trusted: bool = False
    owners: Callable[[str], set[int]] | None = None

    def source_of(self, name: str) -> Source:
        if self.users:
            return Source(name, name)
        if self.name:
            return Source(self.name, self.owner)
        return Source(str(self.path / name) if self.directory else str(self.path), self.owner)

    @property
    def watched(self) -> Path:
        """The directory in which a change shows."""
        return self.path if self.directory else self.path.parent

    def candidates(self) -> list[str]:
        """The paths to look at; hidden files are nobody's tables. Raises OSError."""
        path = str(self.path)
        if not self.directory:
            return [path]
        try:
            names = sorted(os.listdir(path))
        except (FileNotFoundError, NotADirectoryError):
            return []
        return [f"{path}/{name}" for name in names if name[0] != "."]

    def is_table_name(self, name: str) -> bool:
        return bool((USER_NAME if self.users else _DROP_IN_NAME).fullmatch(name))


@dataclass(slots=True)
class _Seen:
    """What was last seen of a table."""

    location: TableLocation
    source: Source
    signature: Signature = _UNREAD


@dataclass(slots=True)
class TableDirectories:
    """All places, and what was last seen in them; only what has changed is read.

    A scan in which nothing has changed costs a stat(2) for each table and little else.
    """

    locations: list[TableLocation]
    most_bytes: int
    most_tables: int
    _seen: dict[str, _Seen] = field(default_factory=dict)  # by path
    _ignored: set[str] = field(default_factory=set)

    def scan(self, again: bool = False) -> Iterator[Change]:
        """What has changed since the last scan; with `again`, everything."""
        if again:
            for seen in self._seen.values():
                seen.signature = _UNREAD
            self._ignored.clear()
        present: set[str] = set()
        for location in self.locations:
            try:
                paths = location.candidates()
            except OSError as error:  # a directory that can't be read has not lost its tables
                present |= {path for path, seen in self._seen.items() if seen.location == location}
                yield from self._ignore(str(location.path), f"cannot be read: {error.strerror}")
                continue
            self._ignored.discard(str(location.path))
            for path in paths:
                if path not in self._seen:
                    if reason := self._why_not(location, path):
                        yield from self._ignore(path, reason)
                        continue
                    self._ignored.discard(path)
                try:
                    found = self._look(location, path)
                except FileNotFoundError:  # or removed while it was looked at
                    continue
                present.add(path)
                if found:
                    yield found
        for path in sorted(set(self._seen) - present):
            yield Gone(self._seen.pop(path).source.name)

    def _why_not(self, location: TableLocation, path: str) -> str | None:
        """Why this is no table to take up; None where it is."""
        if location.directory and not location.is_table_name(os.path.basename(path)):
            return _NAMES
        return too_many(self.most_tables) if len(self._seen) >= self.most_tables else None

    def _ignore(self, path: str, reason: str) -> Iterator[Ignored]:
        """Say once that a path is passed over, and why."""
        if path not in self._ignored:
            self._ignored.add(path)
            yield Ignored(path, reason)

    def _look(self, location: TableLocation, path: str) -> Found | None:
        """What has changed about one table. Raises FileNotFoundError."""
        seen = self._seen.get(path) or _Seen(location, location.source_of(os.path.basename(path)))
        signature, text = _UNREAD, None
        problem: Unreadable | None = None
        try:
            signature = _signature(os.stat(path, follow_symlinks=location.trusted))
            if signature == seen.signature:
                return None
            text, signature = self._read(location, path, seen.source)
        except FileNotFoundError:
            raise
        except OSError as error:
            signature = _UNREAD  # nothing may change about it until it works again
            problem = Unreadable("unreadable", f"cannot be read: {error.strerror}")
        except Unreadable as error:
            problem = error
        seen.signature = signature
        self._seen[path] = seen
        return Found(seen.source, text, problem_of(seen.source, problem) if problem else None)

    def _read(self, location: TableLocation, path: str, source: Source) -> tuple[str, Signature]:
        owners = location.owners(source.name) if location.owners else None
        return read_table(path, owners, self.most_bytes, location.trusted)
