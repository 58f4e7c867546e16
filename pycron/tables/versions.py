"""The last versions of users' tables, each in a file of its own.

A version is the file DIRECTORY/USER/NUMBER: one line of JSON (`_Header`), then the text. Such a
file is complete or not there, so there is no index that could disagree with the files. It is not
forced to the disk as the table itself is: after a power cut a version may be missing, and a file
that is shorter than its header says is passed over.
"""

import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from pycron.engine.actions import Log
from pycron.engine.log_events import Event
from pycron.model.table_version import MOST_VERSIONS, Origin, Provenance, TableVersion
from pycron.system.accounts import Accounts

_LONGEST_HEADER = 4096  # bytes


class NoVersion(Exception):
    """There is no version of this number."""


@dataclass(frozen=True, slots=True)
class _Header:
    """The first line of a version's file. `uid`: that of the user when the version was kept."""

    uid: int
    time: int
    author: str | None
    origin: str
    restored: int | None
    size: int | None
    entries: int


@dataclass(slots=True)
class TableVersions:
    """The versions of all users' tables.

    `most_bytes`: the largest text that is kept. A version belongs to a uid and a name: an account
    that gets a used name has none.
    """

    directory: Path
    most_bytes: int
    accounts: Accounts
    log: Callable[[Log], None]
    _failing: bool = False

    def of(self, user: str) -> list[TableVersion]:
        """The versions of a user's table, the newest first."""
        return list(self._newest_first(user))

    def text(self, user: str, number: int) -> str | None:
        """The text of a version; None if the table was deleted. Raises NoVersion."""
        for version in self._newest_first(user):
            if version.number == number:
                try:
                    return _decoded(self._data(user, version))
                except OSError as error:
                    reason = f"version {number} cannot be read: {error.strerror}"
                    raise NoVersion(reason) from None
        raise NoVersion(f"there is no version {number} (see --versions)")

    def is_newest(self, user: str, text: str | None) -> bool:
        """Whether the newest version is this text (None: no table)."""
        newest = next(self._newest_first(user), None)
        if newest is None:
            return text is None
        try:
            return self._data(user, newest) == _encoded(text)
        except OSError:
            return False

    def notice(self, user: str, text: str | None, count: Callable[[], int]) -> None:
        """Keep a table (None: no table) that is not the newest version.

        Somebody has then changed the file without the daemon. `count`: the number of entries.
        """
        if self._uid_of(user) is not None and not self.is_newest(user, text):
            self.keep(user, text, Provenance(None, Origin.FOUND), count())

    def keep(self, user: str, text: str | None, by: Provenance, entries: int) -> str | None:
        """Keep a version (None: the table was deleted), and forget the oldest ones.

        Nothing depends on a version, so a failure is logged and its reason returned.
        """
        try:
            self._write(user, text, by, entries)
        except OSError as error:
            reason = error.strerror or str(error)
            if not self._failing:  # with a full disk, each table would give a line
                fields = {"table": user, "reason": reason}
                self.log(Log(Event.VERSION_NOT_KEPT, fields, bad=True))
            self._failing = True
            return reason
        self._failing = False
        return None

    def _write(self, user: str, text: str | None, by: Provenance, entries: int) -> None:
        data, uid = _encoded(text), self._uid_of(user)
        if uid is None:
            raise OSError("there is no such user")
        if data is not None and len(data) > self.most_bytes:
            raise OSError(f"larger than {self.most_bytes} bytes (limits.user_table_bytes)")
        size = None if data is None else len(data)
        origin = by.origin.value
        header = _Header(uid, int(time.time()), by.author, origin, by.restored, size, entries)
        directory = self.directory / user
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        kept = [version.number for version in self.of(user)[: MOST_VERSIONS - 1]]
        numbers = self._numbers(user)
        path = directory / str(numbers[-1] + 1 if numbers else 1)
        _put(path, json.dumps(asdict(header)).encode() + b"\n" + (data or b""))
        for old in set(numbers) - set(kept):
            (directory / str(old)).unlink(missing_ok=True)

    # ---- the files

    def _uid_of(self, user: str) -> int | None:
        account = self.accounts.find(user)
        return account.uid if account else None

    def _newest_first(self, user: str) -> Iterator[TableVersion]:
        uid = self._uid_of(user)
        for number in reversed(self._numbers(user)):
            header = _read_header(self.directory / user / str(number))
            if header is not None and header.uid == uid:
                yield _version(number, header)

    def _numbers(self, user: str) -> list[int]:
        """The numbers of all files of a user, in order."""
        try:
            names = os.listdir(self.directory / user)
        except OSError:
            return []
        return sorted(int(name) for name in names if name.isascii() and name.isdigit())

    def _data(self, user: str, version: TableVersion) -> bytes | None:
        """The text of a version as bytes; None if the table was deleted. Raises OSError."""
        if version.size is None:
            return None
        data = (self.directory / user / str(version.number)).read_bytes()
        return data[len(data) - version.size :]


def _read_header(path: Path) -> _Header | None:
    """The header of a version's file; None if the file is not a whole version."""
    try:
        with path.open("rb") as file:
            line = file.readline(_LONGEST_HEADER)
            header = _Header(**json.loads(line))
            whole = len(line) + (header.size or 0) == os.fstat(file.fileno()).st_size
            Origin(header.origin)
    except (OSError, ValueError, TypeError):
        return None
    return header if whole else None


def _version(number: int, header: _Header) -> TableVersion:
    provenance = Provenance(header.author, Origin(header.origin), header.restored)
    return TableVersion(number, header.time, provenance, header.size, header.entries)


def _put(path: Path, data: bytes) -> None:
    """Write a file, whole or not at all. Raises OSError."""
    new = path.with_name(".new")  # only this daemon writes to the directory
    with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(data)
    os.replace(new, path)


def _encoded(text: str | None) -> bytes | None:
    return None if text is None else text.encode("utf-8", "surrogateescape")


def _decoded(data: bytes | None) -> str | None:
    return None if data is None else data.decode("utf-8", "surrogateescape")
