"""How far the timetable has come since the database was last told: in a file beside it.

A transaction would be the most that a minute costs in which nothing is due. That nothing was due
need not outlive the machine: the next record of the database says it, too.
"""

import os
from pathlib import Path

_SECTOR = 512  # bytes; a disk has written them all or none


class CursorFile:
    """A line repeats the cursor that the database says, the next one says what has followed it.

    So a file that belongs to another database, or to an earlier record of it, says nothing.
    `recorded`: the cursor in the database, as it is written there.
    """

    def __init__(self, database: Path) -> None:
        self._path = f"{database}-cursor"
        self.recorded: str | None = None

    def read(self) -> str | None:
        """The last cursor that is known."""
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
        """Whether it could be put down that this has followed what the database says."""
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
