"""Clients of some users do not keep other users from the control socket."""

import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from pycron.control.server import refusal
from tests.integration.test_control import CLIENTS, TurnedServer

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
]

FIRST = 4711  # a uid; no account is needed


class Crowd:
    """A server with CLIENTS places, and clients of several uids."""

    def __init__(self, server: TurnedServer, stack: ExitStack) -> None:
        self.server = server
        self._stack = stack

    def connect(self, uid: int) -> socket.socket:
        os.seteuid(uid)
        try:
            return self._stack.enter_context(self.server.connect())
        finally:
            os.seteuid(0)

    def is_served(self, uid: int) -> bool:
        return bool(self.server.ask(self.connect(uid))["ok"])

    def is_refused(self, uid: int) -> bool:
        return self.server.lines(self.connect(uid)) == [refusal("too many clients; try again")]

    def uids(self) -> list[int]:
        return sorted(client.peer.uid for client in self.server.server._clients)


@pytest.fixture
def crowd() -> Iterator[Crowd]:
    directory = Path(tempfile.mkdtemp())
    directory.chmod(0o755)
    server = TurnedServer(directory / "sock", 0o666)
    with ExitStack() as stack:
        yield Crowd(server, stack)
    server.close()
    shutil.rmtree(directory)


def test_two_users_with_all_places_lock_nobody_out(crowd: Crowd) -> None:
    for uid in (FIRST, FIRST + 1):
        for _ in range(CLIENTS // 2):
            assert crowd.is_served(uid)
        assert crowd.is_refused(uid)
    for newcomer in range(FIRST + 2, FIRST + CLIENTS):
        assert crowd.is_served(newcomer)
        assert len(crowd.uids()) == CLIENTS
    assert crowd.uids() == list(range(FIRST, FIRST + CLIENTS))
    assert crowd.is_refused(FIRST + CLIENTS)  # each user has one place, and there is no more
    assert crowd.is_served(0)


def test_the_client_that_is_silent_longest_gives_way(crowd: Crowd) -> None:
    """A byte now and then is no request."""
    slow, *others = [crowd.connect(FIRST) for _ in range(CLIENTS // 2)]
    for client in (slow, *others):
        assert crowd.server.ask(client)["ok"]
    slow.sendall(b"{")
    for client in others:
        assert crowd.server.ask(client)["ok"]
    slow.sendall(b'"')
    for _ in range(CLIENTS // 2):
        assert crowd.is_served(FIRST + 1)
    assert crowd.is_served(FIRST + 2)
    assert crowd.server.dropped(slow)
    assert all(crowd.server.ask(client)["ok"] for client in others)
