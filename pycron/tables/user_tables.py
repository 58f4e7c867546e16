"""Users' own tables: read, checked, installed and removed. Implements `ports.UserTables`."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from pycron.config import Config
from pycron.crontab import reader
from pycron.crontab.junk import NOT_A_TABLE
from pycron.crontab.reader import ReaderContext
from pycron.crontab.table import Table
from pycron.model.job import Source
from pycron.model.problem import Problem, Severity
from pycron.model.steps import Steps, finish
from pycron.model.table_version import Origin, Provenance, TableVersion
from pycron.ports import TableFailure, Tables
from pycron.system.files import WRONG_OWNER, FileRules, Unreadable
from pycron.tables import files
from pycron.tables.spool_form import PLAIN, SpoolForm, without_header
from pycron.tables.versions import NoVersion, TableVersions


@dataclass(frozen=True, slots=True)
class UserTablePaths:
    """Where users' tables are: in the spool `directory`, each named after its user.

    `only`: the one user with a table, and its path, for a user's own daemon. `form`: what the files
    look like.
    """

    directory: Path
    only: tuple[str, Path] | None = None
    form: SpoolForm = PLAIN

    def path_of(self, user: str) -> Path | None:
        """The path of a user's table; None if the user cannot have one here."""
        if self.only:
            return self.only[1] if user == self.only[0] else None
        return self.directory / user


@dataclass(frozen=True, slots=True)
class UserTableFiles:
    """The files of users' tables. The caller rescans `loaded` after a change.

    `context`: what the daemon reads tables with. `loaded`: the tables of the daemon. `kept`: the
    last versions of the tables. `attend`: does what is due; it is called while a table is read.
    """

    paths: UserTablePaths
    config: Callable[[], Config]
    context: Callable[[], ReaderContext]
    loaded: Tables
    kept: TableVersions
    attend: Callable[[], object] = lambda: None

    @property
    def of_all_users(self) -> bool:
        """Whether every user of the machine has a table here (system mode)."""
        return self.paths.only is None

    def read(self, user: str) -> str | None:
        """The text of a user's table; None if there is none. Raises TableFailure.

        A file that belongs to another uid is none: an account that gets a used name inherits
        nothing.
        """
        path = self._path_of(user)
        try:
            rules = FileRules(owners=self.paths.form.owners)
            text, _ = files.read_table(str(path), rules, self.config().table_bytes)
        except FileNotFoundError:
            return None
        except Unreadable as error:
            if error.code == WRONG_OWNER:
                return None
            raise TableFailure(f"{path}: {error}") from None
        return without_header(text)

    def install(self, user: str, text: str, by: Provenance) -> Steps[Table]:
        """Check the text and put it in place of the user's table, whole or not at all.

        The Table that is returned has warnings at most; a version that could not be kept is one.
        Raises TableFailure.
        """
        path = self._path_of(user)
        self._check_size(text)
        table = yield from self._checked(user, text)
        self._check_count(path)
        self._notice(user)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        form = self.paths.form
        try:
            files.install(path, form.header(time.time()) + text, form.owner(user))
        except OSError as error:
            raise TableFailure(f"{path}: cannot be written: {error.strerror}") from None
        if self.kept.is_newest(user, text):
            return table  # a program that installs the same text each hour must not push others out
        reason = self.kept.keep(user, text, by, len(table.jobs))
        return table if reason is None else _with_warning(table, reason)

    def remove(self, user: str, author: str) -> bool:
        """Delete a user's table; False if there was none. Raises TableFailure."""
        path = self._path_of(user)
        self._notice(user)
        try:
            files.remove(path)
        except FileNotFoundError:
            return False
        except OSError as error:
            raise TableFailure(f"{path}: cannot be deleted: {error.strerror}") from None
        self.kept.keep(user, None, Provenance(author, Origin.DELETE), 0)
        return True

    def versions(self, user: str) -> list[TableVersion]:
        """The last versions of a user's table, the newest first. Raises TableFailure."""
        self._path_of(user)
        self._notice(user)
        versions = self.kept.of(user)
        if versions and self.kept.is_newest(user, self.read(user)):
            versions[0] = replace(versions[0], current=True)
        return versions

    def version(self, user: str, number: int) -> str | None:
        """The text of a version; None if the table was deleted then. Raises TableFailure."""
        self._path_of(user)
        try:
            return self.kept.text(user, number)
        except NoVersion as error:
            raise TableFailure(str(error)) from None

    def _notice(self, user: str) -> None:
        """Keep the table as it is now, in case somebody has changed its file."""
        try:
            text = self.read(user)
        except TableFailure:
            return  # what cannot be read cannot be kept
        self.kept.notice(user, text, lambda: self._count(user, text or ""))

    def _path_of(self, user: str) -> Path:
        path = self.paths.path_of(user)
        if path is None:
            raise TableFailure(f"this is the daemon of another user than {user}")
        return path

    def _check_size(self, text: str) -> None:
        most = self.config().user_table_bytes
        try:
            size = len(text.encode("utf-8", "surrogateescape"))
        except UnicodeEncodeError:
            raise TableFailure("install: the text is no text") from None
        if size > most:
            message = f"the table is larger than {most} bytes (limits.user_table_bytes)"
            raise TableFailure(message)

    def _checked(self, user: str, text: str) -> Steps[Table]:
        table = yield from self._parsing(user, text)
        if table.errors:
            message = "the table has errors; nothing was installed"
            # That so many entries are bad matters only for a file that is there already.
            problems = tuple(each for each in table.problems if each.code != NOT_A_TABLE)
            raise TableFailure(message, problems)
        return table

    def _count(self, user: str, text: str) -> int:
        """How many entries a text has."""
        return len(finish(self._parsing(user, text), self.attend).jobs)

    def _parsing(self, user: str, text: str) -> Steps[Table]:
        context = replace(self.context(), most_entries=self.config().user_table_entries)
        return reader.parsing(text, Source(user, user), context)

    def _check_count(self, path: Path) -> None:
        """A new table needs room; a changed one does not."""
        most = self.config().tables
        if self.loaded.count() >= most and not path.exists():
            raise TableFailure(files.too_many(most))


def _with_warning(table: Table, reason: str) -> Table:
    message = f"this version could not be kept for --restore: {reason}"
    name = table.source.name
    problem = Problem(name, 0, 1, Severity.WARNING, "version-not-kept", message)
    return replace(table, problems=(*table.problems, problem))
