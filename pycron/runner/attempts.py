"""All that the runner knows of commands, from the order until their end is on record.

Imported by the runner: it stays small.
"""

import os
import resource
import signal
import time
from collections.abc import Collection

from pycron.protocol.framing import Message
from pycron.runner.attempt import Attempt
from pycron.runner.daemon_connection import DaemonConnection
from pycron.runner.limits import TreeLimits
from pycron.runner.log import say
from pycron.runner.output_pipes import OutputPipes
from pycron.runner.start_failures import StartFailures

Usage = resource.struct_rusage


class Attempts:
    """What becomes of commands is noted here, and told to the daemon."""

    def __init__(
        self,
        link: DaemonConnection,
        output_pipes: OutputPipes,
        tree_limits: TreeLimits,
        start_failures: StartFailures,
    ) -> None:
        self._link = link
        self._output_pipes = output_pipes
        self._tree_limits = tree_limits
        self._start_failures = start_failures
        self._by_id: dict[str, Attempt] = {}
        self._by_pid: dict[int, Attempt] = {}

    def __len__(self) -> int:
        return len(self._by_id)

    @property
    def running(self) -> Collection[Attempt]:
        return self._by_pid.values()

    def messages(self) -> list[Message]:
        return [attempt.message() for attempt in self._by_id.values()]

    def __getitem__(self, id: str) -> Attempt:
        return self._by_id[id]

    def get(self, id: str) -> Attempt | None:
        return self._by_id.get(id)

    def of_process(self, pid: int) -> Attempt | None:
        """The one whose command it is."""
        return self._by_pid.get(pid)

    def add(self, attempt: Attempt) -> None:
        self._by_id[attempt.id] = attempt

    def drop(self, id: str) -> None:
        """It is not to be."""
        del self._by_id[id]

    def forget(self, id: str) -> None:
        """Its end is on record."""
        attempt = self._by_id.get(id)
        if attempt is not None and attempt.ended is not None:
            del self._by_id[id]  # its pipe is still pumped where a child of it has it open

    def started(self, attempt: Attempt, pid: int, started: float) -> None:
        attempt.pid, attempt.started = pid, started
        attempt.tree.leader = pid
        attempt.order = None  # thousands may run
        self._by_pid[pid] = attempt
        self._output_pipes.started(attempt)
        self._tree_limits.limit(attempt)
        self._link.tell(attempt)
        for number in attempt.signals:
            self.signal(attempt.id, number)
        if attempt.end_order is not None:
            self.end(attempt, attempt.end_order)

    def signal(self, id: str, number: int) -> None:
        attempt = self._by_id.get(id)
        signal.Signals(number)  # a ValueError for what is none
        if attempt is not None and not attempt.pid and attempt.ended is None:
            attempt.signals += (number,)  # for when it has one
        if attempt is None or attempt.pid not in self._by_pid:
            return  # ended: its pid may be somebody else's by now
        try:
            try:
                os.killpg(attempt.pid, number)
            except ProcessLookupError:
                os.kill(attempt.pid, number)  # not the leader of its group yet
        except PermissionError:
            say(f"{id}: not permitted to signal its processes")

    def end(self, attempt: Attempt, end_order: Message) -> None:
        """End one that has a pid."""
        self._tree_limits.end(
            attempt, end_order["cause"], end_order["reason"], end_order["kill_after"]
        )

    def refused(self, attempt: Attempt, cause: str | None, reason: str) -> None:
        attempt.ended = {"type": "refused", "id": attempt.id, "cause": cause, "reason": reason}
        self._link.tell(attempt)

    def ended(self, attempt: Attempt, status: int, usage: Usage) -> None:
        self._by_pid.pop(attempt.pid, None)
        output = self._output_pipes.drain(attempt)
        # Without a daemon it could be here for long, and with many others.
        short = output.take_short() if self._link.greeted else None
        output.finish()
        self._tree_limits.blame_memory(attempt)
        failure = self._start_failures.take(attempt.id)
        attempt.reason = attempt.reason or failure
        attempt.ended = _end_of(attempt, status, usage, short)
        self._tree_limits.leave_behind(attempt.tree)
        self._link.tell_of_output(attempt)
        self._link.tell(attempt)


def _end_of(attempt: Attempt, status: int, usage: Usage, short: bytes | None) -> Message:
    code = os.waitstatus_to_exitcode(status)
    output, cgroup = attempt.output, attempt.tree.cgroup
    assert output is not None
    return {
        "type": "ended",
        "id": attempt.id,
        "pid": attempt.pid,
        "started": attempt.started,
        "ended": time.time(),
        "exit_status": code if code >= 0 else None,
        "signal": -code if code < 0 else None,
        "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 6),
        "memory_peak": (cgroup and cgroup.memory_peak()) or usage.ru_maxrss * 1024,
        "output_bytes": output.total,
        "output_kept": output.kept,
        "output": short and short.decode("latin-1"),
        "cause": attempt.cause,
        "reason": attempt.reason,
    }
