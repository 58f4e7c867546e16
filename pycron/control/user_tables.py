"""Users' tables over the control socket: what pycrontab(1) lists, installs and deletes."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from pycron.config import Config
from pycron.control.access import Access, Refusal, user_of
from pycron.control.server import Peer
from pycron.crontab import reader
from pycron.crontab.reader import ReaderContext
from pycron.engine.actions import Log
from pycron.engine.log_events import Event
from pycron.model.job import Source
from pycron.model.problem import problem_row
from pycron.protocol.framing import Message
from pycron.tables.files import Unreadable, install, read_table, remove, too_many
from pycron.tables.loaded import Tables


@dataclass(frozen=True, slots=True)
class UserTables:
    """Where users' tables are installed: the spool, or the one table of a user's own daemon."""

    directory: Path
    only: tuple[str, Path] | None = None

    def path_of(self, user: str) -> Path | None:
        if self.only:
            return self.only[1] if user == self.only[0] else None
        return self.directory / user


@dataclass(slots=True)
class UserTableRequests:
    """`paths` is None where no table can be installed (foreground)."""

    paths: UserTables | None
    access: Access
    tables: Tables
    config: Config
    context: Callable[[], ReaderContext]
    log: Callable[[Log], None]

    @property
    def _is_system(self) -> bool:
        return self.paths is not None and self.paths.only is None

    def _table_path(self, peer: Peer, request: Message) -> tuple[str, Path]:
        user = self.access.table_owner(peer, request, listed=self._is_system)
        if self.paths is None:
            raise Refusal("this daemon runs the tables that it was given; edit those files")
        path = self.paths.path_of(user)
        if path is None:
            raise Refusal(f"this is the daemon of another user than {user}")
        return user, path

    def read(self, peer: Peer, request: Message) -> Message:
        user, path = self._table_path(peer, request)
        try:
            text, _ = read_table(str(path), None, self.config.table_bytes)
        except FileNotFoundError:
            return {"user": user, "text": None}
        except Unreadable as error:
            raise Refusal(f"{path}: {error}") from None
        return {"user": user, "text": text}

    def install(self, peer: Peer, request: Message) -> Message:
        user, path = self._table_path(peer, request)
        text = request.get("text")
        if not isinstance(text, str):
            raise Refusal("install: no text")
        most = self.config.user_table_bytes
        try:
            size = len(text.encode("utf-8", "surrogateescape"))
        except UnicodeEncodeError:
            raise Refusal("install: the text is no text") from None
        if size > most:
            raise Refusal(f"the table is larger than {most} bytes (limits.user_table_bytes)")
        context = replace(self.context(), most_entries=self.config.user_table_entries)
        table = reader.parse(text, Source(user, user), context)
        problems = [problem_row(problem) for problem in table.problems]
        if table.errors:
            raise Refusal("the table has errors; nothing was installed", problems=problems)
        if self.tables.count() >= self.config.tables and not path.exists():
            raise Refusal(too_many(self.config.tables))
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            install(path, text, None)
        except OSError as error:
            raise Refusal(f"{path}: cannot be written: {error.strerror}") from None
        fields = {"table": user, "by": user_of(peer), "jobs": len(table.jobs)}
        self.log(Log(Event.TABLE_INSTALLED, fields))
        self.tables.rescan()
        return {"user": user, "problems": problems, "jobs": len(table.jobs)}

    def delete(self, peer: Peer, request: Message) -> Message:
        user, path = self._table_path(peer, request)
        try:
            remove(path)
        except FileNotFoundError:
            return {"user": user, "deleted": False}
        except OSError as error:
            raise Refusal(f"{path}: cannot be deleted: {error.strerror}") from None
        self.log(Log(Event.TABLE_DELETED, {"table": user, "by": user_of(peer)}))
        self.tables.rescan()
        return {"user": user, "deleted": True}
