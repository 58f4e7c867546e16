"""A control socket that answers workers as it is told: for the worker's side alone."""

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from pycron.system.paths import paths_in

Message = dict[str, Any]
Say = Callable[[Message], None]
Work = Callable[[Message, Say], None]


def at_once(_request: Message, say: Say) -> None:
    """Take the Run, and have it over."""
    say({"type": "taken", "run_id": "r", "attempt": 1})
    say({"type": "done", "outcome": "succeeded", "reason": None})


class FakeDaemon:
    """`work` answers the requests to work, which are in `requests`; each has a thread."""

    def __init__(
        self, state: Path, broker_url: str, queues: list[str], work: Work = at_once
    ) -> None:
        paths = paths_in(state)
        paths.socket.parent.mkdir(parents=True, exist_ok=True)
        self._path = paths.socket
        self._broker_url = broker_url
        self._queues = queues
        self.work = work
        self.requests: list[Message] = []
        self.serving: list[Message] = []
        self._connections: list[socket.socket] = []
        self.listen()

    def listen(self) -> None:
        self._path.unlink(missing_ok=True)
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self._path))
        self._listener.listen(64)
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def close(self) -> None:
        """As if the daemon had died."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for each in self._connections:
            try:
                each.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue

    def tell(self, queues: list[str]) -> None:
        """Allow other queues, as a reload does."""
        self._queues = queues
        for each in self._connections:
            self._serve(each)

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with connection, connection.makefile() as lines, suppress(OSError):
            for line in lines:
                request = json.loads(line)
                if request["verb"] == "serve":
                    self.serving.append(request)
                    self._connections.append(connection)
                    self._serve(connection)
                else:
                    self.requests.append(request)
                    self._connections.append(connection)
                    self.work(request, lambda answer: _send(connection, answer))

    def _serve(self, connection: socket.socket) -> None:
        answer = {"type": "serving", "queues": self._queues, "refused": [], "cluster": "test",
                  "broker": self._broker_url}  # fmt: skip
        _send(connection, answer)


def _send(connection: socket.socket, answer: Message) -> None:
    """To a worker that may have gone."""
    with suppress(OSError):
        connection.sendall(json.dumps({"ok": True, **answer}).encode() + b"\n")


@contextmanager
def fake_daemon(
    state: Path, broker_url: str, queues: list[str], work: Work = at_once
) -> Iterator[FakeDaemon]:
    daemon = FakeDaemon(state, broker_url, queues, work)
    try:
        yield daemon
    finally:
        daemon.close()
