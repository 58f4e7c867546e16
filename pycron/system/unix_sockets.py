"""Unix stream sockets, at paths of any length. Imported by the runner: it stays small."""

import os
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager

_CREDENTIALS = struct.Struct("3i")
_TIME = struct.Struct("ll")


def listen(path: str, mode: int, backlog: int) -> socket.socket:
    """A listening socket at a path; a file that is there is replaced. Raises OSError."""
    listener = _new_socket()
    try:
        with _short(path) as short:
            try:
                os.unlink(short)
            except FileNotFoundError:
                pass
            listener.bind(short)
            os.chmod(short, mode)
        listener.listen(backlog)
    except BaseException:
        listener.close()
        raise
    return listener


def connect(path: str, timeout: float) -> socket.socket:
    """A connection to the socket at a path. Raises OSError."""
    connection = _new_socket()
    try:
        # Without a Python timeout, connect() waits while the listener's queue is full.
        patience = _TIME.pack(int(timeout), int(timeout % 1 * 1e6))
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, patience)
        with _short(path) as short:
            connection.connect(short)
        connection.settimeout(timeout)
    except BaseException:
        connection.close()
        raise
    return connection


def credentials(connection: socket.socket) -> tuple[int, int, int]:
    """(pid, uid, gid) of the process at the other end, from the kernel."""
    data = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid, uid, gid = _CREDENTIALS.unpack(data)
    return pid, uid, gid


def _new_socket() -> socket.socket:
    return socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)


@contextmanager
def _short(path: str) -> Iterator[str]:
    """The same path through an open directory, because an address has at most 107 bytes."""
    directory = os.open(os.path.dirname(path) or ".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{directory}/{os.path.basename(path)}"
    finally:
        os.close(directory)
