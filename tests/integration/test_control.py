"""The control socket: a server whose loop the test turns, and clients, good ones and bad ones."""

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

from pycron.config import Config
from pycron.control import server as control_server
from pycron.control.client import ControlClient, ControlError
from pycron.control.server import ControlServer, Peer, refusal
from pycron.model.steps import Steps
from pycron.protocol.framing import Message
from pycron.system import unix_sockets
from tests.support.waiting import until

LIMIT = 100_000
CLIENTS = 8
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


def config() -> Config:
    """A request may have LIMIT bytes."""
    return Config(clients=CLIENTS, user_table_bytes=(LIMIT - 65_536) // 2)


class TurnedServer:
    """A ControlServer and its loop. Its answers contain the peer and the text of the request."""

    def __init__(self, path: Path, mode: int = 0o600) -> None:
        self.path = path
        self.asked: list[Message] = []
        self.may_end = False  # the verb `long`
        self.verbs: dict[str, Callable[[Message], Message]] = {}
        self.selector = selectors.DefaultSelector()
        self.server = ControlServer(path, mode, self.selector, self.answer, config)

    def answer(self, peer: Peer, request: Message) -> Steps[Message]:
        self.asked.append(request)
        if request.get("verb") == "long":
            while not self.may_end:
                yield
        act = self.verbs.get(str(request.get("verb")))
        if act:
            return act(request)
        return {"ok": True, "peer": [peer.pid, peer.uid, peer.gid], "echo": request.get("text")}

    def turn(self) -> None:
        for key, events in self.selector.select(0.01):
            key.data(events)
        self.server.answer_some()

    def connect(self) -> socket.socket:
        connection = unix_sockets.connect(str(self.path), 10)
        connection.setblocking(False)
        self.turn()
        return connection

    def turn_until(self, condition: Callable[[], object]) -> None:
        def turned() -> object:
            self.turn()
            return condition()

        until(turned)

    def lines(self, connection: socket.socket, count: int = 1) -> list[Message]:
        """This number of answers on this connection."""
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
def server(tmp_path: Path) -> Iterator[TurnedServer]:
    server = TurnedServer(tmp_path / "pycron.sock")
    yield server
    server.close()


# ---- requests


def test_a_request_and_its_answer(server: TurnedServer) -> None:
    with server.connect() as connection:
        assert server.ask(connection, verb="x", text="ä\udcff")["echo"] == "ä\udcff"
        assert server.ask(connection, verb="x", text="again")["echo"] == "again"


def test_a_request_in_pieces(server: TurnedServer) -> None:
    with server.connect() as connection:
        for byte in b'{"verb":"x","text":"pieces"}':
            connection.send(bytes([byte]))
            server.turn()
        assert server.asked == []
        connection.send(b"\n")
        assert server.lines(connection)[0]["echo"] == "pieces"


def test_two_requests_at_once_and_half_a_third(server: TurnedServer) -> None:
    with server.connect() as connection:
        connection.send(b'{"text":1}\n{"text":2}\n{"text":')
        assert [answer["echo"] for answer in server.lines(connection, 2)] == [1, 2]
        connection.send(b"3}\n")
        assert server.lines(connection)[0]["echo"] == 3


def test_the_kernel_says_who_the_peer_is(server: TurnedServer) -> None:
    with server.connect() as connection:
        answer = server.ask(connection, verb="x", uid=4711, peer=[1, 0, 0])
        assert answer["peer"] == [os.getpid(), os.geteuid(), os.getegid()]


def test_the_permissions_of_the_socket(tmp_path: Path) -> None:
    for mode in (0o600, 0o666):
        before = os.umask(0o077)
        server = TurnedServer(tmp_path / "sock", mode)
        os.umask(before)
        assert (tmp_path / "sock").stat().st_mode & 0o777 == mode
        server.close()
        assert not (tmp_path / "sock").exists()


def test_an_old_socket_is_replaced(tmp_path: Path) -> None:
    """A daemon that was killed leaves its socket behind."""
    unix_sockets.listen(str(tmp_path / "sock"), 0o600, 1).close()
    server = TurnedServer(tmp_path / "sock")
    with server.connect() as connection:
        assert server.ask(connection)["ok"]
    server.close()


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
def test_a_client_that_sends_garbage_is_disconnected_and_others_are_served(
    server: TurnedServer, garbage: bytes
) -> None:
    with server.connect() as sender, server.connect() as other:
        rest = memoryview(garbage)
        while rest and not server.dropped(sender):
            with contextlib.suppress(BlockingIOError, ConnectionError):
                rest = rest[sender.send(rest) :]
        until(lambda: server.dropped(sender))
        assert server.asked == []
        assert server.ask(other, text="still here")["echo"] == "still here"


def test_a_request_as_large_as_allowed(server: TurnedServer) -> None:
    with server.connect() as connection:
        text = "x" * (LIMIT - 100)
        assert server.ask(connection, text=text)["echo"] == text


@pytest.mark.parametrize("error", [ValueError, OSError, TypeError, KeyError, OverflowError])
def test_a_request_that_breaks_the_handler_does_not_break_the_server(
    server: TurnedServer, error: type[Exception]
) -> None:
    """No request of a client may end the daemon."""

    def fail(_request: Message) -> Message:
        raise error("a fault of the handler")

    server.verbs["fail"] = fail
    with server.connect() as bad, server.connect() as other:
        bad.send(b'{"verb":"fail"}\n')
        server.turn_until(lambda: server.asked)
        assert server.ask(other, text="still here")["echo"] == "still here"


# ---- clients that are slow, many or gone


def test_a_client_that_never_reads_does_not_delay_others(server: TurnedServer) -> None:
    server.verbs["much"] = lambda _request: {"ok": True, "text": "x" * 5_000_000}
    with server.connect() as deaf, server.connect() as other:
        deaf.send(b'{"verb":"much"}\n')
        server.turn_until(lambda: server.asked)
        for number in range(20):
            assert server.ask(other, text=number)["echo"] == number
        deaf.send(b'{"verb":"second"}\n')
        for _ in range(20):
            server.turn()
        assert {
            "verb": "second"
        } not in server.asked  # the client has to read its first answer before


def test_many_requests_at_once_are_answered_as_they_are_read(server: TurnedServer) -> None:
    """Answered at once, 3000 requests in one packet are gigabytes, and a minute without cron."""
    server.verbs["much"] = lambda _request: {"ok": True, "text": "x" * 1_000_000}
    with server.connect() as greedy, server.connect() as other:
        greedy.sendall(b'{"verb":"much"}\n' * 500)
        server.turn_until(lambda: server.asked)
        assert server.ask(other, text="me, too")["echo"] == "me, too"
        assert len([request for request in server.asked if request.get("verb") == "much"]) <= 50


def test_others_are_answered_between_the_steps_of_a_long_answer(server: TurnedServer) -> None:
    with server.connect() as long, server.connect() as other:
        with server.connect() as gone:
            for client in (long, gone):
                client.send(b'{"verb":"long"}\n{"text":"next"}\n')
            server.turn_until(lambda: len(server.asked) == 2)
            assert server.ask(other, text="short")["echo"] == "short"
        server.turn()
        assert server.server.busy
        server.may_end = True
        assert [answer["echo"] for answer in server.lines(long, 2)] == [None, "next"]
        assert not server.server.busy


def test_a_large_answer_arrives_whole(server: TurnedServer) -> None:
    server.verbs["much"] = lambda _request: {"ok": True, "text": "x" * 5_000_000}
    with server.connect() as connection:
        assert len(server.ask(connection, verb="much")["text"]) == 5_000_000
        assert server.ask(connection, text="then")["echo"] == "then"


def test_a_client_that_disconnects_before_its_answer(server: TurnedServer) -> None:
    server.verbs["much"] = lambda _request: {"ok": True, "text": "x" * 5_000_000}
    for _ in range(20):
        with server.connect() as connection:
            connection.send(b'{"verb":"much"}\n')
        with server.connect():
            pass
    with server.connect() as other:
        assert server.ask(other, text="still here")["echo"] == "still here"


def test_silent_clients_are_disconnected(server: TurnedServer) -> None:
    with server.connect() as silent, server.connect() as lively:
        server.ask(silent, text="hello")
        server.ask(lively, text="hello")
        server.server.drop_idle()
        assert not server.dropped(silent)
        for client in server.server._clients:  # as if a minute had passed
            client.heard -= control_server._IDLE
        assert server.ask(lively, text="hello")
        server.server.drop_idle()
        until(lambda: server.dropped(silent))
        assert server.ask(lively, text="still here")["echo"] == "still here"


def test_too_many_clients(server: TurnedServer) -> None:
    most = 2 * CLIENTS if os.geteuid() == 0 else 4
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(server.connect()) for _ in range(most)]
        for client in clients:
            assert server.ask(client)["ok"]
        with server.connect() as late:
            (answer,) = server.lines(late)
            assert answer == refusal("too many clients; try again")
            until(lambda: server.dropped(late))
        clients[0].close()
        server.turn_until(lambda: len(server.server._clients) < most)
        assert server.ask(stack.enter_context(server.connect()))["ok"]


