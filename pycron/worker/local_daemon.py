"""The worker's side of the control socket: what it serves, and the Runs that it asks for."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing

from pycron.control.client import ControlClient, ControlError
from pycron.protocol import work_messages
from pycron.protocol.work_messages import ServeAnswer, ServeRequest, WorkAnswer, WorkRequest
from pycron.worker.seldom import Seldom

Connect = Callable[[], ControlClient]
Say = Callable[[str], None]

_PAUSE = 1.0  # seconds until the daemon is asked again
_PATIENCE = 60.0  # seconds for which it is asked again; then the message is dropped


class LocalDaemon:
    """`connect` makes a connection to the daemon, and raises ControlError.

    After `stop`, no Run is asked for any more that the daemon has not taken.
    """

    def __init__(self, connect: Connect, say: Say) -> None:
        self._connect = connect
        self._say = say
        self._say_seldom = Seldom(say)
        self._stopping = threading.Event()

    def stop(self) -> None:
        self._stopping.set()

    def serve(self, request: ServeRequest) -> Iterator[ServeAnswer | None]:
        """What may be served, whenever that changes; None while nothing may be taken.

        Raises ControlError if the daemon cannot be asked at the first time, or refuses.
        """
        client, begins = self._connect(), True
        while True:
            try:
                for answer in client.answers(request):
                    if reason := answer.get("reason"):
                        self._say(f"takes no messages: {reason}")
                    yield None if reason else answer
                    begins = False
            except ControlError as error:
                client.close()
                if begins and error.answer:
                    raise
                self._say(f"{error}; takes no messages meanwhile")
            yield None
            client = self._connected_again()

    def work(self, request: WorkRequest) -> None:
        """Let the daemon run this, and wait until its Attempt has ended or is refused."""
        deadline = time.monotonic() + _PATIENCE
        while not self._work_once(request):
            over = time.monotonic() > deadline and not request.resume
            if over or (self._stopping.wait(_PAUSE) and not request.resume):
                return

    def _work_once(self, request: WorkRequest) -> bool:
        """Whether the daemon has said its last word about it."""
        try:
            with closing(self._connect()) as client:
                for answer in client.answers(request):
                    if answer["type"] != work_messages.TAKEN:
                        return not _wants_again(answer)
                    # It runs, also if this daemon ends: the next one knows it.
                    request.resume = True
        except ControlError as error:
            if error.answer:
                self._say_seldom(f"{request.name}: {error}")
                return True
        return False

    def _connected_again(self) -> ControlClient:
        while True:
            time.sleep(_PAUSE)
            try:
                return self._connect()
            except ControlError:
                continue


def _wants_again(answer: WorkAnswer) -> bool:
    return answer["type"] == work_messages.REFUSED and answer.get("again", False)
