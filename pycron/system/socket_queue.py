"""What was sent over a Unix socket and waits there for its reader."""

import fcntl
import socket
import struct
import termios

_INT = struct.Struct("i")


def has_unread(connection: socket.socket) -> bool:
    """Whether the other end has not read yet all that was sent to it (SIOCOUTQ of unix(7))."""
    return _INT.unpack(fcntl.ioctl(connection, termios.TIOCOUTQ, bytes(_INT.size))) != (0,)
