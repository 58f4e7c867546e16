"""The check of a request where it enters.

An error names the key, never the value: a value may be a secret.
"""

import json
from types import UnionType
from typing import (
    Any,
    Literal,
    NoReturn,
    Union,
    cast,
    get_args,
    get_origin,
    is_typeddict,
)

from pycron.delivery.request import MailRequest, NotifyRequest, PingRequest, Request
from pycron.model.run import Outcome

MAIL_OCCASIONS = ("output", "failed", "recovered", "late", "summary", "test")

_FORMS: dict[str, Any] = {"mail": MailRequest, "ping": PingRequest, "notify": NotifyRequest}
_LARGEST = 2**53  # beyond it, programs that read JSON disagree
_LATEST = 253402300799  # 9999-12-31T23:59:59Z: later dates have no text


class BadRequest(Exception):
    """The request is none that this program knows; the text names the key that is wrong."""


def checked(line: bytes) -> Request:
    """The request on this line of JSON. Raises BadRequest."""
    try:
        value = json.loads(line.decode(), parse_constant=_no_number)
    except (ValueError, RecursionError):
        raise BadRequest("the first line is no JSON") from None
    kind = value.get("kind") if isinstance(value, dict) else None
    if not isinstance(kind, str) or kind not in _FORMS:
        raise BadRequest("kind")
    wrong = _wrong_key(value, _FORMS[kind]) or _wrong_run(value)
    if not wrong and kind == "mail":
        wrong = _wrong_mail(value)
    if wrong:
        raise BadRequest(wrong)
    return cast(Request, value)


def _no_number(text: str) -> NoReturn:
    """JSON has no NaN and no infinity, but the parser of Python accepts them."""
    raise ValueError(text)


def _wrong_key(value: Any, form: Any) -> str | None:
    """The first key, such as `run.exit_status`, whose value does not have its type."""
    if not isinstance(value, dict):
        return "the request"
    for key, hint in form.__annotations__.items():
        if key not in value:
            return str(key)
        if is_typeddict(hint) and isinstance(value[key], dict):
            if wrong := _wrong_key(value[key], hint):
                return f"{key}.{wrong}"
        elif not _fits(value[key], hint):
            return str(key)
    return None


def _fits(value: Any, hint: Any) -> bool:
    if get_origin(hint) in (Union, UnionType):
        return any(_fits(value, part) for part in get_args(hint))
    if get_origin(hint) is Literal:
        return isinstance(value, str) and value in get_args(hint)
    if get_origin(hint) is list:
        return isinstance(value, list) and all(_fits(each, *get_args(hint)) for each in value)
    if is_typeddict(hint):
        return _wrong_key(value, hint) is None
    if hint in (int, float):
        return _is_number(value, hint)
    return isinstance(value, hint)


def _is_number(value: Any, hint: type) -> bool:
    """Whether it is a number that is not too large; no number of a request is below 0."""
    is_float = hint is float and isinstance(value, float)
    is_int = isinstance(value, int) and not isinstance(value, bool)
    return (is_float or is_int) and bool(0 <= value <= _LARGEST)


def _wrong_run(request: dict[str, Any]) -> str | None:
    run = request["run"]
    if run["outcome"] not in (None, *Outcome):
        return "run.outcome"
    return "run.fire_time" if run["fire_time"] > _LATEST else None


def _wrong_mail(request: dict[str, Any]) -> str | None:
    """The key of a mail that has the right type, and yet makes no sense."""
    if request["occasion"] not in MAIL_OCCASIONS:
        return "occasion"
    if not request["to"]:
        return "to"
    if any(
        run["fire_time"] > _LATEST or run["outcome"] not in (None, *Outcome)
        for run in request["summed"]
    ):
        return "summed"
    return _wrong_transport(request["transport"])


def _wrong_transport(transport: dict[str, Any]) -> str | None:
    if transport["kind"] == "sendmail":
        argv = transport["argv"]
        return None if argv and argv[0] and "\0" not in "".join(argv) else "transport.argv"
    if not transport["host"] or "\0" in transport["host"]:
        return "transport.host"
    return None if 0 < transport["port"] < 65536 else "transport.port"
