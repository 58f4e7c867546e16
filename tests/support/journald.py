"""Stands for systemd's journald: a datagram socket, and the entries that were sent to it."""

import array
import contextlib
import fcntl
import os
import socket
import struct
from collections.abc import Callable
from pathlib import Path

from tests.support.waiting import until

Entry = dict[str, str]
_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL


def decode(data: bytes) -> list[tuple[str, str]]:
    """The fields of an entry in the native protocol, by its description: no code of pycron."""
    fields = []
    while data:
        line, end, rest = data.partition(b"\n")
        assert end, "a field does not end with a newline"
        name, equals, value = line.partition(b"=")
        if not equals:
            (size,) = struct.unpack_from("<Q", rest)
            value, end, rest = rest[8 : 8 + size], rest[8 + size : 9 + size], rest[9 + size :]
            assert (len(value), end) == (size, b"\n")
        fields.append((name.decode("ascii"), value.decode()))
        data = rest
    return fields


class Journald:
    """A journald that reads only when a test asks for entries."""

    def __init__(self, path: Path) -> None:
        self.entries: list[Entry] = []
        self.files = 0  # how many entries came as a file
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self._socket.bind(str(path))
        path.chmod(0o666)

    def close(self) -> None:
        self._socket.close()

    def read(self) -> list[Entry]:
        """All entries so far."""
        with contextlib.suppress(BlockingIOError):
            while True:
                self.entries.append(self._receive())
        return self.entries

    def wait_for(self, **fields: str) -> Entry:
        """The first entry with these fields, as soon as it is there."""

        def found() -> Entry | None:
            return next((e for e in self.read() if fields.items() <= e.items()), None)

        return until(found, patience=30)

    def _receive(self) -> Entry:
        size = array.array("i").itemsize
        data, extra, flags, _ = self._socket.recvmsg(1 << 20, socket.CMSG_SPACE(size))
        assert not flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC)
        for _, kind, passed in extra:
            assert (kind, data) == (socket.SCM_RIGHTS, b"")
            data = _content(struct.unpack("i", passed)[0])
            self.files += 1
        fields = decode(data)
        assert len(dict(fields)) == len(fields), "a field came twice"
        return dict(fields)


def _content(file: int) -> bytes:
    """What a file contains, which must be sealed, as journald demands."""
    with open(file, "rb") as memory:
        assert fcntl.fcntl(memory, fcntl.F_GET_SEALS) == _SEALS
        assert os.readlink(f"/proc/self/fd/{file}").startswith("/memfd:")
        memory.seek(0)
        return memory.read()


def fill(send: Callable[[], object], most: int = 100_000) -> None:
    """Call `send` until nothing more can be sent."""
    with contextlib.suppress(BlockingIOError):
        for _ in range(most):
            send()
        raise AssertionError(f"{most} calls did not fill it")
