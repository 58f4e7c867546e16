"""Tables that are checked without a daemon, and the facts about the machine for that."""

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from pycron.cli.crontab_texts import read_text
from pycron.cli.errors import Failed
from pycron.config import Config, ConfigError, read_config
from pycron.crontab.entries import Entries
from pycron.crontab.reader import ReaderContext, parse
from pycron.crontab.shared_names import same_shared_jobs
from pycron.lint.check import problems_of
from pycron.lint.found import CheckContext
from pycron.model.job import Source
from pycron.model.problem import Problem, Severity
from pycron.system.accounts import own_account
from pycron.system.files import TRUSTED
from pycron.system.paths import SYSTEM_CONFIG
from pycron.system.programs import is_program, name_of_sh
from pycron.system.zone_data import ZoneData
from pycron.tables.check import find, local_context, parse_found
from pycron.tables.directories import not_a_run_parts_name
from pycron.tables.layouts import layout_of

STDIN = Path("-")
_OF_SYSTEM = ("cron.d", "pycron.d")  # directories whose tables have a user column
_OF_USERS = ("crontabs", "tabs")  # directories whose tables are named after their users
_OF_MACHINE = ("/etc/", "/var/spool/")  # where the tables of this machine are
_CONFIGURATION = ".toml"


class TableChecker:
    """Checks files against this machine: its zones, and for its own tables also its programs.

    `config`: that of the daemon, whose names tables may have; by default the system's.
    `of_system`: it is the system's.
    """

    def __init__(self, config: Config | None = None, *, of_system: bool = False) -> None:
        self._zones = ZoneData()
        self._with_shared: list[Entries] = []
        self._context: ReaderContext = local_context(self._zones, config, of_system=of_system)

    def problems(self, path: Path) -> Iterator[Problem]:
        """The problems of a file, of all files of a directory, or of the standard input (`-`).

        What is in a directory cron.d, and the file /etc/crontab, has a user column.
        """
        if path == STDIN:
            yield from self.of_text(read_text("-"), Source("-", own_account().name), False)
        elif path.suffix == _CONFIGURATION:
            yield from _problems_of_configuration(path)
        elif path.is_dir():
            yield from self._of_directory(path)
        else:
            yield from self.of_file(_source_of(path))

    def of_file(self, source: Source) -> list[Problem]:
        """The problems of the table in the file whose path is the name of the source."""
        found = find(source, Config().table_bytes)
        table = parse_found(found, self._context)
        if table.jobs.has_shared:
            self._with_shared.append(table.jobs)
        path = str(Path(source.name).resolve())
        return problems_of(table, found.text or "", self._facts(path.startswith(_OF_MACHINE)))

    def between_files(self) -> Iterator[Problem]:
        """Shared Jobs that several of the files checked so far have under one name."""
        return same_shared_jobs(self._with_shared)

    def of_text(
        self, text: str, source: Source, of_machine: bool, known: tuple[Problem, ...] | None = None
    ) -> list[Problem]:
        """The problems of a text. `known`: what the daemon's reader says about it."""
        table = parse(text, source, self._context)
        if known is not None:
            table = replace(table, problems=known)
        return problems_of(table, text, self._facts(of_machine))

    def own_table(self, text: str, file: str) -> tuple[list[Problem], int]:
        """The problems of a text as a table of this user, and how many Jobs it has."""
        table = parse(text, Source(file, own_account().name), self._context)
        return problems_of(table, text, self._facts(True)), len(table.jobs)

    def _facts(self, of_machine: bool) -> CheckContext:
        now = int(time.time())
        if not of_machine:
            return CheckContext(self._zones.zone, now)
        return CheckContext(self._zones.zone, now, is_program, name_of_sh())

    def _of_directory(self, directory: Path) -> Iterator[Problem]:
        try:
            paths = sorted(directory.iterdir())
        except OSError as error:
            raise Failed(f"{directory}: {error.strerror}") from None
        why_not = _why_not_in(directory)
        for path in paths:
            if path.name.startswith(".") or path.is_dir():
                continue
            if reason := why_not(path.name):
                yield Problem(str(path), 0, 1, Severity.WARNING, "ignored-file", reason)
            else:
                yield from self.of_file(_source_of(path))


def _why_not_in(directory: Path) -> Callable[[str], str | None]:
    """Why the daemon passes over a file of a name in this directory, by the rules of its layout."""
    if directory.name not in _OF_SYSTEM:
        return lambda _: None
    try:
        layout = layout_of(read_config(SYSTEM_CONFIG, required=False, rules=TRUSTED))
    except ConfigError:
        return not_a_run_parts_name
    return layout.why_not if directory.resolve() in layout.system else not_a_run_parts_name


def _source_of(path: Path) -> Source:
    """The Source of a file: the place of a table says whether it has a user column."""
    directory = path.absolute().parent.name
    if directory in _OF_SYSTEM or (directory == "etc" and path.name == "crontab"):
        return Source(str(path), None)
    owner = path.name if directory in _OF_USERS else own_account().name
    return Source(str(path), owner)


def _problems_of_configuration(path: Path) -> list[Problem]:
    try:
        read_config(path, required=True, rules=TRUSTED)
    except ConfigError as error:
        return [error.problem]
    return []
