"""Questions of the page to the daemon: how many at once, for whom, and what is written down."""

import threading
from typing import Any, cast

import anyio
import pytest

pytest.importorskip("anyio")

from pycron.control.client import ControlClient
from pycron.protocol.control_messages import KillRequest, PauseRequest, StartRequest, StatusRequest
from pycron.protocol.web_messages import CHANGES
from pycron.web.access.visitor import Visitor
from pycron.web.daemon import Busy, Daemon, NotAllowed

ANNA = Visitor("anna", may_change=True, login="token laptop")
READER = Visitor("bob", may_change=False, login="token ci")


class Client:
    """A connection that answers with the user for whom was asked, when `go` is set."""

    open = most_open = 0
    go = threading.Event()
    lock = threading.Lock()

    def __init__(self) -> None:
        self.on_behalf_of: str | None = None
        with self.lock:
            Client.open += 1
            Client.most_open = max(Client.open, Client.most_open)

    def request(self, _request: object) -> Any:
        assert self.go.wait(10)
        return {"user": self.on_behalf_of}

    def close(self) -> None:
        with self.lock:
            Client.open -= 1


@pytest.fixture
def said() -> list[str]:
    Client.open = Client.most_open = 0
    Client.go.set()
    return []


def new(said: list[str], *, acts_for_others: bool = True) -> Daemon:
    return Daemon(lambda: cast(ControlClient, Client()), acts_for_others, said.append)


def ask(daemon: Daemon, visitor: Visitor | None, request: Any) -> Any:
    return anyio.run(daemon.ask, visitor, request)


def test_for_whom_is_asked(said: list[str]) -> None:
    assert ask(new(said), ANNA, StatusRequest()) == {"user": "anna"}
    assert ask(new(said), None, StatusRequest()) == {"user": None}
    assert ask(new(said, acts_for_others=False), ANNA, StatusRequest()) == {"user": None}
    assert (Client.open, said) == (0, [])


def test_a_change_is_written_down_with_its_author(said: list[str]) -> None:
    daemon = new(said)
    ask(daemon, ANNA, StartRequest("backup"))
    ask(daemon, ANNA, PauseRequest(scope="job", job="backup", seconds=60))
    assert said == [
        "anna (token laptop): start job=backup",
        "anna (token laptop): pause scope=job job=backup seconds=60",
    ]


@pytest.mark.parametrize("visitor", [READER, None])
def test_who_may_not_change_asks_for_nothing(said: list[str], visitor: Visitor | None) -> None:
    for request in (StartRequest("x"), KillRequest("x")):
        assert request.verb in CHANGES
        with pytest.raises(NotAllowed):
            ask(new(said), visitor, request)
    assert (Client.most_open, said) == (0, [])


def test_few_are_asked_at_once_and_many_are_refused(said: list[str]) -> None:
    Client.go.clear()
    refused: list[Busy] = []

    async def one(daemon: Daemon) -> None:
        try:
            await daemon.ask(ANNA, StatusRequest())
        except Busy as error:
            refused.append(error)

    async def many() -> None:
        daemon = new(said)
        async with anyio.create_task_group() as tasks:
            for _ in range(300):
                tasks.start_soon(one, daemon)
            with anyio.move_on_after(5):
                while len(refused) < 300 - 200 - 8 or Client.open < 8:
                    await anyio.sleep(0.01)
            Client.go.set()

    anyio.run(many)
    assert (Client.most_open, Client.open) == (8, 0)
    assert len(refused) == 300 - 200 - 8
