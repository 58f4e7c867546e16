"""Problem: something wrong with a table."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any


class Severity(StrEnum):
    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Problem:
    """Something wrong with a table. Lines and columns count from 1; line 0 is the whole file."""

    file: str
    line: int
    column: int
    severity: Severity
    code: str
    message: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        mark = "warning: " if self.severity is Severity.WARNING else ""
        return f"{place}: {mark}{self.message}"

    def renamed(self, file: str) -> "Problem":
        """The same problem, of a table that the user knows by another name."""
        return replace(self, file=file)


def problem_row(problem: Problem) -> dict[str, str | int]:
    """A Problem as --json shows it."""
    return {
        "file": problem.file,
        "line": problem.line,
        "column": problem.column,
        "severity": problem.severity.value,
        "code": problem.code,
        "message": problem.message,
    }


def problem_from_row(row: Mapping[str, Any]) -> Problem:
    """The Problem that --json shows as this row. Raises KeyError or ValueError."""
    return Problem(
        file=row["file"],
        line=row["line"],
        column=row["column"],
        severity=Severity(row["severity"]),
        code=row["code"],
        message=row["message"],
    )
