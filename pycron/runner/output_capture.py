"""The output of a command: its beginning and its end are kept in a file.

A short output may be kept in memory instead and be sent to the daemon: to write a file for one line
costs more than to start the command that prints it.

Imported by the runner: it stays small.
"""

import os
from collections.abc import Iterator

from pycron.system.output_tail import tail_of

CHUNK = 65_536


class OutputCapture:
    """Keeps at most `limit` bytes of what was printed.

    The first half of `limit` goes into the file at `path` as it comes. The rest goes into a second
    file with room for the other half, in which new bytes replace the oldest ones; `finish` appends
    it to the first. So an output within the limit is kept whole. `total` bytes were printed, `kept`
    of them are stored.

    An output of at most `short` bytes stays in memory (`held`) until write_held() is called.
    """

    __slots__ = (
        "_broken", "_file", "_finished", "_limit", "_path", "_room", "_short", "_tail",
        "_tail_room", "held", "kept", "total",
    )  # fmt: skip

    def __init__(self, path: str, limit: int, short: int) -> None:
        self.total = 0
        self.kept = 0
        self.held = b""
        self._short = min(short, limit)
        self._path = path
        self._limit = limit
        self._tail_room = limit // 2
        self._room = limit - self._tail_room
        self._tail: _Tail | None = None
        self._file = -1
        self._broken = False
        self._finished = (
            False  # the command has ended: the file is only open while it is written to
        )

    def add(self, data: bytes) -> None:
        """The command has printed this."""
        self.total += len(data)
        self.held += data
        if len(self.held) > self._short:
            self.write_held()

    def write_held(self) -> None:
        """Write the held output to the file; later output goes to the file at once."""
        data, self.held, self._short = self.held, b"", 0
        try:
            if not self._broken:
                self._keep(data)
            if self._finished:
                self._close_file()
        except OSError:  # a full disk ends the recording, never the command
            self._broken = True

    def take_short(self) -> bytes | None:
        """The whole output of a command that prints no more, if none of it is in the file."""
        if not self.held:
            return None
        data, self.held = self.held, b""
        self.kept = len(data)
        return data

    def finish(self) -> None:
        """The command has ended. What its children still print is kept while there is room."""
        self.write_held()
        missing = self.total - self.kept - (self._tail.size if self._tail else 0)
        try:
            if missing:
                self._write(b"\n[pycron: %d bytes are not kept here]\n" % missing)
            for piece in self._tail.pieces() if self._tail else ():
                self._append(piece)
        except OSError:
            self._broken = True
        if self._tail:
            self._tail.remove()
            self._tail = None
        self._tail_room = 0
        self._room = 0 if missing else self._limit - self.kept
        self._finished = True
        self._close_file()

    def close(self) -> None:
        """Nothing more will be added."""
        self._close_file()

    def _keep(self, data: bytes) -> None:
        head, tail = data[: self._room], data[self._room :]
        if head:
            self._append(head)
            self._room -= len(head)
        if tail and self._tail_room:
            if self._tail is None:
                self._tail = _Tail(tail_of(self._path), self._tail_room)
            self._tail.add(tail)

    def _append(self, data: bytes) -> None:
        """Write bytes that the command has printed to the file."""
        while data:
            written = self._write(data)
            self.kept += written
            data = data[written:]

    def _write(self, data: bytes) -> int:
        if self._file < 0:
            self._file = self._open_file()
        return os.write(self._file, data)

    def _open_file(self) -> int:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            return os.open(self._path, flags, 0o600)
        except FileNotFoundError:
            os.mkdir(os.path.dirname(self._path), 0o700)
            return os.open(self._path, flags, 0o600)

    def _close_file(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


class _Tail:
    """The last `limit` bytes of what is added, in a file of at most that size.

    Raises OSError if the file cannot be opened or written.
    """

    def __init__(self, path: str, limit: int) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        self._path = path
        self._limit = limit
        self._total = 0
        self._file = os.open(path, flags, 0o600)

    @property
    def size(self) -> int:
        return min(self._total, self._limit)

    def add(self, data: bytes) -> None:
        overrun = max(0, len(data) - self._limit)
        self._total += overrun
        data = data[overrun:]
        while data:
            at = self._total % self._limit
            written = os.pwrite(self._file, data[: self._limit - at], at)
            self._total += written
            data = data[written:]

    def pieces(self) -> Iterator[bytes]:
        """The bytes, from the oldest to the newest."""
        at, left = (self._total - self.size) % self._limit, self.size
        while left:
            piece = os.pread(self._file, min(CHUNK, left, self._limit - at), at)
            if not piece:  # another process has truncated the file
                return
            yield piece
            left -= len(piece)
            at = (at + len(piece)) % self._limit

    def remove(self) -> None:
        os.close(self._file)
        try:
            os.unlink(self._path)
        except OSError:
            pass  # another process has removed it
