"""The control socket: one server, turned by hand, and clients that behave, and that do not."""

import contextlib
import json
import os
import pwd
import resource
import selectors
import shutil
import signal
import socket
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from pycron import control, sockets
from pycron.control import ControlClient, ControlError, ControlServer, Peer, refusal
from pycron.wire import Message
from tests.waiting import until

LIMIT = 100_000
CLIENTS = 8
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


class Desk:
    """A server, and the loop around it. Its answers say who asked what."""

    def __init__(self, path: Path, mode: int = 0o600) -> None:
        self.path = path
        self.asked: list[Message] = []
        self.verbs: dict[str, Callable[[Message], Message]] = {}
        self.selector = selectors.DefaultSelector()
        self.server = ControlServer(path, mode, self.selector, self.answer, CLIENTS, LIMIT)

    def answer(self, peer: Peer, request: Message) -> Message:
        self.asked.append(request)
        act = self.verbs.get(str(request.get("verb")))
        if act:
            return act(request)
        return {"ok": True, "peer": [peer.pid, peer.uid, peer.gid], "echo": request.get("text")}

    def turn(self) -> None:
        for key, events in self.selector.select(0.01):
            key.data(events)

    def connect(self) -> socket.socket:
        connection = sockets.connect(str(self.path), 10)
        connection.setblocking(False)
        self.turn()
        return connection

    def turn_until(self, condition: Callable[[], object]) -> None:
        def turned() -> object:
            self.turn()
            return condition()

        until(turned)

    def lines(self, connection: socket.socket, count: int = 1) -> list[Message]:
        """So many answers on this connection."""
        data = b""

        def complete() -> bool:
            nonlocal data
            self.turn()
            with contextlib.suppress(BlockingIOError):
                data += connection.recv(2**20)
            return data.count(b"\n") >= count

        until(complete)
        assert data.endswith(b"\n")
        return [json.loads(line) for line in data.splitlines()]

    def ask(self, connection: socket.socket, **request: object) -> Message:
        connection.sendall(json.dumps(request).encode() + b"\n")
        return self.lines(connection)[0]

    def dropped(self, connection: socket.socket) -> bool:
        """Whether the server has closed it."""
        self.turn()
        try:
            return connection.recv(2**20) == b""
        except BlockingIOError:
            return False
        except ConnectionError:
            return True

    def close(self) -> None:
        self.server.close()
        self.selector.close()


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(tmp_path / "pycron.sock")
    yield desk
    desk.close()


# ---- requests


def test_a_request_and_its_answer(desk: Desk) -> None:
    with desk.connect() as connection:
        assert desk.ask(connection, verb="x", text="ä\udcff")["echo"] == "ä\udcff"
        assert desk.ask(connection, verb="x", text="again")["echo"] == "again"


def test_a_request_in_pieces(desk: Desk) -> None:
    with desk.connect() as connection:
        for byte in b'{"verb":"x","text":"pieces"}':
            connection.send(bytes([byte]))
            desk.turn()
        assert desk.asked == []
        connection.send(b"\n")
        assert desk.lines(connection)[0]["echo"] == "pieces"


def test_two_requests_at_once_and_half_a_third(desk: Desk) -> None:
    with desk.connect() as connection:
        connection.send(b'{"text":1}\n{"text":2}\n{"text":')
        assert [answer["echo"] for answer in desk.lines(connection, 2)] == [1, 2]
        connection.send(b"3}\n")
        assert desk.lines(connection)[0]["echo"] == 3


def test_who_asks_is_what_the_kernel_says(desk: Desk) -> None:
    with desk.connect() as connection:
        answer = desk.ask(connection, verb="x", uid=4711, peer=[1, 0, 0])
        assert answer["peer"] == [os.getpid(), os.geteuid(), os.getegid()]


