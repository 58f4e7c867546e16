"""The store: Runs and Attempts in SQLite.

What a tick begins is written in one transaction, with the cursor, before any of it starts; so after
a crash a fire time either has its Run or is still ahead of the cursor. Times are UTC seconds.
"""

import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

from pycron.engine.actions import Record, RecordCursor
from pycron.engine.cursor import Cursor
from pycron.model.history import RunFilter, RunRecord, UnfinishedRun
from pycron.model.pause import Pause
from pycron.model.retention import RetentionLimits
from pycron.model.run import AttemptKey, RunKey
from pycron.storage import history, unfinished
from pycron.storage.cursor_file import CursorFile
from pycron.storage.errors import (
    StoreCorrupt,
    StoreError,
    StoreGone,
    StoreShut,
    StoreTooNew,
    store_error,
)
from pycron.storage.meta import boot_of, cursor_of, cursor_text
from pycron.storage.repair import Repair, finish, newest, put_back, repair
from pycron.storage.retention import Retention
from pycron.storage.rows import text
from pycron.storage.schema import open_blank, open_database, open_to_read
from pycron.storage.writer import Writer
from pycron.system import host

P = ParamSpec("P")
T = TypeVar("T")

_FORGOTTEN_A_LOOK = 2000  # Runs, at the least


