"""What a check gets, and what it finds."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from pycron.crontab.line import EntryLine
from pycron.lint.code import Code
from pycron.model.settings import Settings
from pycron.schedule.fire_times import Times
from pycron.schedule.zone import Zone


@dataclass(frozen=True, slots=True)
class Found:
    """What a check has found in a line. Columns count from 0; `end` is behind the last character.

    `remedy`: what to do. `fix`: the whole line as it should read, if only one text is safe.
    """

    code: Code
    start: int
    end: int
    message: str
    remedy: str = ""
    fix: str | None = None


@dataclass(frozen=True, slots=True)
class CheckContext:
    """Facts against which a table is checked.

    `zone`: the zone of a name (None: the machine's). `now`: a UTC second. `is_program`: whether the
    machine has a program at a path; None for a table that is meant for another machine. `sh`: what
    its /bin/sh is, such as `dash`; None if that is not known.
    """

    zone: Callable[[str | None], Zone]
    now: int
    is_program: Callable[[str], bool] | None = None
    sh: str | None = None


_QUOTED = re.compile(r"""'[^']*+'|"(?:[^"\\]++|\\.)*+"|\\.""")
_SINGLE_QUOTED = re.compile(r"'[^']*+'")
_UNTIL_PERCENT = re.compile(r"(?:[^\\%]++|\\.|\\$)*+")


def _blank(match: re.Match[str]) -> str:
    if match[0][0] == "\\":
        return "__"
    return match[0][0] + "_" * (len(match[0]) - 2) + match[0][-1]


@dataclass(frozen=True)
class Line:
    """A line of the table. `number`: from 1."""

    number: int
    text: str


@dataclass(frozen=True)
class Entry(Line):
    """An entry of the table. `start`: the column where it begins, behind its settings.

    `variables`: its environment. `owner`: the user whose table it is; None for a system table.
    """

    start: int
    read: EntryLine
    times: Times
    owner: str | None
    settings: Settings
    variables: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def command_start(self) -> int:
        """The column where the command begins."""
        return self.start + self.read.command_column

    @cached_property
    def command(self) -> str:
        """The command as it is written, up to its standard input."""
        match = _UNTIL_PERCENT.match(self.text, self.command_start)
        return match[0] if match else ""

    @cached_property
    def unquoted(self) -> str:
        """The command with `_` for what is in quotes: the same columns."""
        text = self.command
        return _QUOTED.sub(_blank, text) if "'" in text or '"' in text or "\\" in text else text

    @cached_property
    def without_literals(self) -> str:
        """The command with `_` for what is in single quotes, which the shell does not look at."""
        return _SINGLE_QUOTED.sub(_blank, self.command) if "'" in self.command else self.command

    def found(
        self, code: Code, match: re.Match[str], message: str, remedy: str, fix: str | None = None
    ) -> Found:
        """What was found at a match in the command."""
        start, end = (self.command_start + place for place in match.span())
        return Found(code, start, end, message, remedy, fix)

    def with_command(self, command: str) -> str:
        """The whole line with another text in place of the command, up to its standard input."""
        end = self.command_start + len(self.command)
        return self.text[: self.command_start] + command + self.text[end:]
