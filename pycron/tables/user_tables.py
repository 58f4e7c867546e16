"""Users' own tables: read, checked, installed and removed. Implements `ports.UserTables`."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from pycron.crontab import reader
from pycron.crontab.reader import ReaderContext
from pycron.crontab.table import Table
from pycron.model.job import Source
from pycron.ports import TableFailure, Tables
from pycron.tables import files


@dataclass(frozen=True, slots=True)
class UserTablePaths:
    """Where users' tables are: in the spool `directory`, each named after its user.

    `only`: the one user with a table, and its path, for a user's own daemon.
    """

    directory: Path
    only: tuple[str, Path] | None = None

    def path_of(self, user: str) -> Path | None:
        """The path of a user's table; None if the user cannot have one here."""
        if self.only:
            return self.only[1] if user == self.only[0] else None
        return self.directory / user


@dataclass(frozen=True, slots=True)
class UserTableLimits:
    """Limits of the configuration. `table_bytes`: of a table that is read.

    `user_table_bytes` and `user_table_entries`: of a table that a user installs. `tables`: of the
    number of tables.
    """

    table_bytes: int
    user_table_bytes: int
    user_table_entries: int
    tables: int


@dataclass(frozen=True, slots=True)
class UserTableFiles:
    """The files of users' tables. The caller rescans `loaded` after a change.

    `context`: what the daemon reads tables with. `loaded`: the tables of the daemon.
    """

    paths: UserTablePaths
    limits: UserTableLimits
    context: Callable[[], ReaderContext]
    loaded: Tables

    @property
    def of_all_users(self) -> bool:
        """Whether every user of the machine has a table here (system mode)."""
        return self.paths.only is None

    def read(self, user: str) -> str | None:
        """The text of a user's table; None if there is none. Raises TableFailure."""
        path = self._path_of(user)
        try:
            text, _ = files.read_table(str(path), files.ANY_OWNER, self.limits.table_bytes)
        except FileNotFoundError:
            return None
        except files.Unreadable as error:
            raise TableFailure(f"{path}: {error}") from None
        return text

    def install(self, user: str, text: str) -> Table:
        """Check the text and put it in place of the user's table, whole or not at all.

        The Table that is returned has warnings at most. Raises TableFailure.
        """
        path = self._path_of(user)
        self._check_size(text)
        table = self._checked(user, text)
        self._check_count(path)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            files.install(path, text, None)
        except OSError as error:
            raise TableFailure(f"{path}: cannot be written: {error.strerror}") from None
        return table

    def remove(self, user: str) -> bool:
        """Delete a user's table; False if there was none. Raises TableFailure."""
        path = self._path_of(user)
        try:
            files.remove(path)
        except FileNotFoundError:
            return False
        except OSError as error:
            raise TableFailure(f"{path}: cannot be deleted: {error.strerror}") from None
        return True

    def _path_of(self, user: str) -> Path:
        path = self.paths.path_of(user)
        if path is None:
            raise TableFailure(f"this is the daemon of another user than {user}")
        return path

    def _check_size(self, text: str) -> None:
        most = self.limits.user_table_bytes
        try:
            size = len(text.encode("utf-8", "surrogateescape"))
        except UnicodeEncodeError:
            raise TableFailure("install: the text is no text") from None
        if size > most:
            message = f"the table is larger than {most} bytes (limits.user_table_bytes)"
            raise TableFailure(message)

    def _checked(self, user: str, text: str) -> Table:
        context = replace(self.context(), most_entries=self.limits.user_table_entries)
        table = reader.parse(text, Source(user, user), context)
        if table.errors:
            message = "the table has errors; nothing was installed"
            raise TableFailure(message, table.problems)
        return table

    def _check_count(self, path: Path) -> None:
        """A new table needs room; a changed one does not."""
        most = self.limits.tables
        if self.loaded.count() >= most and not path.exists():
            raise TableFailure(files.too_many(most))
