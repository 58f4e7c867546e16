"""The tables that a foreground daemon is started with, also those that can be read only once."""

import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pycron.system.files import TRUSTED
from pycron.tables.directories import TableLocation

STDIN = Path("-")
_DESCRIPTOR = re.compile(r"/dev/fd/([0-9]{1,9})")


class UnusableTable(Exception):
    """A table that was named does not exist, or cannot be read."""


@dataclass(frozen=True, slots=True)
class NamedTables:
    """The paths of the command line. `-` is the standard input.

    `own`: the tables without a user column, which belong to `user`; `system`: those with one.
    """

    own: list[Path]
    system: list[Path]
    user: str

    def locations(self, copies: Path, most_bytes: int) -> list[TableLocation]:
        """Where the daemon finds the tables. Raises UnusableTable.

        What is no regular file (a pipe, the standard input) is read now, to its end, into a file
        below `copies`: such a table never changes. It may have `most_bytes`.
        """
        found = []
        for number, (path, owner) in enumerate(self._all()):
            copy = copies / f"table-{number}"
            at = copy if _copied(path, copy, most_bytes) else path.absolute()
            found.append(TableLocation(at, owner=owner, name=_name(path), rules=TRUSTED))
        return found

    def _all(self) -> Iterator[tuple[Path, str | None]]:
        for path in self.own:
            yield path, self.user
        for path in self.system:
            yield path, None


def _name(path: Path) -> str:
    """What messages call the table."""
    return "-" if path == STDIN else str(path.absolute())


def _copied(path: Path, copy: Path, most_bytes: int) -> bool:
    """Whether this is no regular file, so that its text was copied. Raises UnusableTable."""
    source = _opened(path)
    try:
        if not isinstance(source, int):
            kind = source.stat().st_mode
            if stat.S_ISREG(kind) or stat.S_ISDIR(kind):
                return False
        with open(source, "rb") as file:
            data = file.read(most_bytes + 1)
        if len(data) > most_bytes:
            raise UnusableTable(f"{path}: larger than {most_bytes} bytes (limits.table_bytes)")
        copy.write_bytes(data)
    except FileNotFoundError:
        raise UnusableTable(f"{path}: no such table") from None
    except OSError as error:
        raise UnusableTable(f"{path}: cannot be read: {error.strerror}") from None
    return True


def _opened(path: Path) -> Path | int:
    """The descriptor for which the path stands, if it is open already, else the path.

    To open such a path would open the pipe behind it once more: that waits for another writer.
    """
    if path == STDIN or str(path) == "/dev/stdin":
        return 0
    match = _DESCRIPTOR.fullmatch(str(path))
    return int(match[1]) if match else path
