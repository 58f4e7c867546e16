"""Serves the metrics alone, over HTTP, to Prometheus.

    python -m pycron.web.metrics_server SOCKET ADDRESS

is what `pycrond --foreground --metrics ADDRESS` starts; it ends with its standard input.
"""

import http.server
import os
import socket
import socketserver
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pycron.control.client import ControlClient, ControlError
from pycron.protocol.control_messages import MetricsRequest
from pycron.protocol.metrics_answer import MetricsAnswer
from pycron.system.listen_address import BadAddress, parse_address
from pycron.web.listening import listening
from pycron.web.metrics import rendered

_PATIENCE = 10.0  # seconds for a client, and for the daemon
_MOST_CLIENTS = 16

Ask = Callable[[], MetricsAnswer]


def serve(text: str, ask: Ask, ready: Callable[[str], object]) -> None:
    """Serve at an address until the process ends. `ready` gets the URL, or the path of the socket.

    Raises BadAddress, or OSError if that address cannot be used.
    """
    address = parse_address(text)
    with listening(address) as listener:
        if isinstance(address, Path):
            ready(str(address))
        else:
            host, port = listener.getsockname()[:2]
            ready(f"http://{f'[{host}]' if ':' in host else host}:{port}/metrics")
        _Server(listener, ask).serve_forever()


class _Server(socketserver.ThreadingMixIn, socketserver.BaseServer):
    """An HTTP server on a socket that listens already, for a few clients at once."""

    daemon_threads = True

    def __init__(self, listener: socket.socket, ask: Ask) -> None:
        super().__init__(listener.getsockname(), _Handler)
        self.socket = listener
        self.ask = ask
        self._room = threading.Semaphore(_MOST_CLIENTS)

    def fileno(self) -> int:
        return self.socket.fileno()

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = self.socket.accept()
        connection.settimeout(_PATIENCE)
        return connection, address

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """Whether there is room for one more; a connection without room is closed at once."""
        return self._room.acquire(blocking=False)

    def process_request(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request(request, client_address)
        except RuntimeError:  # there can be no more threads
            self._room.release()
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        timer = threading.Timer(2 * _PATIENCE, _cut, [request])  # for one that dribbles bytes
        timer.daemon = True
        timer.start()
        try:
            super().process_request_thread(request, client_address)
        finally:
            timer.cancel()
            self._room.release()

    def shutdown_request(self, request: Any) -> None:
        _cut(request)
        request.close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away or is too slow is no news."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


def _cut(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:  # it is gone already
        pass


class _Handler(http.server.BaseHTTPRequestHandler):
    server: _Server
    timeout = _PATIENCE

    def do_GET(self) -> None:
        if self.path.partition("?")[0] != "/metrics":
            self._answer(404, "text/plain; charset=utf-8", b"only /metrics is here\n")
            return
        try:
            body, content_type = rendered(self.server.ask(), self.headers.get("Accept", ""))
        except ControlError as error:
            self._answer(503, "text/plain; charset=utf-8", f"{error}\n".encode())
            return
        self._answer(200, content_type, body)

    def _answer(self, status: int, content_type: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def version_string(self) -> str:
        return "pycron"

    def address_string(self) -> str:
        return "client"  # one of a Unix socket has no address

    def log_message(self, *_: Any) -> None:
        """Requests are not logged."""


def asking(connect: Callable[[], ControlClient]) -> Ask:
    """A function that asks the daemon on a new connection, as it may have been restarted."""

    def ask() -> MetricsAnswer:
        client = connect()
        try:
            return client.request(MetricsRequest())
        finally:
            client.close()

    return ask


def _end_with_input() -> None:
    """End this process when the daemon that has started it is gone."""
    while os.read(0, 4096):
        pass
    os._exit(0)


def main() -> int:
    path, address = sys.argv[1:]
    threading.Thread(target=_end_with_input, daemon=True).start()
    try:
        serve(address, asking(lambda: ControlClient(Path(path), _PATIENCE)), lambda _: None)
    except (BadAddress, OSError) as error:
        sys.stderr.write(f"{address}: {error}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
