"""Problem: a mistake in a table, as people and programs see it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum


class Severity(StrEnum):
    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True, slots=True)
class Problem:
    """A mistake in a table. Lines and columns count from 1; line 0 is the whole file.

    `end_column`: behind the last character; None if it is not known. `remedy`: what to do, if the
    message does not say it. `fix`: the whole line as it should read, if only one text is safe.
    `str(problem)` is the line that people read: `FILE:LINE: [warning: ]MESSAGE[ (REMEDY)]`.
    """

    file: str
    line: int
    column: int
    severity: Severity
    code: str
    message: str
    end_column: int | None = None
    remedy: str = ""
    fix: str | None = None

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}" if self.line else self.file
        mark = "" if self.severity is Severity.ERROR else f"{self.severity}: "
        remedy = f" ({self.remedy})" if self.remedy else ""
        return f"{where}: {mark}{self.message}{remedy}"

    def renamed(self, file: str) -> "Problem":
        """The same problem of a file with another name."""
        return replace(self, file=file)


_WIRE = ("file", "line", "column", "severity", "code", "message")


def problem_row(problem: Problem) -> dict[str, str | int]:
    """A Problem as a row of JSON, as the daemon sends it, without what only the linter knows."""
    row = {name: getattr(problem, name) for name in _WIRE}
    return {**row, "severity": problem.severity.value}


def problem_from_row(row: object) -> Problem:
    """The Problem of a row that came over a socket. Raises ValueError for any other row."""
    if not isinstance(row, Mapping):
        raise ValueError(f"not a problem: {row!r}")
    return Problem(
        file=_text(row, "file"),
        line=_count(row, "line"),
        column=_count(row, "column"),
        severity=Severity(_text(row, "severity")),
        code=_text(row, "code"),
        message=_text(row, "message"),
    )


def _text(row: Mapping[str, object], key: str) -> str:
    value = row.get(key)
    if not isinstance(value, str):
        raise ValueError(f"not a problem: {key} is {value!r}")
    return value


def _count(row: Mapping[str, object], key: str) -> int:
    value = row.get(key)
    if type(value) is not int or value < 0:
        raise ValueError(f"not a problem: {key} is {value!r}")
    return value
