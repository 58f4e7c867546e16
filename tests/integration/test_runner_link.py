"""The daemon's link to a runner that says what a real one says only now and then."""

import selectors
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from pycron.engine.actions import LogEntry
from pycron.executor.link import RunnerLink
from pycron.protocol.framing import encode
from pycron.protocol.runner_messages import PROTOCOL, RunnerHello, RunnerMessage
from pycron.system.paths import paths_in

ID = "0123456789abcdef-20261129T131735Z.1"
HELLO = {"type": "hello", "protocol": PROTOCOL, "instance": "7-1", "cgroup": None,
         "attempts": [{"type": "started", "id": ID, "pid": 9, "started": 1.0}]}  # fmt: skip
LOST = {"type": "lost", "id": ID, "reason": "gone"}


class Listener:
    def __init__(self) -> None:
        self.hellos: list[RunnerHello] = []
        self.messages: list[RunnerMessage] = []

    def met(self, hello: RunnerHello) -> None:
        self.hellos.append(hello)

    def heard(self, message: RunnerMessage) -> None:
        assert self.hellos
        self.messages.append(message)


@pytest.fixture
def link(tmp_path: Path) -> Iterator[RunnerLink]:
    log: list[LogEntry] = []
    with selectors.DefaultSelector() as selector:
        yield RunnerLink(paths_in(tmp_path), selector, log.append)


def answer(listening: socket.socket) -> None:
    """A command ended just when the daemon said hello: one packet has both messages."""
    connection, _ = listening.accept()
    with connection:
        connection.recv(4096)
        connection.sendall(encode([HELLO, LOST]))
        connection.recv(4096)  # until the daemon goes


def test_what_comes_together_with_the_hello_is_heard(link: RunnerLink) -> None:
    """No later message may come that would make the connection readable."""
    listener = Listener()
    link.listen(listener)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(link.paths.runner_socket))
        listening.listen()
        runner = threading.Thread(target=answer, args=[listening])
        runner.start()
        link.meet()
        assert [message["type"] for message in listener.messages] == ["lost"]
        link.close(leave=False)
        runner.join()
