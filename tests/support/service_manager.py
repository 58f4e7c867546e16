"""Stands for systemd: a socket that takes what a daemon reports with sd_notify(3)."""

import contextlib
import socket
from pathlib import Path


class ServiceManager:
    """`environment`: what a service gets from it. `messages`: what was reported so far."""

    def __init__(self, path: Path, watchdog_seconds: float | None = None) -> None:
        self.messages: list[str] = []
        self.environment = {"NOTIFY_SOCKET": str(path)}
        if watchdog_seconds is not None:
            self.environment["WATCHDOG_USEC"] = str(int(watchdog_seconds * 1e6))
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))

    def receive(self, seconds: float) -> str | None:
        """The next message; None if none comes within these seconds."""
        self._socket.settimeout(seconds)
        with contextlib.suppress(TimeoutError):
            self.messages.append(self._socket.recv(4096).decode())
            return self.messages[-1]
        return None

    def wait_for(self, text: str) -> str:
        """The next message that contains the text. Fails if there is no message for 30 seconds."""
        while (message := self.receive(30)) is not None:
            if text in message:
                return message
        raise AssertionError(f"no {text} in {self.messages}")

    def close(self) -> None:
        self._socket.close()
