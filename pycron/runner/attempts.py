"""All Attempts that the runner knows, from their start message until their end is acknowledged.

Imported by the runner: it stays small.
"""

import os
import resource
import signal
import time
from collections.abc import Collection, Iterator

from pycron.protocol.runner_messages import AttemptMessage, EndedMessage, EndMessage
from pycron.runner.attempt import Attempt
from pycron.runner.daemon_connection import DaemonConnection
from pycron.runner.left_out_shell import status_told, words_told
from pycron.runner.log import say
from pycron.runner.output_pipes import OutputPipes
from pycron.runner.session_helper import SessionHelper
from pycron.runner.start_failures import StartFailures
from pycron.runner.tree_limits import TreeLimits

Usage = resource.struct_rusage


class Attempts:
    """Notes what happens to each Attempt, and tells the daemon."""

    def __init__(
        self,
        daemon: DaemonConnection,
        output_pipes: OutputPipes,
        tree_limits: TreeLimits,
        start_failures: StartFailures,
        sessions: SessionHelper,
    ) -> None:
        self._daemon = daemon
        self._output_pipes = output_pipes
        self._tree_limits = tree_limits
        self._start_failures = start_failures
        self._sessions = sessions
        self._by_id: dict[str, Attempt] = {}
        self._by_pid: dict[int, Attempt] = {}

    def __len__(self) -> int:
        return len(self._by_id)

    @property
    def running(self) -> Collection[Attempt]:
        return self._by_pid.values()

    @property
    def not_ended(self) -> Iterator[Attempt]:
        """Also those that are not started yet."""
        return (attempt for attempt in self._by_id.values() if attempt.ended is None)

    def messages(self) -> list[AttemptMessage]:
        return [attempt.message() for attempt in self._by_id.values()]

    def get(self, id: str) -> Attempt | None:
        return self._by_id.get(id)

    def of_process(self, pid: int) -> Attempt | None:
        """The Attempt whose command has this pid."""
        return self._by_pid.get(pid)

    def add(self, attempt: Attempt) -> None:
        self._by_id[attempt.id] = attempt

    def drop(self, id: str) -> None:
        """Forget an Attempt that was held and will not be started."""
        self._sessions.close(self._by_id.pop(id))

    def forget(self, id: str) -> None:
        """Forget an Attempt whose end the daemon has recorded.

        Its output is still captured while a background child has the pipe open.
        """
        attempt = self._by_id.get(id)
        if attempt is not None and attempt.ended is not None:
            del self._by_id[id]

    def started(self, attempt: Attempt, pid: int, started: float) -> None:
        attempt.pid, attempt.started = pid, started
        attempt.tree.leader = pid
        attempt.start = attempt.session = None  # to save memory: thousands may run
        self._by_pid[pid] = attempt
        self._output_pipes.started(attempt)
        self._tree_limits.limit(attempt)
        self._daemon.tell(attempt)
        waiting, attempt.signals = attempt.signals, ()
        for number in waiting:
            self.signal(attempt.id, number)
        if attempt.end is not None:
            self.end(attempt, attempt.end)

    def signal(self, id: str, number: int) -> None:
        """Signal the process group of an Attempt. Raises ValueError if there is no such signal."""
        attempt = self._by_id.get(id)
        signal.Signals(number)
        if attempt is not None and attempt.ended is None:
            attempt.signals += (number,)  # sent as soon as it has a pid
        if attempt is None or attempt.pid not in self._by_pid:
            return  # it has ended, and its pid may belong to another process by now
        try:
            try:
                os.killpg(attempt.pid, number)
            except ProcessLookupError:
                os.kill(attempt.pid, number)  # it is not the leader of its group yet
        except PermissionError:
            say(f"{id}: not permitted to signal its processes")

    def end(self, attempt: Attempt, message: EndMessage) -> None:
        """End an Attempt that has a pid."""
        self._tree_limits.end(attempt, message["cause"], message["reason"], message["kill_after"])

    def kill(self, attempt: Attempt, cause: str | None, reason: str) -> None:
        """End an Attempt at once, without TERM before KILL."""
        self._tree_limits.end(attempt, cause, reason, 0)

    def refused(
        self, attempt: Attempt, cause: str | None, reason: str, *, final: bool = False
    ) -> None:
        attempt.ended = {
            "type": "refused", "id": attempt.id, "cause": cause, "reason": reason, "final": final,
        }  # fmt: skip
        self._sessions.close(attempt)
        self._daemon.tell(attempt)

    def ended(self, attempt: Attempt, status: int, usage: Usage) -> None:
        self._by_pid.pop(attempt.pid, None)
        self._tree_limits.blame_memory(attempt)
        told = _is_told_by_shell(attempt, status)
        output = self._output_pipes.drain(attempt)
        if attempt.shell_stderr is not None:
            self._output_pipes.tell(attempt, words_told(status) if told else b"")
        # Without a daemon the output could stay in memory for long, together with many others.
        whole = self._daemon.greeted and not attempt.pipes
        short = output.take_short() if whole else None
        output.finish()
        failure = self._start_failures.take(attempt.id)
        attempt.reason = attempt.reason or failure
        end = status_told(status) if told else status
        attempt.ended = _ended_message(attempt, end, usage, short)
        self._tree_limits.leave_behind(attempt.tree)
        self._sessions.close(attempt)
        self._daemon.tell(attempt)


def _is_told_by_shell(attempt: Attempt, status: int) -> bool:
    """Whether the shell, which was left out, would say how its command has ended.

    A signal of the runner, or of the kernel to all processes of the tree, ends a shell, too.
    """
    if not attempt.shell_waits or attempt.cause is not None:
        return False
    return os.WIFSIGNALED(status) and os.WTERMSIG(status) not in attempt.signals


def _ended_message(
    attempt: Attempt, status: int, usage: Usage, short: bytes | None
) -> EndedMessage:
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
        "output": short.decode("latin-1") if short else None,
        "cause": attempt.cause,
        "reason": attempt.reason,
    }