def test_the_permissions_of_the_socket(tmp_path: Path) -> None:
    for mode in (0o600, 0o666):
        before = os.umask(0o077)
        desk = Desk(tmp_path / "sock", mode)
        os.umask(before)
        assert (tmp_path / "sock").stat().st_mode & 0o777 == mode
        desk.close()
        assert not (tmp_path / "sock").exists()


def test_an_old_socket_is_replaced(tmp_path: Path) -> None:
    """A daemon that was killed leaves its socket behind."""
    sockets.listen(str(tmp_path / "sock"), 0o600, 1).close()
    desk = Desk(tmp_path / "sock")
    with desk.connect() as connection:
        assert desk.ask(connection)["ok"]
    desk.close()


GARBAGE = {
    "no JSON": b"hello\n",
    "no object": b"[1]\n",
    "an empty line": b"\n",
    "no UTF-8": b"\xff\xfe\n",
    "NUL bytes": b"\0\0\n",
    "half a surrogate": b'"\\ud800\n',
    "a long number": b'{"a":' + b"9" * 50_000 + b"}\n",
    "deeply nested arrays": b"[" * 50_000 + b"\n",
    "deeply nested objects": b'{"a":' * 15_000 + b"\n",
    "too large": b"x" * (3 * LIMIT),
    "too large in one line": b'{"text":"' + b"x" * (3 * LIMIT) + b'"}\n',
}


@pytest.mark.parametrize("garbage", GARBAGE.values(), ids=GARBAGE.keys())
def test_garbage_costs_its_sender_the_connection_and_nobody_else(
    desk: Desk, garbage: bytes
) -> None:
    with desk.connect() as sender, desk.connect() as other:
        rest = memoryview(garbage)
        while rest and not desk.dropped(sender):
            with contextlib.suppress(BlockingIOError, ConnectionError):
                rest = rest[sender.send(rest) :]
        until(lambda: desk.dropped(sender))
        assert desk.asked == []
        assert desk.ask(other, text="still here")["echo"] == "still here"


def test_a_request_as_large_as_allowed(desk: Desk) -> None:
    with desk.connect() as connection:
        text = "x" * (LIMIT - 100)
        assert desk.ask(connection, text=text)["echo"] == text


@pytest.mark.parametrize("error", [ValueError, OSError, TypeError, KeyError, OverflowError])
def test_a_request_that_breaks_the_handler_does_not_break_the_server(
    desk: Desk, error: type[Exception]
) -> None:
    """The daemon's clients are strangers: whatever they find must not take it down."""

    def fail(_request: Message) -> Message:
        raise error("nobody thought of that")

    desk.verbs["fail"] = fail
    with desk.connect() as bad, desk.connect() as other:
        bad.send(b'{"verb":"fail"}\n')
        desk.turn_until(lambda: desk.asked)
        assert desk.ask(other, text="still here")["echo"] == "still here"


# ---- clients that are slow, many or gone


def test_one_that_never_reads_keeps_nobody_waiting(desk: Desk) -> None:
    desk.verbs["much"] = lambda _request: {"ok": True, "text": "x" * 5_000_000}
    with desk.connect() as deaf, desk.connect() as other:
        deaf.send(b'{"verb":"much"}\n')
        desk.turn_until(lambda: desk.asked)
        for number in range(20):
            assert desk.ask(other, text=number)["echo"] == number
        deaf.send(b'{"verb":"second"}\n')
        for _ in range(20):
            desk.turn()
        assert {"verb": "second"} not in desk.asked  # first it has to take its answer


def test_many_requests_at_once_are_answered_as_they_are_read(desk: Desk) -> None:
    """Else 3000 requests in one packet are gigabytes of answers, and a minute without cron."""
    desk.verbs["much"] = lambda _request: {"ok": True, "text": "x" * 1_000_000}
    with desk.connect() as greedy, desk.connect() as other:
        greedy.sendall(b'{"verb":"much"}\n' * 500)
        desk.turn_until(lambda: desk.asked)
        assert desk.ask(other, text="me, too")["echo"] == "me, too"
        assert len([request for request in desk.asked if request.get("verb") == "much"]) <= 50


