"""The plan of an import: Findings about the tables of another cron, and the files to write."""

import datetime
import os
import re
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pycron.cli.importing.sources import Reader, TableText, Tree
from pycron.crontab import anacrontab
from pycron.crontab.anacrontab import Surroundings, directories_run, starts_anacron
from pycron.crontab.comparison import Compared, Finding, Machine, Verdict, compare
from pycron.crontab.other_cron import CRONIE, DEBIAN
from pycron.crontab.reader import ReaderContext, parse
from pycron.model.job import Source
from pycron.system import paths
from pycron.system.user_lists import users_in
from pycron.system.zone_data import ZoneData
from pycron.tables.spool_form import without_header

_LSB_OPTION = re.compile(r"""EXTRA_OPTS=["']?(?:.*[ \t])?-[a-km-zA-Z]*l""")
_STAMP = re.compile("[0-9]{8}", re.ASCII)


@dataclass(frozen=True, slots=True)
class NewFile:
    """A file to write. `source`: where its text comes from. `user`: whose table it is."""

    path: Path
    text: str
    mode: int
    source: str
    user: str | None = None


@dataclass(slots=True)
class Plan:
    """`read`: the number of files that were read. `replaces_anacron`: its jobs became entries."""

    findings: list[Finding] = field(default_factory=list)
    files: list[NewFile] = field(default_factory=list)
    read: int = 0
    replaces_anacron: bool = False


def make_plan(tree: Tree, context: ReaderContext, most_bytes: int) -> Plan:
    """Read the tables of a tree and compare them. `context`: of this machine."""
    return _Planner(tree, context, most_bytes).plan


