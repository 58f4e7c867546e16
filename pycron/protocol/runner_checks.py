"""The checks of the messages between pycrond and the runner, where they enter.

Imported by the runner: it stays small.
"""

from typing import Any, cast, get_args, get_origin

from pycron.protocol.framing import Message
from pycron.protocol.runner_messages import (
    CAUSES,
    OPERATORS,
    STDOUT,
    STREAMS,
    AttemptMessage,
    DaemonMessage,
    DirectRequest,
    LeaseRequest,
    RunnerHello,
    RunnerMessage,
    SessionRequest,
    StartingMessage,
    UserIds,
)

_Form = dict[str, tuple[type, ...]]
_UNION = type(int | None)
_NUMBERS = (int, float)
_LARGEST = 2**62  # of a number
_STANDARD = (0, 1, 2)  # the descriptors that a redirection may name
_ADDED_LATER: dict[str, dict[str, Any]] = {  # what older versions do not send, and what it means
    "start": {
        "short_output": 0,
        "session": None,
        "outlives_runner": False,
        "lease": None,
        "direct": None,
    },
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
    for key, form in _PARTS_OF_START:
        if message[key] is not None:
            _check_keys("start", message[key], form)
    if not message["argv"]:
        raise ValueError("start: bad argv: nothing to run")
    if message["direct"] is not None:
        _check_direct(message["direct"])


def _check_direct(direct: dict[str, Any]) -> None:
    if not direct["argv"]:
        raise ValueError("start: bad argv: nothing to run")
    for row in direct["redirections"]:
        if not (isinstance(row, list) and len(row) == 3 and _is_redirection(*row)):
            raise ValueError(f"start: bad redirections: {row!r}")


def _is_redirection(descriptor: object, operator: object, target: object) -> bool:
    if descriptor not in _STANDARD or operator not in OPERATORS:
        return False
    return target in _STANDARD if operator == ">&" else isinstance(target, str)


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
_DIRECT = _form(DirectRequest)
_PARTS_OF_START = (
    ("user", _USER), ("session", _SESSION), ("lease", _LEASE), ("direct", _DIRECT),
)  # fmt: skip
