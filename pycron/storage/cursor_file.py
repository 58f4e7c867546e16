"""A file beside the database with the cursor of minutes in which nothing was due.

A transaction would be the largest cost of such a minute. The file is not synced: after a power cut
the older cursor of the database is used, and the fire times since then are handled again; there
were none.
"""

import os
from pathlib import Path

_SECTOR = 512  # bytes, which a disk writes all or none


class CursorFile:
    """Two lines: the cursor in the database, and the newer cursor that has followed it.

    A file whose first line is not the cursor in the database is ignored: it belongs to another
    database, or to an older state of this one. `recorded`: the text of the cursor in the database.
    """

    def __init__(self, database: Path) -> None:
        self._path = f"{database}-cursor"
        self.recorded: str | None = None

    def read(self) -> str | None:
        """The newest cursor: that of the file if it is valid, otherwise that of the database."""
        try:
            file = self._open(os.O_RDONLY)
            try:
                lines = os.read(file, _SECTOR).decode().split("\n")
            finally:
                os.close(file)
        except (OSError, UnicodeDecodeError):
            return self.recorded
        return lines[1] if len(lines) > 2 and lines[0] == self.recorded else self.recorded

    def write(self, cursor: str) -> bool:
        """Write a cursor; False if it has to be written to the database instead."""
        data = f"{self.recorded}\n{cursor}\n".encode()
        if self.recorded is None or len(data) > _SECTOR:
            return False
        try:
            file = self._open(os.O_WRONLY | os.O_CREAT)
            try:
                return os.write(file, data) == len(data)
            finally:
                os.close(file)
        except OSError:
            return False

    def _open(self, flags: int) -> int:
        return os.open(self._path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
