"""Checks a table: the problems of the reader, and what the linter finds in its lines."""

import re
from collections.abc import Iterator
from dataclasses import replace

from pycron.crontab.assignment import read_variable
from pycron.crontab.entries import Entries
from pycron.crontab.line import BLANKS, read_entry
from pycron.crontab.reader import ReaderContext, parse
from pycron.crontab.table import Table
from pycron.lint import commands, fixes, schedules, shell_text, variables
from pycron.lint.clock import ClockChecks, of_shared
from pycron.lint.found import CheckContext, Entry, Found, Line
from pycron.lint.ignoring import Ignored
from pycron.lint.whole_table import TableChecks
from pycron.model.job import Environment, Source
from pycron.model.problem import Problem, Severity
from pycron.model.text import printable

_SETTING = re.compile(r"[ \t]*+CRON_[A-Za-z0-9_]*+[ \t]*+=")
_MOST_OF_A_CODE = 100  # findings of a table


def check(text: str, source: Source, context: ReaderContext, facts: CheckContext) -> list[Problem]:
    """All problems of a table, in the order of its lines."""
    return problems_of(parse(text, source, context), text, facts)


def problems_of(table: Table, text: str, facts: CheckContext) -> list[Problem]:
    """All problems of a table that was read from a text, in the order of its lines.

    A comment `# pycron: ignore=CODE` above a line hides a warning or a note about that line.
    """
    lines = text.removeprefix("\ufeff").split("\n")
    ignored = Ignored(lines, table.source.name)
    found = [fixes.with_fix(problem, lines) for problem in table.problems]
    if not table.is_junk:
        found += _Linter(table, lines, facts).problems()
    kept = [each for each in found if not ignored.hides(each)]
    return sorted([*kept, *ignored.unknown()], key=lambda problem: (problem.line, problem.column))


class _Linter:
    """The checks of one table."""

    def __init__(self, table: Table, lines: list[str], facts: CheckContext) -> None:
        self._table = table
        self._lines = lines
        self._facts = facts
        self._bad = {each.line for each in table.problems if each.severity is Severity.ERROR}
        self._variables: dict[int, tuple[Environment, dict[str, str]]] = {}
        self._has_zone = any(line.lstrip().startswith("CRON_TZ") for line in lines)
        self._counts: dict[str, int] = {}

    def problems(self) -> Iterator[Problem]:
        entries = self._table.jobs
        for number, found in self._of_variables(set(entries.lines)):
            yield from self._problem(number, found)
        table, clock = TableChecks(), ClockChecks(self._facts.now)
        for index in range(len(entries)):
            entry = self._entry(entries, index)
            for found in self._of_entry(entry, table, clock, entries.packed(index)):
                yield from self._problem(entry.number, found)
        for entry, found in table.stampede():
            yield from self._problem(entry.number, found)

    def _of_variables(self, entries: set[int]) -> Iterator[tuple[int, Found]]:
        """What is found in the lines that are neither entries nor bad."""
        for number, text in enumerate(self._lines, 1):
            if number in entries or number in self._bad:
                continue
            if text.lstrip(BLANKS)[:1] in ("", "#") or _SETTING.match(text):
                continue
            assignment = read_variable(text)
            if assignment is not None:
                line = Line(number, text)
                for found in variables.checks(
                    line, assignment, self._facts.is_program, self._has_zone
                ):
                    yield number, found

    def _entry(self, entries: Entries, index: int) -> Entry:
        number, text = entries.lines[index], entries.text(index)
        line = self._lines[number - 1]
        context = entries.context(index)
        read = read_entry(text, 0, self._table.source.owner)
        return Entry(
            number, line, len(line) - len(text), read, entries.times(index),
            self._table.source.owner, context.settings, self._environment(context.environment),
        )  # fmt: skip

    def _environment(self, environment: Environment) -> dict[str, str]:
        """The variables of an entry; many entries share one object."""
        known = self._variables.get(id(environment))
        if known is None:
            known = self._variables[id(environment)] = environment, dict(environment)
        return known[1]

    def _of_entry(
        self, entry: Entry, table: TableChecks, clock: ClockChecks, packed: object
    ) -> Iterator[Found]:
        yield from schedules.checks(entry, self._facts.now)
        if entry.settings.send is None:  # a message is no text for a shell
            yield from commands.checks(entry, self._facts.is_program)
            yield from shell_text.checks(entry, self._facts.sh)
        yield from table.duplicates(entry)
        zone = self._facts.zone(entry.settings.zone)
        yield from clock.of(entry, zone, packed)
        yield from of_shared(entry, has_zone=self._has_zone)
        table.gather(entry)

    def _problem(self, number: int, found: Found) -> Iterator[Problem]:
        """The Problem for what was found; a table of thousands of lines gets no thousands."""
        name = found.code.name
        self._counts[name] = self._counts.get(name, 0) + 1
        if self._counts[name] > _MOST_OF_A_CODE:
            return
        problem = Problem(
            self._table.source.name, number, found.start + 1, found.code.severity, name,
            printable(found.message), end_column=found.end + 1, remedy=printable(found.remedy),
            fix=found.fix,
        )  # fmt: skip
        if self._counts[name] == _MOST_OF_A_CODE:
            problem = replace(problem, message=f"{problem.message} (no more of these are shown)")
        yield problem
