"""Table: one crontab file that was read."""

from dataclasses import dataclass, field

from pycron.crontab.entries import Entries, nothing
from pycron.model.job import Source
from pycron.model.problem import Problem, Severity


@dataclass(frozen=True, slots=True)
class Table:
    """One crontab file, read: its entries in order, and what is wrong with it.

    `is_junk`: the file is no table (no text, or more of its entries are bad than good): it has no
    entries.
    """

    source: Source
    jobs: Entries = field(default_factory=nothing)
    problems: tuple[Problem, ...] = ()
    is_junk: bool = False

    @property
    def errors(self) -> tuple[Problem, ...]:
        return tuple(p for p in self.problems if p.severity is Severity.ERROR)
