"""The grammar of a variable's line: NAME = VALUE, by cronie's env.c."""

import re
from typing import NamedTuple

from pycron.crontab.line import BLANKS

# No repetition gives anything back (`++`), so it takes time that is linear in the line.
_NAME_AND_VALUE = re.compile(
    r"""[ \t]*+(?:"([^"]*+)"|'([^']*+)'|([^ \t="']?+[^ \t=]*+))[ \t]*+=[ \t]*+(.*+)""", re.DOTALL
)


class Assignment(NamedTuple):
    """A variable, its value without quotes, and the column where that begins (from 0)."""

    name: str
    value: str
    column: int


def read_variable(line: str) -> Assignment | None:
    """The variable of a line; None if the line is not NAME=VALUE."""
    match = _NAME_AND_VALUE.fullmatch(line)
    value = _unquoted(match[4]) if match else None
    if match is None or value is None:
        return None
    name = next(group for group in match.groups()[:3] if group is not None)
    return Assignment(name, value, match.start(4))


def _unquoted(text: str) -> str | None:
    """The value of a variable; None if a quote is not closed, or text follows the closing quote."""
    value = text.rstrip(BLANKS)
    if value[:1] not in ("'", '"'):
        return value
    if len(value) < 2 or value.find(value[0], 1) != len(value) - 1:
        return None
    return value[1:-1]
