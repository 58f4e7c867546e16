"""`# pycron: ignore=CODE[,CODE…]`: a comment above a line hides a warning or a note about it."""

import re
from collections.abc import Iterator

from pycron.lint.codes import CODES, UNKNOWN_CODE
from pycron.model.problem import Problem, Severity
from pycron.model.text import printable

_COMMENT = re.compile(r"[ \t]*+#[ \t]*+pycron:[ \t]*+ignore=([^ \t]*+)")


class Ignored:
    """The comments of a table that hide problems. An error cannot be hidden."""

    def __init__(self, lines: list[str], file: str) -> None:
        self._file = file
        self._codes: dict[int, set[str]] = {}  # by the line of the comment
        self._of_lines: dict[int, set[str]] = {}
        above: set[str] = set()
        for number, line in enumerate(lines, 1):
            if not line.lstrip(" \t").startswith("#"):
                if above:
                    self._of_lines[number] = above
                    above = set()
            elif match := _COMMENT.match(line):
                self._codes[number] = set(match[1].split(","))
                above = above | self._codes[number]

    def hides(self, problem: Problem) -> bool:
        if problem.severity is Severity.ERROR:
            return False
        return problem.code in self._of_lines.get(problem.line, ())

    def unknown(self) -> Iterator[Problem]:
        for line, codes in self._codes.items():
            for code in sorted(codes - set(CODES)):
                shown = printable(code[:80])
                message = f'there is no code "{shown}" (pycron check --explain lists them)'
                yield Problem(self._file, line, 1, Severity.WARNING, UNKNOWN_CODE.name, message)
