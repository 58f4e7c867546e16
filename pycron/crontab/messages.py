"""Messages: what an entry with CRON_SEND has in place of a command.

`TASK [LIST] [OBJECT]`: the name of a task of Celery, or of a function of RQ, and its arguments as
JSON. A list has those without a name, an object has those with one.
"""

import json
import math
import re
from dataclasses import dataclass, field
from typing import Any, NoReturn

# The pool of the messages that name none: a colon cannot be in the name of another pool.
MESSAGE_POOL = ":message"

_TASK = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:/@+-]{0,254}", re.ASCII)
_BLANKS = " \t"


@dataclass(frozen=True, slots=True)
class Message:
    """A task and its arguments, which are values of JSON."""

    task: str
    arguments: list[Any] = field(default_factory=list)
    named: dict[str, Any] = field(default_factory=dict)


def read_message(command: str, stdin: str | None) -> Message:
    """The message in the text of an entry. Raises ValueError with the reason.

    `stdin`: what cron makes of the text behind a `%`, which a message cannot have.
    """
    if stdin is not None:
        raise ValueError("write \\% for a percent sign")
    task, *rest = command.split(None, 1) or [""]
    if not _TASK.fullmatch(task):
        raise ValueError(f'"{task[:80]}" is no name of a task')
    values = _values(rest[0].rstrip(_BLANKS)) if rest else []
    match values:
        case []:
            return Message(task)
        case [list() as arguments]:
            return Message(task, arguments)
        case [dict() as named]:
            return Message(task, named=named)
        case [list() as arguments, dict() as named]:
            return Message(task, arguments, named)
        case _:
            raise ValueError("the arguments are a list, an object, or a list and an object")


def _values(text: str) -> list[Any]:
    """The values of JSON in a text, at most three."""
    decoder = json.JSONDecoder(parse_constant=_refuse, parse_float=_finite)
    values: list[Any] = []
    at = 0
    try:
        while at < len(text) and len(values) < 3:
            value, end = decoder.raw_decode(text, at)
            values.append(value)
            at = end + len(text[end:]) - len(text[end:].lstrip(_BLANKS))
    except json.JSONDecodeError as error:
        where = f"column {error.pos + 1} of them"
        raise ValueError(f"the arguments are no JSON: {error.msg} ({where})") from None
    except RecursionError:
        raise ValueError("the arguments are nested too deeply") from None
    return values


def _refuse(word: str) -> NoReturn:
    raise json.JSONDecodeError(f"{word} is no number of JSON", "", 0)


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise json.JSONDecodeError("a number is too large", "", 0)
    return value
