"""Opens the database file, repairs it if it is damaged, and stands in for an unusable one."""

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

from pycron.storage import unfinished
from pycron.storage.errors import (
    SQLITE_ERRORS,
    StoreCorrupt,
    StoreError,
    StoreGone,
    StoreShut,
    StoreTooNew,
    lacks_column,
    store_error,
)
from pycron.storage.meta import Meta
from pycron.storage.repair import Repair, finish, put_back, repair, valid_file
from pycron.storage.schema import open_blank, open_database, open_to_read
from pycron.system import host

P = ParamSpec("P")
T = TypeVar("T")


class Database:
    """One file, and the connection to it.

    `connection`: another one after open_again() and repair(). `repaired`: what was done to a file
    that was damaged when it was opened. `shut`: why the file cannot be opened; until it can, the
    connection is a stand-in and nothing is written. `unread`: the file could not even be read so
    far, so what an earlier daemon has recorded is not known.
    """

    def __init__(self, path: Path, *, may_wait: bool) -> None:
        """Open or create the file, and repair it if it is damaged. Raises StoreError.

        `may_wait`: a file that cannot be opened is `shut`; only one that is too new is an error.
        """
        self._path = path
        self.meta = Meta(path)
        self.repaired: Repair | None = None
        self.shut: str | None = None
        self.unread = False
        self._damage: StoreCorrupt | None = None
        try:
            try:
                self._open()
            except StoreCorrupt as error:
                self.repaired = self._replace(error)
        except StoreError as error:
            if not may_wait or isinstance(error, StoreTooNew):
                raise
            self.unread = not self._stand_in(error)

    def close(self) -> None:
        self.connection.close()

    # ---- using it

    def query(
        self,
        query: Callable[Concatenate[sqlite3.Connection, P], T],
        *args: P.args,
        **named: P.kwargs,
    ) -> T:
        """The result of a function that reads from the connection. Raises StoreError."""
        with self.errors():
            return query(self.connection, *args, **named)

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Raise errors of SQLite as StoreError, and remember that the file is damaged."""
        try:
            yield
        except (*SQLITE_ERRORS, OverflowError, IndexError) as error:
            if isinstance(error, IndexError) and not lacks_column(error):
                raise
            failure = store_error(self._path, error)
            if isinstance(failure, StoreCorrupt):
                self._damage = failure
            raise failure from error

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing. Raises StoreError."""
        with self.errors():
            self.connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                self.connection.execute("COMMIT")
            except BaseException:
                if self.connection.in_transaction:
                    self.connection.execute("ROLLBACK")
                raise

    def check_writable(self) -> None:
        """Raises StoreError: StoreShut, or StoreCorrupt also for damage that was met in reading."""
        if self.shut:
            raise StoreShut(self.shut)
        if self._damage:
            raise self._damage
        self._check_file()

    def _check_file(self) -> None:
        """SQLite would go on writing into a file that was deleted. Raises StoreError."""
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

    # ---- opening it

    def open_again(self) -> None:
        """Try to open a file that is `shut`. Raises StoreError; StoreCorrupt if it needs repair."""
        self.connection.close()
        try:
            self._open()
        except StoreError as error:
            self._stand_in(error)
            raise

    def _open(self) -> None:
        """Raises StoreError."""
        try:
            finish(self._path)
        except OSError as error:
            raise StoreError(f"{self._path}: {error}") from error
        left_open = self._path.with_name(f"{self._path.name}-wal").exists()
        self._use(open_database(self._path), check=left_open)
        status = self._path.stat()
        self._file = status.st_dev, status.st_ino
        self.shut, self.unread = None, False

    def _use(self, connection: sqlite3.Connection, *, check: bool = False) -> None:
        """Use this connection, unless what a daemon begins with cannot be read. Raises StoreError.

        If only a part were read it would mislead: with a cursor, but without the Runs ahead of it,
        these would run again.
        """
        self.connection = connection
        self._damage = None
        known = self.meta.copy()
        try:
            with self.errors():
                if check:
                    self._check_pages()
                self.meta.read(connection)
                unfinished.read_all(connection, self.meta.cursor())
                connection.execute("PRAGMA shrink_memory")
        except StoreError:
            self.meta.restore(known)
            connection.close()
            raise

    def _check_pages(self) -> None:
        """The last daemon did not close the file, so the machine may have crashed."""
        (found,) = self.connection.execute("PRAGMA quick_check(1)").fetchone()
        if found != "ok":
            raise StoreCorrupt(f"{self._path}: {found}")

    def _stand_in(self, error: StoreError) -> bool:
        """Use what can be read of the file, or an empty database; whether the file can be read."""
        self.shut = str(error)
        try:
            self._use(open_to_read(valid_file(self._path)))
        except StoreError:
            self._use(open_blank())
            self._assume_booted(self._path)
            return False
        return True

    # ---- repairing it

    def repair(self, error: StoreCorrupt) -> Repair:
        """Set the damaged file aside, and go on with what can be read of it. Raises StoreError."""
        if isinstance(error, StoreGone):
            done = put_back(self.connection, self._path, self._reason(error))
            self.open_again()
            return done
        self.connection.close()
        try:
            return self._replace(error)
        except StoreError as failure:
            self._stand_in(failure)
            raise

    def _replace(self, error: StoreCorrupt) -> Repair:
        done = repair(self._path, self._reason(error))
        self._open()
        self._assume_booted(done.aside or self._path)
        with self.transaction():
            self.meta.write(self.connection)
        return done

    def _reason(self, error: StoreError) -> str:
        return str(error).removeprefix(f"{self._path}: ")

    def _assume_booted(self, path: Path) -> None:
        """If the file was written to since the boot, a daemon has run the @reboot Jobs."""
        if _written_since_boot(path):
            self.meta.assume_booted(host.boot_id())


def _written_since_boot(path: Path) -> bool:
    booted = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
    for each in (path, path.with_name(f"{path.name}-wal")):
        with suppress(OSError):  # the log, and even the file, may not exist
            if each.stat().st_mtime > booted:
                return True
    return False
