"""The threads that perform calls: each lane has one, with a connection of its own."""

import queue
import threading
import traceback
from collections.abc import Callable

from pycron.cluster.calls import Call, Caller, CallFailed
from pycron.cluster.events import Answered, Failed, Lane
from pycron.system.thread_queue import ThreadQueue

Connect = Callable[[], Caller]


class Lanes:
    """`fileno` can be read from while `take` has something to return."""

    def __init__(self, connect: Connect) -> None:
        self._results: ThreadQueue[Answered | Failed] = ThreadQueue()
        self._calls = {lane: self._start(lane, connect) for lane in Lane}

    def fileno(self) -> int:
        return self._results.fileno()

    def perform(self, lane: Lane, call: Call) -> None:
        """Perform the call in its lane, behind what waits there."""
        self._calls[lane].put(call)

    def take(self) -> list[Answered | Failed]:
        """What has been answered, or has failed, since the last call."""
        return self._results.take()

    def _start(self, lane: Lane, connect: Connect) -> "queue.SimpleQueue[Call]":
        calls: queue.SimpleQueue[Call] = queue.SimpleQueue()
        threading.Thread(
            target=self._serve, args=(lane, connect, calls), name=lane.value, daemon=True
        ).start()
        return calls

    def _serve(self, lane: Lane, connect: Connect, calls: "queue.SimpleQueue[Call]") -> None:
        caller: Caller | None = None
        while True:
            call = calls.get()
            result: Answered | Failed
            try:
                caller = caller or connect()
                result = Answered(lane, caller.perform(call))
            except CallFailed as error:
                result = Failed(lane, str(error))
            except ImportError as error:
                result = Failed(lane, f"{error} (pip install 'pycrond[cluster]')")
            except Exception as error:  # noqa: BLE001  the lane must go on, and the log has it
                traceback.print_exc()
                result = Failed(lane, repr(error))
            self._results.put(result)
