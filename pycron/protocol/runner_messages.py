"""The messages between pycrond and the runner; runner_checks.py checks each where it enters.

A message is one JSON object on a line (framing.py); each class here describes one. The runner
outlives the daemon, so a newer daemon may meet an older runner, and the reverse. Both begin with a
hello that has their protocol version. Unknown types and unknown keys are passed over, so the
version changes only when the meaning of an existing message does.

Instants are UTC seconds, durations are seconds, sizes are bytes. The id of an Attempt is the text
of its AttemptKey.

Imported by the runner: it stays small. A TypedDict is a plain dict at run time.
"""

from typing import Any, Literal, TypedDict

# 2: a go message comes ahead of its time. 3: a start message may need a PAM session. 4: an output
# message has what was printed; before, it only said that the output file had grown.
PROTOCOL = 5  # 5: a start message may have a lease
CAUSES = ("timeout", "memory", "cancelled", "lease")  # why the runner ends an Attempt
STDOUT, STDERR = STREAMS = ("stdout", "stderr")
WINDOW = 262_144  # bytes of output that may be on their way from the runner to the daemon

# ---- from the daemon to the runner


class DaemonHello(TypedDict):
    """The first message of a daemon; the runner answers with RunnerHello."""

    type: Literal["hello"]
    protocol: int


class UserIds(TypedDict):
    """The user that a command runs as."""

    uid: int
    gid: int
    groups: list[int]


class SessionRequest(TypedDict):
    """The PAM session in which a command runs.

    `service`: a file in /etc/pam.d. `user`: the name of the account. `check_account`: the command
    is not started if PAM says that the account may not be used. `timeout`: seconds for PAM.
    """

    service: str
    user: str
    check_account: bool
    timeout: int


class LeaseRequest(TypedDict):
    """The command may run while this file names this incarnation, and until its deadline."""

    file: str
    incarnation: str


OPERATORS = (">", ">>", "<", ">&")
# A descriptor, `>`, `>>`, `<` or `>&`, and a path or (after `>&`) another descriptor.
RedirectionRow = list[Any]


class DirectRequest(TypedDict):
    """Execute these words, because the shell would do nothing else.

    `shell`: the program gets the environment that this shell would have given it (shells.py).
    `shell_waits`: the shell would wait for the program, and its own status and output would say
    which signal has ended the program; otherwise the program takes the place of the shell.
    `shell_stderr`: the stream on which it would say that; None: it would not be heard.
    """

    shell: str
    shell_waits: bool
    shell_stderr: str | None
    argv: list[str]
    redirections: list[RedirectionRow]


class StartMessage(TypedDict):
    """Start the command of an Attempt.

    `user`: None if the command runs as the runner's own user. `cwd_required`: the command is not
    run if `cwd` cannot be entered; otherwise it runs in `/`. `stdin`: None if the command has no
    input. `output`: path of the output file, which keeps `output_limit` bytes. An output of at most
    `short_output` bytes may come with the `ended` message instead of being in the file.
    `report_output`: send what is printed in `output` messages; stdout and stderr are then two
    pipes. `processes_max`: how many processes the Attempt may have. `hold`: the command waits for
    the `go` message of this UTC second; None if it starts at once. `session`: None if the command
    has no PAM session. A runner before protocol 3 would start the command without one, so the
    daemon does not ask it to.
    `outlives_runner`: if the runner is killed, the next one leaves the command alone, and the
    Attempt is lost at once. Otherwise the next one ends it first.
    `direct`: what is executed instead of `argv`; None: nothing else. If that is not possible, for
    whatever reason, `argv` is executed.
    """

    type: Literal["start"]
    id: str
    argv: list[str]
    env: dict[str, str]
    user: UserIds | None
    cwd: str
    cwd_required: bool
    umask: int | None
    nice: int | None
    stdin: str | None
    output: str
    output_limit: int
    short_output: int
    report_output: bool
    hold: int | None
    timeout: int | None
    kill_after: int
    memory_max: int | None
    processes_max: int
    session: SessionRequest | None
    outlives_runner: bool
    lease: LeaseRequest | None
    direct: DirectRequest | None


class GoMessage(TypedDict):
    """Commands that are held until this UTC second or an earlier one start at this second.

    The second has come or, since protocol 2, comes within a moment.
    """

    type: Literal["go"]
    until: int


