"""The check of a message between daemon and agent, by the TypedDict that it has to be.

Both ends check: the agent speaks to a database on another machine, and the daemon is root.
"""

from collections.abc import Collection, Mapping
from functools import cache
from typing import Annotated, Any, Literal, NotRequired, get_args, get_origin, get_type_hints

from pycron.protocol.framing import is_utf8

Choices = Mapping[str, Collection[str]]
_LARGEST = 2**53  # of a number
_LONGEST_TEXT = 4096  # characters


def check_object(path: str, kind: Any, value: Any, choices: Choices) -> None:
    """Check an object by the TypedDict that it has to be. Raises ValueError, which names the key.

    `choices`: the texts that a key of this name may have, wherever it stands.
    """
    if type(value) is not dict:
        raise ValueError(f"bad {path}: {value!r}")
    for key, (hint, required) in _fields(kind).items():
        if key in value:
            _check_value(f"{path}.{key}", hint, value[key], choices)
            if key in choices and value[key] not in choices[key]:
                raise ValueError(f"bad {path}.{key}: {value[key]!r}")
        elif required:
            raise ValueError(f"bad {path}.{key}: missing")


def _check_value(path: str, hint: Any, value: Any, choices: Choices) -> None:
    if isinstance(hint, type(int | None)) and value is not None:
        others = [each for each in get_args(hint) if each is not type(None)]
        if len(others) == 1:  # such as list[str] | None
            hint = others[0]
    origin = get_origin(hint)
    if hasattr(hint, "__total__"):  # a TypedDict
        check_object(path, hint, value, choices)
    elif origin is list and type(value) is list:
        for each in value:
            _check_value(path, get_args(hint)[0], each, choices)
    elif origin is dict and type(value) is dict:
        for name, each in value.items():
            _check_value(path, str, name, choices)
            _check_value(path, get_args(hint)[1], each, choices)
    elif not _is_plain(hint, value):
        raise ValueError(f"bad {path}: {value!r}"[:200])


def _is_plain(hint: Any, value: Any) -> bool:
    """Whether the value is of this class, or of one of a union, and the database can keep it."""
    if isinstance(hint, type(int | None)):
        return any(_is_plain(each, value) for each in get_args(hint))
    if get_origin(hint) is Literal:
        return value in get_args(hint)
    if get_origin(hint) is Annotated:  # a text that may have so many characters
        return type(value) is str and _is_text(value, get_args(hint)[1])
    if hint is str:
        return type(value) is str and _is_text(value)
    if hint is float:
        return type(value) in (int, float) and -_LARGEST <= value <= _LARGEST  # no NaN
    if hint is int:
        return type(value) is int and -_LARGEST <= value <= _LARGEST
    return type(value) is hint


def _is_text(value: str, most: int = _LONGEST_TEXT) -> bool:
    """PostgreSQL stores neither NUL nor half of a surrogate pair."""
    return len(value) <= most and "\0" not in value and is_utf8(value)


@cache
def _fields(kind: Any) -> dict[str, tuple[Any, bool]]:
    """The keys of a TypedDict, with the class of each value, and whether it has to be there."""
    hints = get_type_hints(kind, include_extras=True)
    return {
        key: (get_args(hint)[0], False) if get_origin(hint) is NotRequired else (hint, True)
        for key, hint in hints.items()
    }
