"""Sockets that listen at an address."""

import os
import socket
from pathlib import Path

BACKLOG = 128  # connections that the kernel lets wait


def listening(address: tuple[str, int] | Path, mode: int | None = None) -> socket.socket:
    """`mode`: permissions of a Unix socket; None: as the umask says. Raises OSError."""
    if not isinstance(address, Path):
        family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        return socket.create_server(address, family=family, backlog=BACKLOG)
    if address.is_socket():
        address.unlink()  # of an earlier process; bind() would refuse it
    listener = socket.socket(socket.AF_UNIX)
    before = os.umask(0o177)
    os.umask(before if mode is None else 0o777 & ~mode)
    try:
        listener.bind(str(address))
    except OSError:
        listener.close()
        raise
    finally:
        os.umask(before)
    listener.listen(BACKLOG)
    return listener
