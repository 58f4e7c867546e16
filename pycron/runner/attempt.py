"""One Attempt, as the runner knows it. Imported by the runner: it stays small."""

import os

from pycron.protocol.runner_messages import (
    AttemptMessage,
    EndedMessage,
    EndMessage,
    RefusedMessage,
    StartMessage,
)
from pycron.protocol.session_messages import ProcessValues
from pycron.runner.event_loop import NEVER
from pycron.runner.output_capture import OutputCapture
from pycron.runner.process_tree import ProcessTree

User = int | None  # a uid; None: the runner's own user


class Attempt:
    """An Attempt from its start message until the daemon has acknowledged its end.

    Before the command is started: `start` is the start message; `session` is what PAM has changed,
    if the command has a session; `starter` is the pid of the process that is about to start the
    command (0: none); `end` is an end message that has come meanwhile, and `signals` are to be
    sent, both as soon as the command has a pid.

    While it runs: `deadline` is the instant (monotonic) at which its time-out expires; `cause` and
    `reason` say why the runner ends it; `signals` were sent to it. `shell_waits`: its shell was
    left out, and would wait for it; `shell_stderr`: the stream on which the shell would print then
    (DirectRequest).

    Afterwards: `ended` is the message that says so.

    `pipes` are the open ends from which its output is read, each with the name of its stream.
    """

    __slots__ = (
        "cause", "deadline", "end", "ended", "id", "kill_after", "lease", "memory_max",
        "outlives_runner", "output", "pid", "pipes", "reason", "report_output", "session",
        "shell_stderr", "shell_waits", "signals", "start", "started", "starter", "timeout", "tree",
    )  # fmt: skip

    def __init__(self, start: StartMessage) -> None:
        self.id = start["id"]
        self.report_output = start["report_output"]
        self.timeout = start["timeout"]
        self.kill_after = start["kill_after"]
        self.memory_max = start["memory_max"]
        self.outlives_runner = start["outlives_runner"]
        self.lease = start["lease"]
        self.pid = 0
        self.started = 0.0
        self.deadline = NEVER
        self.signals: tuple[int, ...] = ()
        self.output: OutputCapture | None = None
        self.pipes: dict[int, str] = {}
        self.shell_waits = False
        self.shell_stderr: str | None = None
        self.tree = ProcessTree(os.geteuid() if start["user"] is None else start["user"]["uid"])
        self.cause: str | None = None
        self.reason: str | None = None
        self.ended: EndedMessage | RefusedMessage | None = None
        self.start: StartMessage | None = start
        self.session: ProcessValues | None = None
        self.starter = 0
        self.end: EndMessage | None = None

    @property
    def start_message(self) -> StartMessage:
        """The start message of an Attempt that is not started yet."""
        assert self.start is not None
        return self.start

    @property
    def kind(self) -> tuple[object, ...]:
        """The values that all commands of one batch have in common."""
        start = self.start_message
        return start["user"], start["nice"], start["processes_max"], self.session

    @property
    def user(self) -> User:
        """The user whose command is to be started."""
        user = self.start_message["user"]
        return None if user is None else user["uid"]

    @property
    def hold(self) -> int:
        """The UTC second until which the command is held; 0 if it starts at once."""
        return self.start_message["hold"] or 0

    def leave_out_shell(self) -> None:
        """It was started without its shell, which would wait for it."""
        direct = self.start_message["direct"]
        assert direct is not None
        self.shell_waits, self.shell_stderr = True, direct["shell_stderr"]

    def message(self) -> AttemptMessage:
        """The message about the present state of this Attempt."""
        if self.ended is not None:
            return self.ended
        if not self.pid:
            return {"type": "starting", "id": self.id}
        return {"type": "started", "id": self.id, "pid": self.pid, "started": self.started}
