"""Compares what a table means to another cron with what it means to pycron.

The reader of tables says what is wrong for pycron; other_cron.py says what the other cron takes.
Each line that is an entry has at least one Finding, and every other line only if it matters.

A table that the other cron does not run (a file that it ignores, a table that it discards because
of one bad line) is `ignored` as a whole: to import it would start jobs that never ran.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from enum import StrEnum

from pycron.crontab import other_cron
from pycron.crontab.line import EntryLine, read_entry
from pycron.crontab.other_cron import DEBIAN, OtherRules
from pycron.crontab.reader import ReaderContext, parse
from pycron.crontab.table import Table
from pycron.model.job import Job, Source
from pycron.model.problem import Problem, Severity
from pycron.schedule.expressions import WallTimes
from pycron.schedule.fields import FIELDS
from pycron.schedule.zone import Zone

_AHEAD = 400 * 86_400  # seconds in which changes of the clock are looked for


class Verdict(StrEnum):
    """What becomes of a line."""

    SAME = "same"  # it means the same
    CHANGED = "changed"  # it runs, and something is different
    WARNING = "warning"  # it means the same, which its author hardly intended
    REFUSED = "refused"  # pycron does not take it
    IGNORED = "ignored"  # the other cron does not run it, and it is not imported


@dataclass(frozen=True, slots=True)
class Finding:
    """What becomes of one line. Lines count from 1; line 0 is the whole file, or the machine."""

    file: str
    line: int
    verdict: Verdict
    code: str
    message: str


def finding_row(finding: Finding) -> dict[str, str | int]:
    """A Finding as a row of JSON."""
    row = {field.name: getattr(finding, field.name) for field in fields(finding)}
    return {**row, "verdict": finding.verdict.value}


@dataclass(frozen=True, slots=True)
class Machine:
    """What else decides: `zone` of a name (None: the machine's), and `now`, a UTC second.

    `user_exists`: whether the machine knows a user.
    """

    zone: Callable[[str | None], Zone]
    now: int
    user_exists: Callable[[str], bool] = lambda _: True


@dataclass(frozen=True, slots=True)
class Compared:
    """The Findings of a table. `runs`: whether the other cron runs anything of it."""

    table: Table
    findings: tuple[Finding, ...]
    runs: bool


def compare(
    text: str, source: Source, context: ReaderContext, rules: OtherRules, machine: Machine
) -> Compared:
    """Compare a table. `context`: as the daemon has it, without `user_exists`."""
    table = parse(text, source, context)
    comparison = _Comparison(text, table, rules, machine)
    discarded = comparison.why_discarded()
    found = comparison.of_errors() if discarded or table.is_junk else comparison.of_lines()
    first = (discarded,) if discarded else ()
    return Compared(table, (*first, *found), runs=discarded is None)


# What the others take though pycron does not: variables, flags and dates that never come.
_TAKEN = frozenset({"unknown-setting", "bad-setting", "unknown-zone", "bad-variable",
                    "bad-option", "never-fires"})  # fmt: skip
_SETTING = re.compile(r"[ \t]*(CRON_[A-Za-z0-9_]*)[ \t]*=")
_QUOTED_BLANK = re.compile(r"""=[ \t]*(["']).*[ \t]\1[ \t]*""")


class _Comparison:
    """The lines of one table, each with its Job and its problems."""

    def __init__(self, text: str, table: Table, rules: OtherRules, machine: Machine) -> None:
        self._text = text
        self._lines = text.split("\n")
        self._table = table
        self._rules = rules
        self._machine = machine
        self._jobs = {job.line: job for job in table.jobs}
        self._problems: dict[int, list[Problem]] = {}
        for problem in table.problems:
            self._problems.setdefault(problem.line, []).append(problem)
        self._path_is_reported = False

    def _finding(self, line: int, verdict: Verdict, code: str, message: str) -> Finding:
        return Finding(self._table.source.name, line, verdict, code, message)

    # ---- the whole table

    def why_discarded(self) -> Finding | None:
        """A Finding if the other cron runs nothing of the table."""
        reason, line = other_cron.why_text_is_discarded(self._rules, self._text), 0
        if reason is None and self._rules.discards:
            line, reason = next(self._bad_lines(), (0, None))
        if reason is None:
            return None
        message = (f"{self._rules.name} runs nothing of this table ({reason}), so it is not "
                   "imported; pycron would run its good lines")  # fmt: skip
        return self._finding(line, Verdict.IGNORED, "discarded", message)

    def _bad_lines(self) -> Iterator[tuple[int, str]]:
        """The lines that the other cron does not take, with the reason."""
        for number, line in enumerate(self._lines, 1):
            reason = self._why_bad(number, line)
            if reason is not None:
                yield number, reason

    def _why_bad(self, number: int, line: str) -> str | None:
        """Why the other cron does not take a line; None if it does."""
        if other_cron.is_empty_line(line):
            return None
        for error in self._errors(number):
            if not self._takes_what_pycron_refuses(error, line):
                return error.message
            return self._why_user_is_bad(line) if error.code == "bad-option" else None
        if number not in self._jobs:
            return other_cron.why_variable_is_bad(self._rules, line)
        if _SETTING.match(line):
            return None  # a variable, for the other cron
        reason = other_cron.why_entry_is_bad(self._rules, self._entry(line))
        return reason or self._why_user_is_bad(line)

    def _takes_what_pycron_refuses(self, error: Problem, line: str) -> bool:
        if error.code in _TAKEN or (error.code == "bad-username" and not self._rules.discards):
            return True
        of_a_field = error.code in {"odd-character", *(f"bad-{field}" for field in FIELDS)}
        return of_a_field and self._rules.discards and other_cron.debian_takes_fields(line)

    def _why_user_is_bad(self, line: str) -> str | None:
        """Why an entry's user column is bad: there is no such user."""
        if self._table.source.owner is not None:
            return None
        words = line.split()
        before = 1 if line.lstrip().startswith("@") else len(FIELDS)
        user = "".join(words[before : before + 1])
        if self._machine.user_exists(user):
            return None
        return f'bad username: "{user}" (no such user)'

    def _errors(self, number: int) -> list[Problem]:
        return [p for p in self._problems.get(number, ()) if p.severity is Severity.ERROR]

    def _entry(self, line: str) -> EntryLine:
        start = len(line) - len(line.lstrip(" \t"))
        return read_entry(line, start, self._table.source.owner)

    # ---- line by line

    def of_errors(self) -> Iterator[Finding]:
        """The lines that pycron refuses, in a table of which one of the two crons runs nothing."""
        for number in sorted(self._problems):
            yield from map(self._of_error, self._errors(number))

    def of_lines(self) -> Iterator[Finding]:
        """The Findings of all lines of a table that the other cron runs."""
        for number, line in enumerate(self._lines, 1):
            if other_cron.is_empty_line(line):
                continue
            found = [*map(self._of_problem, self._problems.get(number, ()))]
            if number in self._jobs:
                found += self._of_entry(line, self._jobs[number])
            elif not found:
                found += self._of_variable(number, line)
            if number in self._jobs and not found:
                found.append(self._finding(number, Verdict.SAME, "same", "means the same"))
            yield from found

    def _of_problem(self, problem: Problem) -> Finding:
        if problem.severity is Severity.ERROR:
            return self._of_error(problem)
        line, name = problem.line, self._rules.name
        if problem.code == "mail-unsafe":
            message = f"{problem.message}; {name} sends no mail"
            return self._finding(line, Verdict.CHANGED, problem.code, message)
        if problem.code == "unterminated":
            message = f"no newline at the end: {name} drops this line; pycron runs it"
            return self._finding(line, Verdict.CHANGED, problem.code, message)
        return self._finding(line, Verdict.WARNING, problem.code, problem.message)

    def _of_error(self, problem: Problem) -> Finding:
        message = problem.message
        if problem.code == "never-fires":
            message += f"; {self._rules.name} takes it and never runs it"
        elif problem.line == 0:
            message += "; mend the bad entries"
        elif self._takes_what_pycron_refuses(problem, self._lines[problem.line - 1]):
            message += f"; {self._rules.name} takes the line in its own way"
        return self._finding(problem.line, Verdict.REFUSED, problem.code, message)

    def _of_variable(self, number: int, line: str) -> Iterator[Finding]:
        """Findings about a line that is a variable or a setting."""
        setting = _SETTING.match(line)
        if setting and (setting[1] != "CRON_TZ" or not self._rules.has_zones):
            message = (f"{setting[1]} is a setting of pycron, and a variable without effect "
                       f"for {self._rules.name}")  # fmt: skip
            yield self._finding(number, Verdict.CHANGED, "setting", message)
        if other_cron.sends_no_mail(self._rules, line):
            message = f"an address that is unsafe for {self._rules.name}, which sends no mail"
            yield self._finding(number, Verdict.CHANGED, "mail-unsafe", message)
        if self._rules is DEBIAN and _QUOTED_BLANK.fullmatch(line, line.find("=")):
            message = "Debian's cron drops the blanks at the end of the quoted value"
            yield self._finding(number, Verdict.CHANGED, "quoted-blank", message)

    # ---- an entry

    def _of_entry(self, line: str, job: Job) -> Iterator[Finding]:
        if _SETTING.match(line):
            message = f"settings in front of an entry: {self._rules.name} never ran this line"
            yield self._changed(job, "never-ran", message)
            return
        entry = self._entry(line)
        bad = other_cron.why_entry_is_bad(self._rules, entry)
        if bad is not None:
            yield self._changed(job, "never-ran", f"{self._rules.name} never ran it ({bad})")
            return
        if user := self._why_user_is_bad(line):
            message = f"{user}: its commands fail until there is one"
            yield self._finding(job.line, Verdict.WARNING, "unknown-user", message)
        yield from self._of_fields(job, entry)
        yield from self._of_command(job, entry)
        yield from self._of_zone(job)

    def _changed(self, job: Job, code: str, message: str) -> Finding:
        return self._finding(job.line, Verdict.CHANGED, code, message)

    def _of_fields(self, job: Job, entry: EntryLine) -> Iterator[Finding]:
        cut = other_cron.cut_field(entry) if self._rules is DEBIAN else None
        if cut is not None:
            message = f'Debian\'s cron reads "{cut[0]}" as "{cut[1]}"'
            yield self._changed(job, "cut-off", message)
        elif any("~" in word for word in entry.words):
            message = f"~: {self._rules.name} picks anew at each load; pycron keeps its value"
            yield self._changed(job, "stable-random", message)
        if job.settings.jitter and self._rules is DEBIAN:
            message = f"RANDOM_DELAY: Debian's cron starts it on time; pycron {_later(job)}"
            yield self._changed(job, "random-delay", message)
        elif job.settings.jitter:
            message = f"RANDOM_DELAY: another delay with each start of cronie; pycron {_later(job)}"
            yield self._changed(job, "random-delay", message)

    def _of_command(self, job: Job, entry: EntryLine) -> Iterator[Finding]:
        unknown = "".join(sorted(set(entry.letters) - set(self._rules.flags)))
        if unknown and not other_cron.has_leading_dash(entry):
            message = f"-{unknown}: a flag for pycron, and a part of the command before"
            yield self._changed(job, "flag", message)
        if self._rules is DEBIAN and "\\\\" in entry.command:
            yield self._changed(job, "backslash", "Debian's cron makes one backslash of two")
        if self._rules.path != DEBIAN.path and "PATH" not in dict(job.environment):
            if not self._path_is_reported:
                message = (
                    f"PATH is {DEBIAN.path}; with {self._rules.name} it was {self._rules.path}"
                )
                yield self._changed(job, "path", message)
            self._path_is_reported = True

    def _of_zone(self, job: Job) -> Iterator[Finding]:
        own = job.settings.zone
        machine = self._machine.zone(None)
        if own is not None and not self._rules.has_zones and own != machine.name:
            message = (f"due in the zone {own}; {self._rules.name} ignores CRON_TZ, so it was due "
                       f"in {machine.name}")  # fmt: skip
            yield self._changed(job, "zone", message)
        elif own is not None and self._rules.has_zones:
            if self._is_in_a_shift(job, self._machine.zone(own)):
                message = f"when the clock of {own} is shifted, cronie loses or repeats it"
                yield self._changed(job, "zone-shift", message)
        elif self._most_in_a_gap(job, machine) > 1:
            message = (f"due several times in the hour that {machine.name} skips in spring: "
                       f"{self._rules.name} starts it as often at once, pycron once")  # fmt: skip
            yield self._changed(job, "skipped-hour", message)

    def _most_in_a_gap(self, job: Job, zone: Zone) -> int:
        """How often a fixed Job is due, at most, in wall times that become one instant."""
        return max((_count(times, gap, end + 1) for times, gap, end in self._gaps(job, zone)),
                   default=0)  # fmt: skip

    def _is_in_a_shift(self, job: Job, zone: Zone) -> bool:
        """Whether a fixed Job is due in an hour that the clock skips or repeats."""
        return any(_count(times, first, end) for times, first, end in self._gaps(job, zone, True))

    def _gaps(
        self, job: Job, zone: Zone, folds: bool = False
    ) -> Iterator[tuple[WallTimes, int, int]]:
        """The schedule of a fixed Job with each range of wall minutes that the clock skips soon.

        `folds`: also the ranges that it repeats.
        """
        if not isinstance(job.schedule, WallTimes) or job.schedule.wildcard:
            return
        stretch = zone.stretch_at(self._machine.now)
        while stretch.end < self._machine.now + _AHEAD:
            stretch = zone.stretch_at(stretch.end)
            wall = stretch.start + stretch.offset
            if stretch.skipped:
                yield job.schedule, (wall - stretch.skipped) // 60, wall // 60
            elif folds and stretch.repeated_until > wall:
                yield job.schedule, wall // 60, stretch.repeated_until // 60


def _later(job: Job) -> str:
    return f"up to {job.settings.jitter // 60} minutes later, always the same"


def _count(times: WallTimes, minute: int, before: int) -> int:
    """How often a schedule is due in the wall minutes [minute, before)."""
    found = 0
    while (due := times.next_wall(minute, before)) is not None:
        found, minute = found + 1, due + 1
    return found