def test_a_large_answer_arrives_whole(desk: Desk) -> None:
    desk.verbs["much"] = lambda _request: {"ok": True, "text": "x" * 5_000_000}
    with desk.connect() as connection:
        assert len(desk.ask(connection, verb="much")["text"]) == 5_000_000
        assert desk.ask(connection, text="then")["echo"] == "then"


def test_one_that_hangs_up_before_its_answer(desk: Desk) -> None:
    desk.verbs["much"] = lambda _request: {"ok": True, "text": "x" * 5_000_000}
    for _ in range(20):
        with desk.connect() as connection:
            connection.send(b'{"verb":"much"}\n')
        with desk.connect():
            pass
    with desk.connect() as other:
        assert desk.ask(other, text="still here")["echo"] == "still here"


def test_silent_clients_are_let_go(desk: Desk) -> None:
    with desk.connect() as silent, desk.connect() as lively:
        desk.ask(silent, text="hello")
        desk.ask(lively, text="hello")
        desk.server.drop_idle()
        assert not desk.dropped(silent)
        for client in desk.server._clients:  # as if a minute had passed
            client.heard -= control._IDLE
        assert desk.ask(lively, text="hello")
        desk.server.drop_idle()
        until(lambda: desk.dropped(silent))
        assert desk.ask(lively, text="still here")["echo"] == "still here"


def test_too_many_clients(desk: Desk) -> None:
    most = 2 * CLIENTS if os.geteuid() == 0 else 4
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(desk.connect()) for _ in range(most)]
        for client in clients:
            assert desk.ask(client)["ok"]
        with desk.connect() as late:
            (answer,) = desk.lines(late)
            assert answer == refusal("too many clients; try again")
            until(lambda: desk.dropped(late))
        clients[0].close()
        desk.turn_until(lambda: len(desk.server._clients) < most)
        assert desk.ask(stack.enter_context(desk.connect()))["ok"]


