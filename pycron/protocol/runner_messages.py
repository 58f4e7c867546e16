"""The messages between pycrond and the runner, and the checks of each message where it enters.

A message is one JSON object on a line (framing.py); each class here describes one. The runner
outlives the daemon, so a newer daemon may meet an older runner, and the reverse. Both begin with a
hello that has their protocol version. Unknown types and unknown keys are passed over, so the
version changes only when the meaning of an existing message does.

Instants are UTC seconds, durations are seconds, sizes are bytes. The id of an Attempt is the text
of its AttemptKey.

Imported by the runner: it stays small. A TypedDict is a plain dict at run time.
"""

from typing import Any, Literal, TypedDict, cast, get_args, get_origin

from pycron.protocol.framing import Message

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


# ---- checks

_Form = dict[str, tuple[type, ...]]
_UNION = type(int | None)
_NUMBERS = (int, float)
_LARGEST = 2**62  # of a number
_ADDED_LATER: dict[str, dict[str, Any]] = {  # what older versions do not send, and what it means
    "start": {"short_output": 0, "session": None, "outlives_runner": False, "lease": None},
    "refused": {"final": False},
    "ended": {"output": None},
    "output": {"stream": STDOUT, "data": ""},
}


def daemon_message(message: Message) -> DaemonMessage | None:
    """A message of the daemon, checked; None if only a newer version knows its type.

    Raises ValueError.
    """
    kind = _check(message, _OF_DAEMON)
    if kind == "start":
        _check_start(message)
    elif kind == "end" and message["cause"] not in CAUSES:
        raise ValueError(f"end: bad cause: {message['cause']!r}")
    return cast(DaemonMessage, message) if kind else None


def runner_message(message: Message) -> RunnerMessage | None:
    """A message of the runner, checked; None if only a newer version knows its type.

    Raises ValueError.
    """
    kind = _check(message, _OF_RUNNER)
    if kind and message.get("cause") not in (None, *CAUSES):
        raise ValueError(f"{kind}: bad cause: {message['cause']!r}")
    if kind == "output" and message["stream"] not in STREAMS:
        raise ValueError(f"output: bad stream: {message['stream']!r}")
    return cast(RunnerMessage, message) if kind else None


def runner_hello(message: Message) -> RunnerHello:
    """The first message of a runner, checked. Raises ValueError.

    An Attempt of a type that only a newer version knows is taken for one that is starting.
    """
    if _check(message, _HELLO) is None:
        raise ValueError(f"the first message is no hello: {message['type']!r}")
    message["attempts"] = [_known_attempt(attempt) for attempt in message["attempts"]]
    return cast(RunnerHello, message)


def _known_attempt(message: Any) -> AttemptMessage:
    if not isinstance(message, dict):
        raise ValueError(f"hello: bad attempts: {message!r}")
    if runner_message(message) is not None:
        return cast(AttemptMessage, message)
    _check_keys("hello", message, _STARTING)
    return {"type": "starting", "id": message["id"]}


def _check_start(message: Message) -> None:
    for key, form in (("user", _USER), ("session", _SESSION), ("lease", _LEASE)):
        if message[key] is not None:
            _check_keys("start", message[key], form)
    if not message["argv"]:
        raise ValueError("start: bad argv: nothing to run")


def _check(message: Message, forms: dict[str, _Form]) -> str | None:
    """The type of the message, if it is one of these types; raises ValueError."""
    kind = message.get("type")
    if not isinstance(kind, str):
        raise ValueError(f"bad type of a message: {kind!r}")
    if kind not in forms:
        return None
    for key, value in _ADDED_LATER.get(kind, {}).items():
        message.setdefault(key, value)
    _check_keys(kind, message, forms[kind])
    return kind


def _check_keys(kind: str, part: dict[str, Any], form: _Form) -> None:
    for key, types in form.items():
        if key not in part:
            raise ValueError(f"{kind}: bad {key}: missing")
        value = part[key]
        found = type(value)
        if found not in types or (found in _NUMBERS and not -_LARGEST <= value <= _LARGEST):
            raise ValueError(f"{kind}: bad {key}: {value!r}")  # NaN is outside, too


def _form(message: type) -> _Form:
    """The keys of a message, and the classes that their values may have."""
    hints = message.__annotations__.items()
    return {key: _classes(hint) for key, hint in hints if key != "type"}


def _classes(hint: Any) -> tuple[type, ...]:
    if isinstance(hint, _UNION):
        return tuple(each for part in get_args(hint) for each in _classes(part))
    if hint is float:
        return float, int
    if hasattr(hint, "__total__"):  # a TypedDict
        return (dict,)
    return (get_origin(hint) or hint,)


def _forms(messages: Any) -> dict[str, _Form]:
    return {get_args(each.__annotations__["type"])[0]: _form(each) for each in messages}


_OF_DAEMON = _forms(get_args(DaemonMessage))
_OF_RUNNER = _forms(get_args(RunnerMessage))
_HELLO = _forms([RunnerHello])
_STARTING = _form(StartingMessage)
_USER = _form(UserIds)
_SESSION = _form(SessionRequest)
_LEASE = _form(LeaseRequest)