@pytest.mark.root
@needs_root
def test_one_user_cannot_take_all_connections() -> None:
    directory = Path(tempfile.mkdtemp())
    directory.chmod(0o755)
    server = TurnedServer(directory / "sock", 0o666)
    nobody = pwd.getpwnam("nobody").pw_uid

    def connect_as(uid: int) -> socket.socket:
        os.seteuid(uid)
        try:
            return stack.enter_context(server.connect())
        finally:
            os.seteuid(0)

    with contextlib.ExitStack() as stack:
        own = [server.ask(connect_as(nobody)) for _ in range(CLIENTS // 2)]
        assert all(answer["peer"][1] == nobody for answer in own)
        assert server.lines(connect_as(nobody)) == [refusal("too many clients; try again")]
        for _ in range(CLIENTS // 2):
            assert server.ask(connect_as(4711))["ok"]
        assert server.ask(connect_as(4712))["ok"]  # others cannot keep this user out
        assert server.ask(connect_as(0))["ok"]  # root can always get in
    server.close()
    shutil.rmtree(directory)


def test_old_clients_are_served_when_there_is_no_descriptor_for_a_new_one(
    server: TurnedServer,
) -> None:
    with server.connect() as old, server.connect() as late:
        server.ask(old, text="hello")
        free = os.open("/dev/null", os.O_RDONLY)
        os.close(free)
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        third = server.connect()
        resource.setrlimit(resource.RLIMIT_NOFILE, (free, limits[1]))
        try:
            assert server.ask(old, text="still here")["echo"] == "still here"
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        assert server.ask(late, text="now")["ok"]
        assert server.ask(third, text="now")["ok"]
        third.close()


def test_a_client_can_be_disconnected_in_the_turn_in_which_it_asks(server: TurnedServer) -> None:
    with server.connect() as oldest, server.connect() as other:
        free = os.open("/dev/null", os.O_RDONLY)
        os.close(free)
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        with unix_sockets.connect(str(server.path), 10):  # the server handles this connection first
            oldest.sendall(b'{"verb":"x"}\n')
            resource.setrlimit(resource.RLIMIT_NOFILE, (free, limits[1]))
            try:
                assert server.dropped(oldest)
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        assert server.ask(other, text="still here")["echo"] == "still here"


# ---- the client


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Path]:
    """A server in its own process; its path is longer than the address of a socket may be."""
    directory = tmp_path / ("d" * 100) / ("e" * 100)
    directory.mkdir(parents=True)
    path = directory / "pycron.sock"
    server = TurnedServer(path)
    server.verbs["no"] = lambda _request: refusal("not today", problems=[1])
    server.verbs["garbage"] = lambda _request: {"ok": True, "text": "x" * 3_000_000}
    pid = os.fork()
    if pid == 0:
        try:
            while True:
                server.turn()
        finally:
            os._exit(1)
    yield path
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    server.close()


def test_the_client_asks_and_asks_again(daemon: Path) -> None:
    assert len(str(daemon)) > 200
    with closing(ControlClient(daemon)) as client, closing(client.again()) as second:
        assert client.ask("x", text="ä\udcff")["echo"] == "ä\udcff"
        assert len(client.ask("garbage")["text"]) == 3_000_000
        assert second.ask("x", text=2)["echo"] == 2


def test_the_client_gets_a_refusal(daemon: Path) -> None:
    with (
        closing(ControlClient(daemon)) as client,
        pytest.raises(ControlError, match="not today") as caught,
    ):
        client.ask("no")
    assert caught.value.answer["problems"] == [1]


def test_a_request_that_is_too_large_for_the_daemon(daemon: Path) -> None:
    with (
        closing(ControlClient(daemon)) as client,
        pytest.raises(
            ControlError, match=r"more than 100000 bytes; .* \(limits.user_table_bytes\)"
        ),
    ):
        client.ask("x", text="x" * (3 * LIMIT))


@pytest.mark.parametrize("name", ["none", "none/none", "file", "file/none"])
def test_there_is_no_socket(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ControlError) as caught:
        ControlClient(tmp_path / name)
    assert str(caught.value).startswith(f"no pycron daemon answers at {tmp_path / name}: ")
    assert str(caught.value).endswith("; is pycrond running?")
    assert "None" not in str(caught.value)


def test_the_socket_of_a_daemon_that_is_gone(tmp_path: Path) -> None:
    unix_sockets.listen(str(tmp_path / "sock"), 0o600, 1).close()
    with pytest.raises(ControlError, match=r"Connection refused; is pycrond running\?"):
        ControlClient(tmp_path / "sock")


def test_a_daemon_that_does_not_answer(tmp_path: Path) -> None:
    with unix_sockets.listen(str(tmp_path / "sock"), 0o600, 1):
        client = ControlClient(tmp_path / "sock", patience=0.1)
        with pytest.raises(ControlError, match="timed out"):
            client.ask("x")
        client.close()


def test_the_client_waits_for_a_busy_daemon(tmp_path: Path) -> None:
    """The daemon has not accepted all clients yet, so the client waits and reports no error."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(unix_sockets.listen(str(tmp_path / "sock"), 0o600, 0))
        first = unix_sockets.connect(str(tmp_path / "sock"), 10)
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
    with unix_sockets.listen(str(tmp_path / "sock"), 0o600, 1) as listener:
        client = ControlClient(tmp_path / "sock")
        listener.accept()[0].close()
        with pytest.raises(ControlError, match="no answer from the pycron daemon"):
            client.ask("x")
        client.close()
