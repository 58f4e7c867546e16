"""The agent's end of the connection to the daemon: one listening socket, one daemon at a time."""

import os
import selectors
import socket
from collections.abc import Mapping

from pycron.cluster.log import say
from pycron.protocol.cluster_messages import MOST_BYTES, ClusterDaemonMessage, daemon_message
from pycron.protocol.framing import CHUNK, Decoder, encode
from pycron.protocol.outbox import Outbox
from pycron.system.unix_sockets import credentials

_LAST_SEND = 1.0  # seconds for the last messages of an agent that exits


class DaemonConnection:
    """Registers itself with the selector; the data of its keys is the method to call.

    `heard`: the checked messages of a daemon, and None where a connection has ended.
    """

    def __init__(self, listener: socket.socket, selector: selectors.BaseSelector) -> None:
        self.heard: list[ClusterDaemonMessage | None] = []
        self._selector = selector
        self._listener = listener
        self._daemon: socket.socket | None = None
        self._outbox: Outbox | None = None
        self._decoder = Decoder(MOST_BYTES)
        listener.setblocking(False)
        selector.register(listener, selectors.EVENT_READ, self._accept)

    @property
    def connected(self) -> bool:
        return self._daemon is not None

    def send(self, message: Mapping[str, object]) -> None:
        """Send to the daemon, if there is one; `flush` sends it."""
        if self._outbox is not None:
            self._outbox.put(encode([message]))

    def flush(self) -> None:
        if self._outbox is not None and self._outbox:
            try:
                self._outbox.send()
            except OSError:
                pass  # _read() will see the end of the connection

    def close(self) -> None:
        """Send what is left, and end the connection."""
        if self._daemon is not None and self._outbox is not None:
            self._daemon.settimeout(_LAST_SEND)
            self.flush()
            self._daemon.close()
        self._listener.close()

    def _accept(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except OSError:  # the client has gone
            return
        _, uid, _ = credentials(connection)
        if self._daemon is not None:
            self._read()  # the end of the connection, if that daemon has died
        if uid not in (0, os.geteuid()) or self._daemon is not None:
            connection.close()
            return
        connection.setblocking(False)
        self._daemon = connection
        self._outbox = Outbox(connection, self._wait_to_send)
        self._decoder = Decoder(MOST_BYTES)
        self._selector.register(connection, selectors.EVENT_READ, self._read)

    def _wait_to_send(self, wait: bool) -> None:
        if self._daemon is not None and self._daemon in self._selector.get_map():
            events = selectors.EVENT_READ | (selectors.EVENT_WRITE if wait else 0)
            self._selector.modify(self._daemon, events, self._read)

    def _read(self) -> None:
        """Take in all that has come, and send what waits."""
        self.flush()
        while self._daemon is not None:
            try:
                data = self._daemon.recv(CHUNK)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if not data or not self._take(data):
                self._drop()

    def _take(self, data: bytes) -> bool:
        """False if it is no pycron daemon that speaks."""
        try:
            for message in self._decoder.feed(data):
                checked = daemon_message(message)
                if checked is not None:
                    self.heard.append(checked)
        except ValueError as error:
            say(f"dropped the connection: {error}")
            return False
        return True

    def _drop(self) -> None:
        assert self._daemon is not None
        self._selector.unregister(self._daemon)
        self._daemon.close()
        self._daemon = self._outbox = None
        self.heard.append(None)