@pytest.mark.root
@needs_root
def test_one_user_cannot_take_all_the_places() -> None:
    directory = Path(tempfile.mkdtemp())
    directory.chmod(0o755)
    desk = Desk(directory / "sock", 0o666)
    nobody = pwd.getpwnam("nobody").pw_uid

    def connect_as(uid: int) -> socket.socket:
        os.seteuid(uid)
        try:
            return stack.enter_context(desk.connect())
        finally:
            os.seteuid(0)

    with contextlib.ExitStack() as stack:
        own = [desk.ask(connect_as(nobody)) for _ in range(CLIENTS // 2)]
        assert all(answer["peer"][1] == nobody for answer in own)
        assert desk.lines(connect_as(nobody)) == [refusal("too many clients; try again")]
        for _ in range(CLIENTS // 2):
            assert desk.ask(connect_as(4711))["ok"]
        assert desk.lines(connect_as(4712)) == [refusal("too many clients; try again")]
        assert desk.ask(connect_as(0))["ok"]  # root can always get in
    desk.close()
    shutil.rmtree(directory)


def test_without_descriptors_for_a_new_client_the_old_ones_are_served(desk: Desk) -> None:
    with desk.connect() as old, desk.connect() as late:
        desk.ask(old, text="hello")
        free = os.open("/dev/null", os.O_RDONLY)
        os.close(free)
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        third = desk.connect()
        resource.setrlimit(resource.RLIMIT_NOFILE, (free, limits[1]))
        try:
            assert desk.ask(old, text="still here")["echo"] == "still here"
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        assert desk.ask(late, text="now")["ok"]
        assert desk.ask(third, text="now")["ok"]
        third.close()


def test_one_that_makes_room_just_when_it_asks_is_let_go(desk: Desk) -> None:
    with desk.connect() as oldest, desk.connect() as other:
        free = os.open("/dev/null", os.O_RDONLY)
        os.close(free)
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        with sockets.connect(str(desk.path), 10):  # what it is told of first
            oldest.sendall(b'{"verb":"x"}\n')
            resource.setrlimit(resource.RLIMIT_NOFILE, (free, limits[1]))
            try:
                assert desk.dropped(oldest)
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        assert desk.ask(other, text="still here")["echo"] == "still here"


# ---- the client


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Path]:
    """A server in a process of its own, at a path much longer than an address."""
    directory = tmp_path / ("d" * 100) / ("e" * 100)
    directory.mkdir(parents=True)
    path = directory / "pycron.sock"
    desk = Desk(path)
    desk.verbs["no"] = lambda _request: refusal("not today", problems=[1])
    desk.verbs["garbage"] = lambda _request: {"ok": True, "text": "x" * 3_000_000}
    pid = os.fork()
    if pid == 0:
        try:
            while True:
                desk.turn()
        finally:
            os._exit(1)
    yield path
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    desk.close()


def test_the_client_asks_and_asks_again(daemon: Path) -> None:
    assert len(str(daemon)) > 200
    with closing(ControlClient(daemon)) as client, closing(client.again()) as second:
        assert client.ask("x", text="ä\udcff")["echo"] == "ä\udcff"
        assert len(client.ask("garbage")["text"]) == 3_000_000
        assert second.ask("x", text=2)["echo"] == 2


def test_the_client_gets_a_no(daemon: Path) -> None:
    with (
        closing(ControlClient(daemon)) as client,
        pytest.raises(ControlError, match="not today") as caught,
    ):
        client.ask("no")
    assert caught.value.answer["problems"] == [1]


def test_the_client_that_asks_too_much(daemon: Path) -> None:
    with (
        closing(ControlClient(daemon)) as client,
        pytest.raises(ControlError, match="no answer from the pycron daemon at"),
    ):
        client.ask("x", text="x" * (3 * LIMIT))


@pytest.mark.parametrize("name", ["none", "none/none", "file", "file/none"])
def test_nobody_listens(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ControlError) as caught:
        ControlClient(tmp_path / name)
    assert str(caught.value).startswith(f"no pycron daemon answers at {tmp_path / name}: ")
    assert str(caught.value).endswith("; is pycrond running?")
    assert "None" not in str(caught.value)


def test_a_socket_that_nobody_serves_any_more(tmp_path: Path) -> None:
    sockets.listen(str(tmp_path / "sock"), 0o600, 1).close()
    with pytest.raises(ControlError, match=r"Connection refused; is pycrond running\?"):
        ControlClient(tmp_path / "sock")


def test_a_daemon_that_does_not_answer(tmp_path: Path) -> None:
    with sockets.listen(str(tmp_path / "sock"), 0o600, 1):
        client = ControlClient(tmp_path / "sock", patience=0.1)
        with pytest.raises(ControlError, match="timed out"):
            client.ask("x")
        client.close()


def test_a_daemon_that_is_busy_is_waited_for(tmp_path: Path) -> None:
    """More clients than it has taken yet: that is no reason to say that nobody is there."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(sockets.listen(str(tmp_path / "sock"), 0o600, 0))
        first = sockets.connect(str(tmp_path / "sock"), 10)
        stack.enter_context(first)
        pid = os.fork()
        if pid == 0:
            try:
                until(lambda: Path(tmp_path / "go").exists())
                listener.accept()[0].close()
            finally:
                os._exit(0)
        (tmp_path / "go").touch()
        try:
            stack.enter_context(closing(ControlClient(tmp_path / "sock")))
        finally:
            os.waitpid(pid, 0)


def test_a_daemon_that_dies_before_it_answers(tmp_path: Path) -> None:
    with sockets.listen(str(tmp_path / "sock"), 0o600, 1) as listener:
        client = ControlClient(tmp_path / "sock")
        listener.accept()[0].close()
        with pytest.raises(ControlError, match="no answer from the pycron daemon"):
            client.ask("x")
        client.close()
