"""The problems of a table while it is read."""

from pycron.model.problem import Problem, Severity
from pycron.model.text import printable

MOST_PROBLEMS = 100  # errors, and as many warnings
_LONGEST_MESSAGE = 500  # characters


class ProblemList:
    """The problems of a table; at most MOST_PROBLEMS warnings are kept. Columns count from 0."""

    def __init__(self, file: str) -> None:
        self._file = file
        self._found: list[Problem] = []
        self._warnings = 0
        self.errors = 0

    def warn(self, line: int, code: str, message: str, column: int = 0) -> None:
        self._warnings += 1
        if self._warnings <= MOST_PROBLEMS:
            self._add(Severity.WARNING, line, code, message, column)

    def error(self, line: int, code: str, message: str, column: int = 0) -> None:
        self.errors += 1
        self._add(Severity.ERROR, line, code, message, column)

    def sorted(self) -> tuple[Problem, ...]:
        """All problems, in the order of their lines."""
        return tuple(sorted(self._found, key=lambda problem: problem.line))

    def _add(self, severity: Severity, line: int, code: str, message: str, column: int) -> None:
        message = printable(_shortened(message))
        self._found.append(Problem(self._file, line, column + 1, severity, code, message))


def _shortened(message: str) -> str:
    """A message without the middle, if it is too long to read."""
    if len(message) <= _LONGEST_MESSAGE:
        return message
    return f"{message[:200]}…{message[-200:]}"
