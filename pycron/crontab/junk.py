"""Whether a text is a table at all: nothing in a file runs that is none."""

from pycron.model.job import Source
from pycron.model.problem import Problem, Severity

NOT_A_TABLE = "not-a-table"  # the code of the problem


def why_junk(text: str, source: Source, good: int, bad: int) -> Problem | None:
    """Why a text is no table; None if it is one. `good`, `bad`: how many entries are."""
    if "\0" in text:
        at = text.index("\0")
        line, column = text.count("\n", 0, at) + 1, at - text.rfind("\n", 0, at)
        message = "a NUL byte: this is no text, so nothing in it runs"
        return Problem(source.name, line, column, Severity.ERROR, "binary", message)
    if bad > good > 0:
        message = f"{bad} entries are bad and {good} good: this is no table, so nothing in it runs"
        return Problem(source.name, 0, 1, Severity.ERROR, NOT_A_TABLE, message)
    return None
