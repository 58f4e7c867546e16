"""Messages made from their types: most keys are right, some are wrong, missing or unknown."""

import json
import random
from collections.abc import Mapping
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints, is_typeddict

_WRONG: list[object] = [
    None, True, -1, 2**63, 1.5, 1e308, "", "\udcff", "\0", "x" * 5000, [], [None], {}, {"": {}},
    [[[[[]]]]],
]  # fmt: skip
_RIGHT: dict[Any, list[Any]] = {
    int: [0, 1, 100, 2**31],
    float: [0, 0.5, 1_800_000_000.25],
    str: ["", "alice", "0123456789abcdef-20260308T120000Z.1", "/tmp", "\x1b[2J"],
    bool: [True, False],
}


def text_of(message: Mapping[str, object]) -> str:
    return json.dumps(message)


def made(hints: Mapping[str, Any], numbers: random.Random) -> dict[str, object]:
    """An object with these keys, and the types of their values."""
    kept = (name for name in hints if numbers.random() < 0.97)
    message = {name: _value(hints[name], numbers) for name in kept}
    if numbers.random() < 0.1:
        message[numbers.choice(["", "type", "verb", "no such key"])] = numbers.choice(_WRONG)
    return message


def _value(hint: Any, numbers: random.Random) -> object:
    if numbers.random() < 0.03:
        return numbers.choice(_WRONG)
    if is_typeddict(hint):
        return made(get_type_hints(hint), numbers)
    kind, parts = get_origin(hint), get_args(hint)
    if kind is Literal:
        return numbers.choice(parts)
    if kind in (Union, UnionType):
        return _value(numbers.choice(parts), numbers)
    if kind in (list, tuple):
        return [_value(parts[0], numbers) for _ in range(numbers.randrange(3))]
    if kind is dict:
        return {f"k{n}": _value(parts[1], numbers) for n in range(numbers.randrange(3))}
    return numbers.choice(_RIGHT.get(hint, _WRONG))