class Store:
    """One connection, one writer.

    `repaired`: what was done to a file that was found damaged when it was opened. `shut`: why it
    can't be opened; until it can, nothing is written. `unread`: it could not even be read so far,
    and what an earlier daemon has left is not known.
    """

    def __init__(self, path: Path, *, may_wait: bool = False) -> None:
        """Open or create the database, repaired where it is damaged. Raises StoreError.

        `may_wait`: one that can't be opened is shut, for now, and only one that is too new is an
        error.
        """
        self._path = path
        self._cursor_file = CursorFile(path)
        self._meta: dict[str, str] = {}
        self.repaired: Repair | None = None
        self.shut: str | None = None
        self.unread = False
        try:
            try:
                self._open()
            except StoreCorrupt as error:
                self.repaired = self._replace(error)
        except StoreError as error:
            if not may_wait or isinstance(error, StoreTooNew):
                raise
            self.unread = not self._stand_in(error)

    def _open(self) -> None:
        """Raises StoreError."""
        try:
            finish(self._path)
        except OSError as error:
            raise StoreError(f"{self._path}: {error}") from error
        left_behind = self._path.with_name(f"{self._path.name}-wal").exists()
        self._use(open_database(self._path), check=left_behind)
        self._file = _identity(self._path)
        self.shut, self.unread = None, False

    def _use(self, database: sqlite3.Connection, *, check: bool = False) -> None:
        """Go on with this database, unless it can't be read. Raises StoreError."""
        self._db = database
        self._damage: StoreCorrupt | None = None
        self._writer = Writer(database)
        known = self._meta
        try:
            with self._errors():
                if check:
                    self._check()
                rows = self._db.execute("SELECT key, value FROM meta")
                found = {text(row, "key"): text(row, "value") for row in rows}
                self._cursor_file.recorded = found.get("cursor")
                if cursor := self._cursor_file.read():
                    found["cursor"] = cursor
                self._meta = found | known  # what is known is what is newer
                self._retention = Retention(self._db)
            self._try_reading()
        except StoreError:
            self._meta = known
            self._db.close()
            raise

    def _check(self) -> None:
        """The last daemon did not close it: it may have died with the machine."""
        (found,) = self._db.execute("PRAGMA quick_check(1)").fetchone()
        if found != "ok":
            raise StoreCorrupt(f"{self._path}: {found}")

    def _try_reading(self) -> None:
        """All that a daemon begins with: a part of it would mislead. Raises StoreError."""
        self.pauses()
        self.unfinished()
        cursor = self.cursor()
        if cursor:
            self.done_after(min(cursor.fixed, cursor.wall))
        with self._errors():
            self._db.execute("PRAGMA shrink_memory")

    def _stand_in(self, error: StoreError) -> bool:
        """What can be read of it has to do for now, or nothing; whether it can be read."""
        self.shut = str(error)
        try:
            self._use(open_to_read(newest(self._path)))
        except StoreError:
            self._use(open_blank())
            self._assume_booted(self._path)
            return False
        return True

    def open_again(self) -> None:
        """Try to, where it is shut. Raises StoreError; StoreCorrupt where it is to be repaired."""
        self._db.close()
        try:
            self._open()
        except StoreError as error:
            self._stand_in(error)
            raise

    def _check_file(self) -> None:
        """SQLite would go on writing into a file that is no longer there. Raises StoreCorrupt."""
        try:
            status = self._path.stat()
        except FileNotFoundError:
            raise StoreGone(f"{self._path}: the file was deleted") from None
        except OSError as error:
            raise StoreError(f"{self._path}: {error.strerror}") from error
        if (status.st_dev, status.st_ino) != self._file:
            raise StoreGone(f"{self._path}: the file was replaced by another one")
        if not status.st_size:
            raise StoreCorrupt(f"{self._path}: the file was emptied")

    def repair(self, error: StoreCorrupt) -> Repair:
        """Set the damaged file aside and go on with what can be read of it. Raises StoreError.

        One that is gone is still open: all of it is put back.
        """
        if isinstance(error, StoreGone):
            done = put_back(self._db, self._path, self._reason(error))
            self.open_again()
            return done
        self._db.close()
        try:
            return self._replace(error)
        except StoreError as failure:
            self._stand_in(failure)
            raise

    def _replace(self, error: StoreCorrupt) -> Repair:
        done = repair(self._path, self._reason(error))
        self._open()
        self._assume_booted(done.aside or self._path)
        with self._errors(), self._transaction():
            for key, value in self._meta.items():
                self._writer.set_meta(key, value)
        self._take_meta()
        return done

    def _reason(self, error: StoreError) -> str:
        return str(error).removeprefix(f"{self._path}: ")

    def _assume_booted(self, path: Path) -> None:
        """Of a file that was written to since the boot, a daemon has run its @reboot."""
        if "boot_id" not in self._meta and _written_since_boot(path):
            self._meta["boot_id"] = host.boot_id()

    def close(self) -> None:
        self._db.close()

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Errors of SQLite as ours; that the file is damaged is kept in mind."""
        try:
            yield
        except (sqlite3.Error, OverflowError) as error:
            failure = store_error(self._path, error)
            if isinstance(failure, StoreCorrupt):
                self._damage = failure
            raise failure from error

    # ---- writing

    def write(self, records: Iterable[Record]) -> None:
        """All of the records, or none of them. Raises StoreError.

        StoreShut where it is shut; StoreCorrupt also for damage that was met in reading.
        """
        self._check_writable()
        records = list(records)
        if (cursor := _cursor_alone(records)) and self._write_beside(cursor):
            return
        self._retention.disturb()
        try:
            with self._errors(), self._transaction():
                self._writer.write(records)
            self._take_meta()
        except StoreError:
            self._writer = Writer(self._db)
            raise

    def _write_beside(self, cursor: Cursor) -> bool:
        """Put it where that costs next to nothing; whether that could be done."""
        text = cursor_text(cursor)
        if not self._cursor_file.write(text):
            return False
        self._meta["cursor"] = text
        return True

    def _take_meta(self) -> None:
        """What has been written of it."""
        written, self._writer.meta = self._writer.meta, {}
        self._meta |= written
        self._cursor_file.recorded = written.get("cursor", self._cursor_file.recorded)

    def _check_writable(self) -> None:
        if self.shut:
            raise StoreShut(self.shut)
        if self._damage:
            raise self._damage
        self._check_file()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise

    def drop_dead(self, key: RunKey) -> None:
        """The Run stays in history, but waits for nobody any more. Raises StoreError."""
        self._check_writable()
        with self._errors():
            self._retention.disturb()
            self._writer.drop_dead(key)

    def prune(
        self, keep: RetentionLimits, before: int, remove: Callable[[list[AttemptKey]], None]
    ) -> None:
        """Forget a part of what is not to be kept, and more than what came since last time.

        That is also what was due before a UTC second. It doesn't look where nothing can be, so that
        an idle minute costs next to nothing. `remove` deletes the output files of Attempts; what it
        raises undoes it all. Raises StoreError.
        """
        if self._retention.has_nothing_for(keep, before):
            return
        self._check_writable()
        at_once = max(_FORGOTTEN_A_LOOK, 2 * self._writer.begun)
        with self._errors():
            with self._transaction():
                jobs_have_gone = self._retention.look(keep, before, at_once, remove)
            if jobs_have_gone:
                self._writer.forget_jobs()
            self._writer.begun = 0
            self._retention.shrink()

    # ---- reading; each method raises StoreError

    def cursor(self) -> Cursor | None:
        """How far the last daemon's timetable had come."""
        return cursor_of(self._meta.get("cursor"))

    def runner(self) -> str | None:
        """The name of the last runner process that Attempts were handed to."""
        return self._meta.get("runner")

    def boot_id(self) -> str | None:
        """The boot whose @reboot Jobs have run."""
        return self._meta.get("boot_id")

    def boots_in(self, second: int) -> int:
        """How many boots were recorded in this UTC second, if the last one is of that second."""
        last = boot_of(self._meta.get("booted"))
        return last[1] + 1 if last and last[0] == second else 0

    def pauses(self) -> list[Pause]:
        """The pauses that hold."""
        return self._query(unfinished.pauses)

    def done_after(self, instant: int) -> list[RunKey]:
        """The Runs that have ended although their fire time is after this UTC second."""
        return self._query(unfinished.done_after, instant)

    def unfinished(self) -> list[UnfinishedRun]:
        """The Runs that have not ended, in the order in which they were recorded."""
        cursor = self.cursor()
        return self._query(unfinished.unfinished, cursor.wall if cursor else 0)

    def runs(self, wanted: RunFilter) -> list[RunRecord]:
        """Runs with their Attempts, newest first."""
        return self._query(history.runs, wanted)

    def run(self, key: RunKey) -> RunRecord | None:
        """One Run with all its Attempts."""
        return self._query(history.run, key)

    def short_output(self, attempt: AttemptKey) -> bytes | None:
        """The output of an Attempt, if the store has it; None if a file may have it."""
        return self._query(history.short_output, attempt)

    def knows(self, attempt: AttemptKey) -> bool:
        """Whether the Attempt is recorded."""
        return self._query(history.knows, attempt)

    def owners_of(self, job: str) -> set[str]:
        """The users of all recorded Jobs that have this name or id."""
        return self._query(history.owners_of, job)

    def count_runs(self) -> int:
        """How many Runs are recorded."""
        return self._query(history.count_runs)

    def gap_at(self, instant: int, *, wall: bool) -> str | None:
        """Why fire times at this UTC second have no Run.

        `wall`: of Jobs that follow the wall clock; otherwise of fixed Jobs.
        """
        return self._query(history.gap_at, instant, wall)

    def _query(
        self,
        query: Callable[Concatenate[sqlite3.Connection, P], T],
        *args: P.args,
        **named: P.kwargs,
    ) -> T:
        with self._errors():
            return query(self._db, *args, **named)


def _cursor_alone(records: list[Record]) -> Cursor | None:
    """How far the timetable has come, where that is all there is to say: nothing was due."""
    cursor = None
    for record in records:
        if not isinstance(record, RecordCursor):
            return None
        cursor = record.cursor
    return cursor


def _identity(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_dev, status.st_ino


def _written_since_boot(path: Path) -> bool:
    booted = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
    for each in (path, path.with_name(f"{path.name}-wal")):
        with suppress(OSError):  # there need be no log, nor even the file
            if each.stat().st_mtime > booted:
                return True
    return False
