"""Ends the commands of a runner whose daemon has stopped.

The runner keeps how the commands ended, and the next daemon records it.
"""

from contextlib import closing
from pathlib import Path
from socket import SHUT_WR, socket

from pycron.cli.errors import Failed
from pycron.protocol.framing import CHUNK, Decoder, encode
from pycron.protocol.runner_checks import runner_hello
from pycron.protocol.runner_messages import (
    PROTOCOL,
    AttemptMessage,
    ByeMessage,
    DaemonHello,
    EndMessage,
    RunnerHello,
)
from pycron.system import unix_sockets

_PATIENCE = 60.0  # seconds for an answer of a runner that may be busy
_LARGEST_MESSAGE = 256 * 2**20  # bytes
_KILL_AFTER = 10  # seconds: the default of CRON_KILL_AFTER; the runner does not know the Job's


def end_commands(path: Path, by: str, kill_after: int | None) -> list[str] | None:
    """End all commands of the runner with this socket; the ids of their Attempts.

    None if no runner answers there. Raises Failed, and OSError if this user may not connect. The
    runner takes one daemon at a time: while one is connected, it closes this connection.
    """
    try:
        connection = unix_sockets.connect(str(path), _PATIENCE)
    except (FileNotFoundError, ConnectionRefusedError):
        return None
    with closing(connection):
        try:
            return _end(connection, by, _KILL_AFTER if kill_after is None else kill_after)
        except (OSError, ValueError) as error:
            raise Failed(f"the runner at {path}: {error}") from None


def _end(connection: socket, by: str, kill_after: int) -> list[str]:
    greeting: DaemonHello = {"type": "hello", "protocol": PROTOCOL}
    connection.sendall(encode([greeting]))
    attempts = _hello(connection)["attempts"]
    running = [each["id"] for each in attempts if _is_command(each)]
    ends = [_end_message(attempt, by, kill_after) for attempt in running]
    parting: ByeMessage = {"type": "bye"}
    connection.sendall(encode([*ends, parting]))
    connection.shutdown(SHUT_WR)
    while connection.recv(CHUNK):  # until the runner has read all of this
        pass
    return running


def _is_command(attempt: AttemptMessage) -> bool:
    """Whether this runs, and is not a mail or the like that is being sent: that comes to an end.

    The runner does not know the difference. It would be lost: what was cancelled is not sent again.
    """
    if attempt["type"] == "started":
        try:
            program = Path(f"/proc/{attempt['pid']}/cmdline").read_bytes().split(b"\0")
        except OSError:  # it has ended
            return True
        return b"pycron.delivery" not in program
    return attempt["type"] == "starting"


def _end_message(attempt: str, by: str, kill_after: int) -> EndMessage:
    return {
        "type": "end",
        "id": attempt,
        "cause": "cancelled",
        "reason": f"cancelled by {by}",
        "kill_after": kill_after,
    }


def _hello(connection: socket) -> RunnerHello:
    """The first message of the runner. Raises OSError or ValueError."""
    decoder = Decoder(_LARGEST_MESSAGE)
    while data := connection.recv(CHUNK):
        for message in decoder.feed(data):
            return runner_hello(message)
    raise OSError("it has closed the connection: a daemon is connected to it")
