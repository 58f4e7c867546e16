"""Code: a kind of problem, with what people read about it."""

from dataclasses import dataclass

from pycron.model.problem import Severity


@dataclass(frozen=True, slots=True)
class Code:
    """A kind of problem.

    `about`: what such a line does, and why its author hardly meant it. `bad`: a table with the
    problem; empty if only a machine or a file has it. `good`: the table as it should be.
    `system`: the tables have a user column.
    """

    name: str
    severity: Severity
    about: str
    bad: str = ""
    good: str = ""
    system: bool = False


def note(name: str, about: str, bad: str = "", good: str = "") -> Code:
    return Code(name, Severity.NOTE, about, bad, good)


def warning(name: str, about: str, bad: str = "", good: str = "", *, system: bool = False) -> Code:
    return Code(name, Severity.WARNING, about, bad, good, system)


def error(name: str, about: str, bad: str = "", good: str = "", *, system: bool = False) -> Code:
    return Code(name, Severity.ERROR, about, bad, good, system)
