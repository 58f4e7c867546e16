"""Problem: a mistake in a table, as people and programs see it."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from enum import StrEnum


class Severity(StrEnum):
    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Problem:
    """A mistake in a table. Lines and columns count from 1; line 0 is the whole file.

    `str(problem)` is the line that people read: `FILE:LINE: [warning: ]MESSAGE`.
    """

    file: str
    line: int
    column: int
    severity: Severity
    code: str
    message: str

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}" if self.line else self.file
        mark = "warning: " if self.severity is Severity.WARNING else ""
        return f"{where}: {mark}{self.message}"

    def renamed(self, file: str) -> "Problem":
        """The same problem of a file with another name."""
        return replace(self, file=file)


def problem_row(problem: Problem) -> dict[str, str | int]:
    """A Problem as a row of JSON."""
    row = {field.name: getattr(problem, field.name) for field in fields(problem)}
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