class DropMessage(TypedDict):
    """Forget a held start. When the connection ends, the runner forgets all held starts."""

    type: Literal["drop"]
    id: str


class TakenMessage(TypedDict):
    """The daemon has dealt with so many more bytes of `output` messages.

    While it has not, for WINDOW bytes or more, the runner reads no more output that is to be
    reported: a command that prints faster than its output is shown has to wait.
    """

    type: Literal["taken"]
    bytes: int


class AckMessage(TypedDict):
    """The ends of these Attempts are recorded; the runner forgets them."""

    type: Literal["ack"]
    ids: list[str]


class SignalMessage(TypedDict):
    """Send a signal to the process group of an Attempt."""

    type: Literal["signal"]
    id: str
    signal: int


class EndMessage(TypedDict):
    """Send TERM to all processes of an Attempt, and KILL `kill_after` seconds later.

    An Attempt that has not been started yet never will be. If an Attempt is ended more than once,
    the first cause and the earliest KILL hold.
    """

    type: Literal["end"]
    id: str
    cause: str
    reason: str
    kill_after: int


class ByeMessage(TypedDict):
    """The daemon ends in good order: all its messages have reached the runner."""

    type: Literal["bye"]


class LeaveMessage(TypedDict):
    """The same as `bye`, and the runner exits as soon as nothing runs and all ends are told."""

    type: Literal["leave"]


class PingMessage(TypedDict):
    """Nothing is to be done. That the runner reads the message shows that it works."""

    type: Literal["ping"]


DaemonMessage = (
    DaemonHello | StartMessage | GoMessage | DropMessage | TakenMessage | AckMessage | SignalMessage
    | EndMessage | ByeMessage | LeaveMessage | PingMessage
)  # fmt: skip

# ---- from the runner to the daemon


class StartingMessage(TypedDict):
    """The runner knows the Attempt, and its process does not exist yet. Only in RunnerHello.

    Or an earlier runner was killed while it ran, and its processes are being ended.
    """

    type: Literal["starting"]
    id: str


class StartedMessage(TypedDict):
    """The process of an Attempt exists. Not sent if the Attempt has ended in the meantime."""

    type: Literal["started"]
    id: str
    pid: int
    started: float


class RefusedMessage(TypedDict):
    """No process exists, and none will.

    `cause`: None if the process could not be forked or the start message was wrong; otherwise the
    Attempt was ended before it was started. `final`: a retry would be refused, too.
    """

    type: Literal["refused"]
    id: str
    cause: str | None
    reason: str
    final: bool


class EndedMessage(TypedDict):
    """The process of an Attempt has ended, with `exit_status` or with `signal`.

    `output_bytes` were printed, `output_kept` of them are stored: in the output file, or, if
    `output` is not None, in `output`, which has one character for each byte. `cause`: why the
    runner ended the Attempt; None if it ended by itself.
    """

    type: Literal["ended"]
    id: str
    pid: int
    started: float
    ended: float
    exit_status: int | None
    signal: int | None
    cpu_seconds: float
    memory_peak: int
    output_bytes: int
    output_kept: int
    output: str | None
    cause: str | None
    reason: str | None


class LostMessage(TypedDict):
    """An earlier runner was killed while the Attempt ran; its processes were found and ended."""

    type: Literal["lost"]
    id: str
    reason: str


class OutputMessage(TypedDict):
    """What an Attempt has printed, in the order of one stream.

    `data` has one character for each byte; it is empty at the end of the stream. That may come
    after the end of the Attempt, if a background process has the stream open.
    """

    type: Literal["output"]
    id: str
    stream: str
    data: str


AttemptMessage = StartingMessage | StartedMessage | RefusedMessage | EndedMessage | LostMessage
RunnerMessage = StartedMessage | RefusedMessage | EndedMessage | LostMessage | OutputMessage


class RunnerHello(TypedDict):
    """The first message of a runner.

    `instance` names the runner process: its pid, a minus sign and a number. `cgroup`: the cgroup
    below which the runner makes one for each Attempt, or None. `attempts`: all Attempts that the
    runner knows.
    """

    type: Literal["hello"]
    protocol: int
    instance: str
    cgroup: str | None
    attempts: list[AttemptMessage]
