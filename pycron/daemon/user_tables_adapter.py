"""THROW-AWAY: ports.UserTables until tables.user_tables exists."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from pycron.config import Config
from pycron.crontab import reader
from pycron.crontab.reader import ReaderContext
from pycron.crontab.table import Table
from pycron.model.job import Source
from pycron.ports import TableFailure
from pycron.tables.files import Unreadable, install, read_table, remove, too_many
from pycron.tables.loaded import Tables


@dataclass(frozen=True, slots=True)
class UserTableDirectory:
    directory: Path
    only: tuple[str, Path] | None = None


@dataclass(slots=True)
class AdaptedUserTables:
    paths: UserTableDirectory
    tables: Tables
    config: Config
    context: Callable[[], ReaderContext]

    @property
    def of_all_users(self) -> bool:
        return self.paths.only is None

    def _path(self, user: str) -> Path:
        if not self.paths.only:
            return self.paths.directory / user
        if user != self.paths.only[0]:
            raise TableFailure(f"this is the daemon of another user than {user}")
        return self.paths.only[1]

    def read(self, user: str) -> str | None:
        path = self._path(user)
        try:
            return read_table(str(path), None, self.config.table_bytes)[0]
        except FileNotFoundError:
            return None
        except Unreadable as error:
            raise TableFailure(f"{path}: {error}") from None

    def install(self, user: str, text: str) -> Table:
        path = self._path(user)
        most = self.config.user_table_bytes
        if len(text.encode("utf-8", "surrogateescape")) > most:
            raise TableFailure(f"the table is larger than {most} bytes (limits.user_table_bytes)")
        context = replace(self.context(), most_entries=self.config.user_table_entries)
        table = reader.parse(text, Source(user, user), context)
        if table.errors:
            raise TableFailure("the table has errors; nothing was installed", table.problems)
        if self.tables.count() >= self.config.tables and not path.exists():
            raise TableFailure(too_many(self.config.tables))
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            install(path, text, None)
        except OSError as error:
            raise TableFailure(f"{path}: cannot be written: {error.strerror}") from None
        return table

    def remove(self, user: str) -> bool:
        path = self._path(user)
        try:
            remove(path)
        except FileNotFoundError:
            return False
        except OSError as error:
            raise TableFailure(f"{path}: cannot be deleted: {error.strerror}") from None
        return True
