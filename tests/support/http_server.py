"""A web server on 127.0.0.1, in threads of the test: it records requests, and answers as told."""

import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

DRIP_INTERVAL = 0.02  # seconds
ENDLESS = 2**40  # the announced size of the body that does not end

Answer = Callable[["_Handler"], None]


class Received(NamedTuple):
    """A request. `target`: the path and the query, as they were sent."""

    method: str
    target: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    body: bytes


def status(code: int, **headers: str) -> Answer:
    """Answer with a status, and headers such as Location."""

    def answer(handler: "_Handler") -> None:
        handler.send_response(code)
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", "2")
        handler.end_headers()
        handler.wfile.write(b"OK")

    return answer


def redirect(code: int, location: str) -> Answer:
    return status(code, Location=location)


def close(handler: "_Handler") -> None:
    """Close the connection without an answer."""


def hang(handler: "_Handler") -> None:
    """Give no answer until the server is closed."""
    handler.recorder.closing.wait()


def garbage(handler: "_Handler") -> None:
    handler.wfile.write(b"220 mail.example ESMTP\r\n")


def drip(handler: "_Handler") -> None:
    """Send a header that does not end, a byte now and then."""
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
    while not handler.recorder.closing.wait(DRIP_INTERVAL):
        handler.wfile.write(b"x")


def endless(handler: "_Handler") -> None:
    """Send a body that does not end before the client or the server closes the connection."""
    handler.send_response(200)
    handler.send_header("Content-Length", str(ENDLESS))
    handler.end_headers()
    while not handler.recorder.closing.is_set():
        handler.recorder.body_bytes += handler.wfile.write(b"x" * 2**16)


class _Handler(BaseHTTPRequestHandler):
    recorder: "RecordingServer"

    def do_POST(self) -> None:
        size = int(self.headers.get("Content-Length", 0))
        parts = urlsplit(self.path)
        query = parse_qs(parts.query, keep_blank_values=True)
        headers = dict(self.headers)
        body = self.rfile.read(size)
        self.recorder.received.append(
            Received(self.command, self.path, parts.path, query, headers, body)
        )
        self.recorder.next_answer()(self)

    def do_GET(self) -> None:
        self.do_POST()

    def log_message(self, *args: Any) -> None:
        """Log nothing."""


class _Server(ThreadingHTTPServer):
    daemon_threads = False  # server_close() waits for them

    def handle_error(self, *args: Any) -> None:
        """A client that has gone is no error."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(*args)


class RecordingServer:
    """The requests are in `received`, in order. Each answer is given once, the last one always.

    `body_bytes`: how many bytes endless() has written.
    """

    def __init__(self, *answers: Answer) -> None:
        self.answers = list(answers) or [status(200)]
        self.received: list[Received] = []
        self.body_bytes = 0
        self.closing = threading.Event()
        handler = type("Handler", (_Handler,), {"recorder": self})
        self._server = _Server(("127.0.0.1", 0), handler)
        self.address = f"127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def url(self, path: str = "/ping") -> str:
        return f"http://{self.address}{path}"

    def paths(self) -> list[str]:
        return [request.path for request in self.received]

    def next_answer(self) -> Answer:
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]

    def close(self) -> None:
        self.closing.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@contextmanager
def http_server(*answers: Answer) -> Iterator[RecordingServer]:
    """A server that gives these answers, or 200 to everything."""
    server = RecordingServer(*answers)
    try:
        yield server
    finally:
        server.close()


def unused_address() -> str:
    """An address of this machine at which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        host, port = listener.getsockname()
    return f"{host}:{port}"
