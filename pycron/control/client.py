"""The client of the control socket."""

from pathlib import Path

from pycron.protocol.framing import CHUNK, Decoder, Message, encode
from pycron.system import unix_sockets

_LARGEST_ANSWER = 256 * 2**20


class ControlError(Exception):
    """No answer, or one that says no. `answer` is what came, where something came."""

    def __init__(self, message: str, answer: Message | None = None) -> None:
        super().__init__(message)
        self.answer = answer or {}


class ControlClient:
    """A connection to the daemon of a run directory."""

    def __init__(self, path: Path, patience: float = 30.0) -> None:
        """Raises ControlError when nobody answers there."""
        self._path = path
        self._decoder = Decoder(_LARGEST_ANSWER)
        try:
            self._connection = unix_sockets.connect(str(path), patience)
        except OSError as error:
            raise ControlError(
                f"no pycron daemon answers at {path}: {error.strerror}; is pycrond running?"
            ) from error

    def ask(self, verb: str, **arguments: object) -> Message:
        """The answer to a request. Raises ControlError when there is none, or it is a no."""
        try:
            self._connection.sendall(encode([{"verb": verb, **arguments}]))
            answer = self._receive()
        except (OSError, ValueError) as error:
            raise ControlError(f"no answer from the pycron daemon at {self._path}: {error}") from (
                error
            )
        if not answer.get("ok"):
            raise ControlError(str(answer.get("error")), answer)
        return answer

    def _receive(self) -> Message:
        while True:
            data = self._connection.recv(CHUNK)
            if not data:
                raise OSError("it closed the connection")
            for message in self._decoder.feed(data):
                return message

    def close(self) -> None:
        self._connection.close()

    def again(self) -> "ControlClient":
        """A new connection to the same daemon. Raises ControlError."""
        return ControlClient(self._path)
