"""Entries for systemd's journal, in its native protocol (systemd's JOURNAL_NATIVE_PROTOCOL.md).

An entry is one datagram with `NAME=value` lines. This is the whole protocol, so pycron needs no
library: python-systemd is a C extension, and to install it takes a compiler and libsystemd.
"""

import errno
import fcntl
import os
import socket
import struct
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import TextIO

SOCKET = Path("/run/systemd/journal/socket")

_BUFFER = 8 << 20  # bytes; 167 entries fill the default one, and systemd lets 512 wait
_SO_SNDBUFFORCE = 32  # of socket(7); the module socket lacks it
_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL


def is_journal(stream: TextIO) -> bool:
    """Whether the stream is a connection to the journal: JOURNAL_STREAM of systemd.exec(5)."""
    try:
        status = os.fstat(stream.fileno())
    except (OSError, ValueError):  # it is no file, or it was closed
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"


def encode(fields: Iterable[tuple[str, str]]) -> bytes:
    """The datagram of an entry. Names consist of A-Z, 0-9 and `_`, and begin with a letter."""
    return b"".join(_encode(name.encode("ascii"), value) for name, value in fields)


def _encode(name: bytes, value: str) -> bytes:
    data = value.encode("utf-8", "backslashreplace")
    if value.isprintable():
        return b"%b=%b\n" % (name, data)
    return b"%b\n%b%b\n" % (name, struct.pack("<Q", len(data)), data)


class Journal:
    """A socket to the journal, which never waits."""

    def __init__(self, path: Path = SOCKET) -> None:
        self._path = str(path)
        kind = socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
        self._socket = socket.socket(socket.AF_UNIX, kind)
        with suppress(OSError):
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER)
            self._socket.setsockopt(socket.SOL_SOCKET, _SO_SNDBUFFORCE, _BUFFER)  # only for root

    def close(self) -> None:
        self._socket.close()

    def send(self, entry: bytes) -> None:
        """Send an entry.

        Raises OSError: BlockingIOError if the journal does not keep up, another one if it is gone.
        The address is looked up anew each time, so a journal that was started again is found.
        """
        try:
            self._socket.sendto(entry, self._path)
        except OSError as error:
            if error.errno not in (errno.EMSGSIZE, errno.ENOBUFS):
                raise
            self._send_as_file(entry)

    def _send_as_file(self, entry: bytes) -> None:
        """Send an entry that is too large for a datagram: in memory that nobody can change now."""
        file = os.memfd_create("pycron-log", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            with open(file, "wb", closefd=False) as memory:
                memory.write(entry)
            fcntl.fcntl(file, fcntl.F_ADD_SEALS, _SEALS)
            passed = (socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack("i", file))
            self._socket.sendmsg([], [passed], 0, self._path)
        finally:
            os.close(file)
