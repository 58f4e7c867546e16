"""Slow connections, with a server in this process whose patience is short."""

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Iterator

import pytest

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from pycron.web import connections
from pycron.web.connections import Connection
from tests.support.waiting import until

HEAD = b"GET /%s HTTP/1.1\r\nHost: x\r\n\r\n"


async def _quick(_: Request) -> Response:
    return Response("quick")


async def _slow(_: Request) -> Response:
    await asyncio.sleep(1)
    return Response("slow")


async def _long(_: Request) -> Response:
    async def parts() -> object:
        while True:
            yield b"x" * 100_000
            await asyncio.sleep(0)

    return StreamingResponse(parts())  # type: ignore[arg-type]


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    monkeypatch.setattr(connections, "PATIENCE", 0.3)
    routes = [Route("/quick", _quick), Route("/slow", _slow), Route("/long", _long)]
    config = uvicorn.Config(
        Starlette(routes=routes), http=Connection, ws="none", lifespan="off", log_config=None,
        log_level="error", timeout_graceful_shutdown=1,
    )  # fmt: skip
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        until(lambda: server.started)
        yield listener.getsockname()[1]
        server.should_exit = True
        thread.join()


@contextlib.contextmanager
def connected(port: int) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        yield connection


def read_until(connection: socket.socket, end: bytes) -> bytes:
    data = b""
    while not data.endswith(end):
        part = connection.recv(1000)
        assert part, data
        data += part
    return data


def is_cut(connection: socket.socket) -> bool:
    """Waits for the end of a connection, for a second."""
    connection.settimeout(1)
    try:
        while connection.recv(65_536):
            pass
    except TimeoutError:
        return False
    except OSError:
        return True
    return True


@pytest.mark.parametrize(
    "data",
    [b"", b"GET / HTTP/1.1\r\n", b"POST /quick HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nx"],
)
def test_a_request_that_does_not_end_is_cut(port: int, data: bytes) -> None:
    with connected(port) as connection:
        connection.sendall(data)
        assert is_cut(connection)


def test_a_request_of_single_bytes_is_cut(port: int) -> None:
    with connected(port) as connection:
        began = time.monotonic()
        with contextlib.suppress(OSError):
            while time.monotonic() - began < 3:
                connection.sendall(b"x")
                time.sleep(0.02)
        assert time.monotonic() - began < 2


def test_a_slow_answer_is_not_cut(port: int) -> None:
    with connected(port) as connection:
        connection.sendall(HEAD % b"slow")
        connection.settimeout(5)
        assert read_until(connection, b"slow")


def test_requests_on_one_connection(port: int) -> None:
    with connected(port) as connection:
        for _ in range(3):
            connection.sendall(HEAD % b"quick")
            assert read_until(connection, b"quick")
        assert is_cut(connection)


def test_an_answer_that_is_not_read_is_cut(port: int) -> None:
    with connected(port) as connection:
        connection.sendall(HEAD % b"long")
        time.sleep(1)
        assert is_cut(connection)


def test_an_answer_that_is_read_goes_on(port: int) -> None:
    with connected(port) as connection:
        connection.sendall(HEAD % b"long")
        read, began = 0, time.monotonic()
        while time.monotonic() - began < 1:
            read += len(connection.recv(65_536))
        assert read > 1_000_000
