"""The client of the control socket."""

import contextlib
import os
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from pycron.protocol.control_answers import ProblemRow, Refused
from pycron.protocol.control_checks import check_answer
from pycron.protocol.control_messages import ON_BEHALF_OF, Request, request_message
from pycron.protocol.framing import CHUNK, Decoder, Message, encode
from pycron.system import unix_sockets

A = TypeVar("A")

_LARGEST_ANSWER = 256 * 2**20


class ControlError(Exception):
    """There is no answer, or the daemon refuses the request; then `answer` is its refusal."""

    def __init__(self, message: str, answer: Message | None = None) -> None:
        super().__init__(message)
        self.answer = answer or {}

    @property
    def problems(self) -> list[ProblemRow]:
        """The problems of a table that was refused; empty for any other error."""
        try:
            return check_answer(Refused, self.answer).get("problems", [])
        except ValueError:
            return []


class NoDaemon(ControlError):
    """Nobody listens on the socket, or the user may not connect to it."""


class ControlClient:
    """A connection to the daemon of a run directory.

    `on_behalf_of`: the user for whom the requests are; None: this process's own. The daemon takes
    it from the account of the page only.
    """

    on_behalf_of: str | None = None

    def __init__(
        self, path: Path, patience: float = 30.0, advice: str = "is pycrond running?"
    ) -> None:
        """Raises NoDaemon when no daemon answers there, or one of another user who is not root.

        `patience`: seconds for each answer. `advice`: what to do if no daemon is running.
        """
        self._path = path
        self._patience = patience
        self._advice = advice
        self._connect()

    def _connect(self) -> None:
        self._decoder = Decoder(_LARGEST_ANSWER)
        self._received: deque[Message] = deque()
        try:
            self._connection = unix_sockets.connect(str(self._path), self._patience)
            self._check_server()
        except OSError as error:
            message = f"no pycron daemon answers at {self._path}: {error.strerror}"
            if not isinstance(error, PermissionError):
                message += f"; {self._advice}"
            raise NoDaemon(message) from error

    def _check_server(self) -> None:
        """A daemon gets tables and gives orders: only root's and one's own. Raises NoDaemon."""
        _, uid, _ = unix_sockets.credentials(self._connection)
        if uid not in (0, os.geteuid()):
            self._connection.close()
            raise NoDaemon(
                f"{self._path}: a process of uid {uid} listens there, not root and not you;"
                " nothing was sent to it (speak to that user's daemon as that user)"
            )

    def request(self, request: Request[A]) -> A:
        """The answer to a typed request, checked. Raises ControlError as `ask` does.

        Also if the answer lacks a key, or its value has another type.
        """
        return self._checked(request, self.ask(**request_message(request)))

    def pages(
        self, first: Request[A], behind: Callable[[Message], Request[A] | None]
    ) -> Iterator[A]:
        """The answers to requests of which each says what the next one is; checked.

        `behind`: the request after an answer, which is not checked yet; None: it was the last. The
        daemon makes the next answer while this one is checked and used, so until the last one
        nothing else may be asked over this connection. Raises ControlError as `ask` does.
        """
        request: Request[A] | None = first
        self._send(request_message(first))
        while request is not None:
            answer, answered = self._answer(), request
            request = behind(answer)
            if request is not None:
                self._send(request_message(request))
            yield self._checked(answered, answer)

    def answers(self, request: Request[A]) -> Iterator[A]:
        """The answers to a request that gets several, without an end; checked.

        Waits for those after the first as long as the connection lasts. Raises ControlError as
        `ask` does.
        """
        yield self.request(request)
        self._connection.settimeout(None)
        while True:
            yield self._checked(request, self._answer())

    def _checked(self, request: Request[A], message: Message) -> A:
        del message["ok"]
        try:
            return check_answer(request.answer, message)
        except ValueError as error:
            raise ControlError(
                f'the answer of the pycron daemon to {request.verb} has no usable "{error}";'
                " it may be of another version than this program"
            ) from None

    def ask(self, verb: object, **arguments: object) -> Message:
        """The answer to a request. Raises ControlError if there is none, or it is a refusal."""
        self._send({"verb": verb, **arguments})
        return self._answer()

    def _send(self, message: Message) -> None:
        if self.on_behalf_of is not None:
            message = {**message, ON_BEHALF_OF: self.on_behalf_of}
        try:
            # A daemon that refuses a request before its end answers, and closes the connection.
            with contextlib.suppress(BrokenPipeError):
                self._connection.sendall(encode([message]))
        except (OSError, ValueError) as error:
            raise self._no_answer(error) from error

    def _no_answer(self, error: Exception) -> ControlError:
        return ControlError(f"no answer from the pycron daemon at {self._path}: {error}")

    def _answer(self) -> Message:
        try:
            answer = self._receive()
        except (OSError, ValueError) as error:
            raise self._no_answer(error) from error
        if not answer.get("ok"):
            raise ControlError(str(answer.get("error")), answer)
        return answer

    def _receive(self) -> Message:
        while not self._received:
            data = self._connection.recv(CHUNK)
            if not data:
                raise OSError("it closed the connection")
            self._received += self._decoder.feed(data)
        return self._received.popleft()

    def close(self) -> None:
        self._connection.close()

    @property
    def address(self) -> tuple[Path, float, str]:
        """What a connection to the same daemon is made with."""
        return self._path, self._patience, self._advice

    def again(self) -> "ControlClient":
        """A new connection to the same daemon. Raises ControlError."""
        return ControlClient(*self.address)
