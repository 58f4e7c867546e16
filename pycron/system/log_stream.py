"""A descriptor for a log, to which is written without waiting for whoever reads it."""

import os
import select
import socket
import stat


class LogStream:
    """Writes to a descriptor that other processes may share, such as the standard error.

    O_NONBLOCK would hold for those processes, too. So a terminal and a pipe are opened again, if
    this process may do that; otherwise only as much is written at a time as there is room for.
    """

    def __init__(self, descriptor: int) -> None:
        """Raises OSError if the descriptor is closed."""
        self._descriptor = descriptor
        self._socket: socket.socket | None = None
        self._opened = False
        mode = os.fstat(descriptor).st_mode
        self._waits = not stat.S_ISREG(mode)  # whether a write could wait
        if stat.S_ISSOCK(mode):
            self._socket = socket.socket(fileno=os.dup(descriptor))
        elif self._waits:
            self._open_again()

    def _open_again(self) -> None:
        flags = os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
        try:
            self._descriptor = os.open(f"/proc/self/fd/{self._descriptor}", flags)
        except OSError:  # it belongs to another user, as it does in many containers
            return
        self._waits = False
        self._opened = True

    def close(self) -> None:
        """Close what was opened; the descriptor itself belongs to others."""
        if self._socket is not None:
            self._socket.close()
        if self._opened:
            os.close(self._descriptor)

    def write(self, data: bytes) -> int:
        """Write some of the data at once, and return how much.

        Raises OSError if none can be written: BlockingIOError if nobody reads at the moment.
        """
        if self._socket is not None:
            return self._socket.send(data, socket.MSG_DONTWAIT)
        if not self._waits:
            return os.write(self._descriptor, data)
        poll = select.poll()
        poll.register(self._descriptor, select.POLLOUT)
        if not any(events & ~select.POLLIN for _, events in poll.poll(0)):
            raise BlockingIOError
        # A pipe that can be written to has room for so much.
        return os.write(self._descriptor, data[: select.PIPE_BUF])
