"""The checks of messages on the control socket: of requests by rules, of answers by TypedDicts.

Clients are strangers, so the daemon checks every field of a request. A daemon may be of another
version than its client, so the client checks that an answer has the keys that it prints.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from types import NoneType
from typing import Any, NotRequired, TypeVar, cast, get_args, get_origin, is_typeddict

from pycron.protocol.framing import is_utf8

A = TypeVar("A")
LONGEST_DURATION = 10 * 365 * 86_400  # seconds; as in a table
_LONGEST_TEXT = 500  # characters
_LARGEST_NUMBER = 2**62


@dataclass(frozen=True, slots=True)
class Rule:
    """Which values a field of a request may have, as a test and in words."""

    accepts: Callable[[Any], bool]
    words: str


def _is_number(value: object) -> bool:
    return type(value) is int and 0 <= value < _LARGEST_NUMBER


def _is_text(value: object) -> bool:
    return isinstance(value, str) and len(value) <= _LONGEST_TEXT and is_utf8(value)


def _is_table_text(value: object) -> bool:
    """Bytes of a table that are not UTF-8 come as lone surrogates (PEP 383)."""
    if not isinstance(value, str):
        return False
    try:
        value.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return False
    return True


NUMBER = Rule(_is_number, "a whole number")
TEXT = Rule(_is_text, f"a text of at most {_LONGEST_TEXT} characters")
FLAG = Rule(lambda value: type(value) is bool, "true or false")
DURATION = Rule(
    lambda value: _is_number(value) and value <= LONGEST_DURATION,
    f"at most {LONGEST_DURATION} seconds",
)
TIME = Rule(_is_number, "from 1970 to 20 years ahead")  # how far ahead, the handler checks
TABLE_TEXT = Rule(_is_table_text, "the text of a table")
RULE_OF_TYPE: dict[object, Rule] = {
    int: NUMBER,
    int | None: NUMBER,
    str: TEXT,
    str | None: TEXT,
    bool: FLAG,
}


def check_answer(answer: type[A], message: Mapping[str, object]) -> A:
    """The message as the answer it has to be. Raises ValueError: which key is missing or wrong."""
    wrong = _wrong_key(answer, message)
    if wrong is not None:
        raise ValueError(wrong)
    return cast(A, message)


def _wrong_key(kind: Any, value: object) -> str | None:
    """The path to the first key whose value is not of its type; "" is the value itself."""
    if is_typeddict(kind):
        return _wrong_key_of_object(kind, value)
    origin = get_origin(kind)
    if origin in (list, dict):
        return _wrong_key_of_items(kind, origin, value)
    if origin is not None:  # a union; at most one of its members is an object
        wrong = [_wrong_key(member, value) for member in get_args(kind)]
        return None if None in wrong else max(filter(None, wrong), default="")
    fits = isinstance(value, float | int) if kind is float else isinstance(value, kind)
    return None if fits else ""


def _wrong_key_of_object(kind: Any, value: object) -> str | None:
    if not isinstance(value, dict):
        return ""
    for key, of_key in _doubtful_keys(kind, (*value, *map(type, value.values()))):
        wrong = _wrong_key(of_key, value[key]) if key in value else ""
        if wrong is not None:
            return f"{key}.{wrong}".rstrip(".")
    return None


def _wrong_key_of_items(kind: Any, origin: type, value: object) -> str | None:
    if not isinstance(value, origin):
        return ""
    member = get_args(kind)[-1]
    items = value.values() if isinstance(value, dict) else cast("list[object]", value)
    return next((wrong for each in items if (wrong := _wrong_key(member, each)) is not None), None)


@lru_cache(maxsize=1000)  # a list of a hundred thousand Jobs asks about a few kinds of rows
def _doubtful_keys(kind: Any, look: tuple[Any, ...]) -> list[tuple[str, Any]]:
    """The keys of a TypedDict that an object lacks, or whose values need a further look.

    `look`: the keys of the object, then the types of their values. With each key comes its type.
    """
    types = dict(zip(look[: len(look) // 2], look[len(look) // 2 :], strict=True))
    return [
        (key, of_key)
        for key, of_key, plain in _keys(kind)
        if (types[key] not in plain if key in types else key in kind.__required_keys__)
    ]


@cache
def _keys(kind: Any) -> list[tuple[str, Any, frozenset[type]]]:
    """The keys of a TypedDict and their types; and which types of a value need no further look."""
    keys = []
    for key, each in kind.__annotations__.items():
        of_key = get_args(each)[0] if get_origin(each) is NotRequired else each
        keys.append((key, of_key, _plain_types(of_key)))
    return keys


def _plain_types(kind: Any) -> frozenset[type]:
    """A list of a hundred thousand Jobs has two million values: most are one of these."""
    members = get_args(kind) if get_origin(kind) not in (None, list, dict) else (kind,)
    return frozenset(each for each in members if each in (str, int, float, bool, NoneType))