class _Planner:
    """Makes the plan for one tree, table by table."""

    def __init__(self, tree: Tree, context: ReaderContext, most_bytes: int) -> None:
        self._tree = tree
        self._context = context
        self._reader = Reader(tree, most_bytes)
        self._machine = Machine(ZoneData().zone, int(time.time()), tree.user_exists)
        self._names: set[str] = set()
        self.plan = Plan()
        system = [(table, self._compared(table)) for table in self._reader.system_tables()]
        self._add_anacrontab([compared for _, compared in system])
        for table, compared in system:
            self._add_system_table(table, compared)
        self._add_user_tables()
        self._add_debian()
        self.plan.findings += self._reader.findings
        self.plan.findings.sort(key=lambda finding: (finding.file, finding.line))

    def _compared(self, table: TableText) -> Compared:
        self.plan.read += 1
        rules = self._tree.rules
        return compare(table.text, table.source, self._context, rules, self._machine)

    def _found(self, file: str, verdict: Verdict, code: str, message: str, line: int = 0) -> None:
        self.plan.findings.append(Finding(file, line, verdict, code, message))

    def _add(self, path: Path, text: str, source: str) -> None:
        self.plan.files.append(NewFile(path, text, 0o644, source))

    # ---- system tables

    def _add_system_table(self, table: TableText, compared: Compared) -> None:
        name = table.source.name
        starts = [job for job in compared.table.jobs if starts_anacron(job.command)]
        if compared.runs and starts and self.plan.replaces_anacron:
            if len(starts) == len(compared.table.jobs):
                message = "starts anacron, whose jobs become entries: left out"
                self._found(name, Verdict.IGNORED, "starts-anacron", message)
                return
            for job in starts:
                message = "starts anacron, whose jobs become entries: they would run twice"
                self._found(name, Verdict.WARNING, "starts-anacron", message, job.line)
        self.plan.findings += compared.findings
        if compared.runs and len(compared.table.jobs):
            self._add(paths.DROP_INS / self._drop_in_name(name), table.text, name)

    def _drop_in_name(self, path: str) -> str:
        """A name that /etc/pycron.d takes, and that no other table of this import has."""
        base = re.sub("[^A-Za-z0-9_-]", "_", os.path.basename(path), flags=re.ASCII)
        names = (base if number == 1 else f"{base}_{number}" for number in range(1, 10_000))
        name = next(name for name in names if name not in self._names)
        self._names.add(name)
        if name != os.path.basename(path):
            self._found(path, Verdict.SAME, "renamed", f"becomes {paths.DROP_INS / name}")
        return name

    # ---- anacron

    def _add_anacrontab(self, system: list[Compared]) -> None:
        text = None if self._tree.plain else self._reader.text("etc/anacrontab")
        if text is None:
            return
        self.plan.read += 1
        name = str(self._tree.path("etc/anacrontab"))
        reason = self._why_no_conversion()
        if reason is not None:
            self._found(name, *reason)
            return
        converted = anacrontab.convert(text, self._surroundings(system))
        self.plan.findings += [_renamed(finding, name) for finding in converted.findings]
        table = parse(converted.text, Source(name, None), self._context)
        for error in table.errors:
            self._found(name, Verdict.REFUSED, error.code, error.message)
        if len(table.jobs):
            self.plan.replaces_anacron = True
            path = paths.DROP_INS / self._drop_in_name(name)
            self._add(path, converted.text, name)

    def _why_no_conversion(self) -> tuple[Verdict, str, str] | None:
        """Why anacrontab is left alone; None if its jobs become entries."""
        programs = self._tree.path("usr/sbin")
        if programs.is_dir() and not (programs / "anacron").exists():
            return (
                Verdict.IGNORED,
                "no-anacron",
                "anacron is not installed: nothing runs these jobs",
            )
        if os.access(self._tree.path("etc/cron.hourly/0anacron"), os.X_OK):
            message = "stays with anacron, which /etc/cron.hourly/0anacron starts as before"
            return Verdict.SAME, "anacron-stays", message
        if self._tree.rules is CRONIE:
            return Verdict.IGNORED, "no-anacron", "nothing starts anacron (cron.hourly/0anacron)"
        return None

    def _surroundings(self, system: list[Compared]) -> Surroundings:
        guarded: set[str] = set()
        unguarded: set[str] = set()
        for compared in system:
            for job in compared.table.jobs if compared.runs else ():
                directories, is_guarded = directories_run(job.command)
                (guarded if is_guarded else unguarded).update(directories)
        today = datetime.datetime.fromtimestamp(self._machine.now, datetime.UTC).date()
        return Surroundings(self._tree.rules, today, dict(self._stamps()), guarded, unguarded)

    def _stamps(self) -> Iterator[tuple[str, datetime.date]]:
        """The days on which anacron has started its jobs last."""
        directory = self._tree.path("var/spool/anacron")
        for name in os.listdir(directory) if directory.is_dir() else ():
            text = self._reader.text(f"var/spool/anacron/{name}") or ""
            if _STAMP.fullmatch(text.strip()):
                try:
                    yield name, datetime.date.fromisoformat(text.strip())
                except ValueError:  # no date, such as 20261399
                    continue

    # ---- user tables, and who may have one

    def _add_user_tables(self) -> None:
        allowed = self._names_in(paths.CRON_ALLOW, paths.ALLOW)
        denied = self._names_in(paths.CRON_DENY, paths.DENY)
        if allowed is None and denied is None and self._tree.rules is CRONIE:
            self._add(paths.ALLOW, "", "cron.allow")
            message = "without cron.allow and cron.deny, only root has a table: an empty allow file"
            self._found(str(paths.ALLOW), Verdict.SAME, "root-only", message)
        for table in self._reader.user_tables():
            user, name = table.source.owner or "", table.source.name
            compared = self._compared(table)
            self.plan.findings += compared.findings
            if not compared.runs or not len(compared.table.jobs):
                continue
            if _is_denied(user, allowed, denied):
                message = f"{user} may not use crontab; {self._tree.rules.name} runs the table, "
                self._found(name, Verdict.SAME, "denied-user", message + "and so does pycron")
            text = without_header(table.text)
            self.plan.files.append(NewFile(paths.SPOOL / user, text, 0o600, name, user))

    def _names_in(self, relative: Path, destination: Path) -> list[str] | None:
        """The users in an allow or deny file; None without one.

        Those of this machine hold where they are; those of another tree are imported.
        """
        text = None if self._tree.plain else self._reader.text(relative)
        if text is None:
            return None
        if not self._tree.is_machine:
            self._add(destination, text, str(self._tree.path(relative)))
        return users_in(text)

    # ---- what Debian's cron takes from other files

    def _add_debian(self) -> None:
        """The variables of its /etc/pam.d/cron, and its option -l."""
        if self._tree.rules is not DEBIAN or self._tree.plain or not self.plan.read:
            return
        for relative in ("etc/environment", "etc/default/locale"):
            if any("=" in line for line in self._lines(relative)):
                message = (
                    "Debian's cron gives its commands these variables; pycron with pam.service"
                )
                self._found(str(self._tree.path(relative)), Verdict.CHANGED, "environment", message)
        relative = "etc/default/cron"
        if any(_LSB_OPTION.match(line) for line in self._lines(relative)):
            message = "with -l, Debian's cron also runs files of cron.d with dots: rename them"
            self._found(str(self._tree.path(relative)), Verdict.WARNING, "lsb-names", message)

    def _lines(self, relative: str) -> list[str]:
        """The lines of a file that are no comments."""
        lines = (self._reader.text(relative) or "").splitlines()
        return [line for line in lines if not line.lstrip().startswith("#")]


def _is_denied(user: str, allowed: Iterable[str] | None, denied: Iterable[str] | None) -> bool:
    if user == "root":
        return False
    return user not in allowed if allowed is not None else user in (denied or ())


def _renamed(finding: Finding, file: str) -> Finding:
    return Finding(file, finding.line, finding.verdict, finding.code, finding.message)
