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

from pycron.config import Config
from pycron.engine.actions import Log
from pycron.engine.log_events import Event
from pycron.model.table_version import MOST_VERSIONS, Origin, Provenance, TableVersion
from pycron.system.accounts import Accounts

_FIRST_READ = 8192  # bytes; a header is shorter


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

    `config`: the size of the largest text that is kept. A version belongs to a uid and a name: an
    account that gets a used name has none.
    """

    directory: Path
    config: Callable[[], Config]
    accounts: Accounts
    log: Callable[[Log], None]
    _failing: bool = False

    def of(self, user: str) -> list[TableVersion]:
        """The versions of a user's table, the newest first."""
        return [_version(number, header) for number, header, _ in self._files(user)]

    def text(self, user: str, number: int) -> str | None:
        """The text of a version; None if the table was deleted. Raises NoVersion."""
        for found, header, _ in self._files(user):
            if found == number:
                try:
                    return _decoded(self._data(user, number, header))
                except OSError as error:
                    reason = f"version {number} cannot be read: {error.strerror}"
                    raise NoVersion(reason) from None
        raise NoVersion(f"there is no version {number} (see --versions)")

    def is_newest(self, user: str, text: str | None) -> bool:
        """Whether the newest version is this text (None: no table)."""
        data = _encoded(text)
        for number, header, begun in self._files(user):
            if data is None or header.size != len(data):
                return header.size is None and data is None
            if len(begun) == len(data):
                return begun == data
            try:
                return self._data(user, number, header) == data
            except OSError:
                return False
        return data is None

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
        most = self.config().user_table_bytes
        if data is not None and len(data) > most:
            raise OSError(f"larger than {most} bytes (limits.user_table_bytes)")
        size = None if data is None else len(data)
        origin = by.origin.value
        header = _Header(uid, int(time.time()), by.author, origin, by.restored, size, entries)
        directory = self.directory / user
        for each in (self.directory, directory):
            each.mkdir(mode=0o700, exist_ok=True)
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

    def _files(self, user: str) -> Iterator[tuple[int, _Header, bytes]]:
        """Number and header of each version, the newest first, and the beginning of its text."""
        uid = self._uid_of(user)
        for number in reversed(self._numbers(user)):
            found = _read(f"{self.directory}/{user}/{number}")
            if found is not None and found[0].uid == uid:
                yield number, *found

    def _numbers(self, user: str) -> list[int]:
        """The numbers of all files of a user, in order."""
        try:
            names = os.listdir(f"{self.directory}/{user}")
        except OSError:
            return []
        return sorted(int(name) for name in names if name.isascii() and name.isdigit())

    def _data(self, user: str, number: int, header: _Header) -> bytes | None:
        """The text of a version as bytes; None if the table was deleted. Raises OSError."""
        if header.size is None:
            return None
        data = (self.directory / user / str(number)).read_bytes()
        return data[len(data) - header.size :]


def _read(path: str) -> tuple[_Header, bytes] | None:
    """The header of a version's file and the beginning of the text; None if it is not whole.

    A scan of ten thousand tables reads as many of these files: one read(2) is enough for most.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            line, end, begun = os.read(descriptor, _FIRST_READ).partition(b"\n")
            size = os.fstat(descriptor).st_size
        finally:
            os.close(descriptor)
        header = _Header(**json.loads(line))
        Origin(header.origin)
    except (OSError, ValueError, TypeError):
        return None
    return (header, begun) if size == len(line + end) + (header.size or 0) else None


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
