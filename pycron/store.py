"""The store: Runs and Attempts in SQLite.

What a tick begins is written in one transaction, with the cursor, before any of it starts; so after
a crash a fire time either has its Run or is still ahead of the cursor. Times are UTC seconds.
"""

import json
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

from pycron import host
from pycron.actions import (
    Record,
    RecordAttempt,
    RecordBoot,
    RecordCursor,
    RecordEnded,
    RecordGap,
    RecordNotStarted,
    RecordPause,
    RecordResume,
    RecordRevived,
    RecordRun,
    RecordRunner,
    RecordStarted,
    RecordWithdrawn,
)
from pycron.history import Filter, History, Row
from pycron.model import AttemptKey, Job, Outcome, Pause, Redrive, RunKey, Source
from pycron.repair import Repair, finish, newest, put_back, repair
from pycron.retention import Keep, Retention
from pycron.schedule import Reboot
from pycron.schema import (
    RecordRefused,
    StoreCorrupt,
    StoreError,
    StoreGone,
    StoreShut,
    StoreTooNew,
    open_blank,
    open_database,
    open_to_read,
    store_error,
)
from pycron.settings import Settings, intern
from pycron.timetable import Cursor

__all__ = ["Filter", "Keep", "RecordRefused", "Repair", "Row", "Store", "StoreCorrupt",
           "StoreError", "StoreShut", "StoreTooNew", "Unfinished"]  # fmt: skip

_FORGOTTEN_A_LOOK = 2000  # Runs, at the least

# What a command that runs is counted and ended by, and whether it is a dead letter, when its entry
# has gone while no daemon was there.
_KEPT_SETTINGS = ("pool", "kill_after", "retries")


@dataclass(frozen=True, slots=True)
class Unfinished:
    """A Run that has not ended: its last Attempt (0: none) and what is known of its Job.

    `outcome`, `exit_status`: of that Attempt, where it has ended; then `retry_at` is when the next
    one is due. `redrive`: the last one, where it has been a dead letter. `latest`: the last fire
    time of its Job that has come.
    """

    attempt: AttemptKey
    job: Job
    pid: int | None
    started: float | None
    outcome: Outcome | None
    retry_at: float | None
    redrive: Redrive | None
    latest: int | None
    exit_status: int | None


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
        self._forget()
        self._begun = 0
        known = self._meta
        try:
            with self._errors():
                if check:
                    self._check()
                found = dict(self._db.execute("SELECT key, value FROM meta").fetchall())
                self._meta = found | known  # what is known is what is newer
                self._history = History(self._db)
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
                self._set_meta(key, value)
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
        try:
            with self._errors(), self._transaction():
                for record in records:
                    self._write(record)
                self._write_starts()
            self._meta |= self._new_meta
            self._new_meta.clear()
        except StoreError:
            self._forget()
            raise

    def _check_writable(self) -> None:
        if self.shut:
            raise StoreShut(self.shut)
        if self._damage:
            raise self._damage
        self._check_file()

    def _forget(self) -> None:
        """What is known of row numbers, some of which may never have come to be."""
        self._new_meta: dict[str, str] = {}
        self._alive: dict[RunKey, int] = {}
        self._started: dict[AttemptKey, RecordStarted] = {}
        self._jobs: dict[str, tuple[int, int, Job]] = {}
        self._users: dict[str, int] = {}

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

    def _write(self, record: Record) -> None:
        match record:
            case RecordRun():
                self._write_run(record)
            case RecordAttempt():
                self._db.execute(
                    "INSERT INTO attempts (run, number) VALUES (?, ?)",
                    (self._run_number(record.attempt.run), record.attempt.number),
                )
            case RecordStarted():
                self._started[record.attempt] = record
            case RecordEnded():
                self._write_end(record)
            case RecordWithdrawn():
                self._db.execute(
                    "DELETE FROM attempts WHERE run = ? AND number = ?",
                    self._attempt_number(record.attempt),
                )
            case RecordNotStarted():
                number = self._run_number(record.run)
                self._end_run(record.run, number, record.outcome, record.reason, record.dead)
            case RecordRevived():
                number, at = record.redrive.number, record.redrive.at
                self._db.execute(
                    "UPDATE runs SET outcome = NULL, reason = NULL, dead = 0, retry_at = ?,"
                    " redriven = ?, redriven_at = ? WHERE number = ?",
                    (at, number, at, self._run_number(record.run)),
                )
            case RecordCursor():
                self._set_meta("cursor", json.dumps(astuple(record.cursor)))
            case RecordGap():
                self._db.execute(
                    "INSERT INTO gaps (after, until, wall, reason) VALUES (?, ?, ?, ?)",
                    (record.gap.after, record.gap.until, record.gap.wall, record.reason),
                )
            case RecordPause():
                pause = record.pause
                self._db.execute(
                    "INSERT OR REPLACE INTO pauses VALUES (?, ?, ?, ?, ?)",
                    (pause.scope, pause.since, pause.until, pause.by, _text(pause.reason)),
                )
            case RecordResume():
                self._db.execute("DELETE FROM pauses WHERE scope = ?", (record.scope,))
            case RecordBoot():
                self._set_meta("boot_id", record.boot_id)
                self._set_meta("booted", json.dumps([record.second, record.turn]))
            case RecordRunner():
                self._set_meta("runner", record.instance)

    def _write_run(self, record: RecordRun) -> None:
        run = record.run
        row = (*self._job_and_user(record.job), run.fire_time, run.turn, record.by)
        done = self._db.execute(
            "INSERT INTO runs (job, user, fire_time, pass, started_by) VALUES (?, ?, ?, ?, ?)", row
        )
        assert done.lastrowid
        self._alive[run] = done.lastrowid
        self._begun += 1

    def _write_starts(self) -> None:
        """Those whose end did not come with them."""
        for record in self._started.values():
            self._db.execute(
                "UPDATE attempts SET pid = ?, started = ? WHERE run = ? AND number = ?",
                (record.pid, record.started, *self._attempt_number(record.attempt)),
            )
        self._started.clear()

    def _write_end(self, record: RecordEnded) -> None:
        attempt, ending = record.attempt, record.ending
        run = self._run_number(attempt.run)
        start = self._started.pop(attempt, None)
        values: tuple[Any, ...] = (None,) * 7
        if ending is not None:
            values = (ending.ended, ending.exit_status, ending.signal, ending.cpu_seconds,
                      ending.memory_peak, ending.output_bytes, ending.output_kept)  # fmt: skip
        self._db.execute(
            "UPDATE attempts SET pid = coalesce(?, pid), started = coalesce(?, started),"
            " outcome = ?, reason = ?, ended = ?, exit_status = ?, signal = ?, cpu_seconds = ?,"
            " memory_peak = ?, output_bytes = ?, output_kept = ? WHERE run = ? AND number = ?",
            (start and start.pid, start and start.started, record.outcome, _text(record.reason),
             *values, run, attempt.number),
        )  # fmt: skip
        if ending is not None and ending.output is not None:
            self._db.execute(
                "INSERT OR REPLACE INTO outputs VALUES (?, ?, ?)",
                (run, attempt.number, ending.output),
            )
        if record.run_outcome is not None:
            self._end_run(attempt.run, run, record.run_outcome, record.reason, record.dead)
        else:
            query = "UPDATE runs SET retry_at = ? WHERE number = ?"
            self._db.execute(query, (record.retry_at, run))

    def _end_run(
        self, run: RunKey, number: int, outcome: Outcome, reason: str | None, dead: bool
    ) -> None:
        self._db.execute(
            "UPDATE runs SET outcome = ?, reason = ?, dead = ?, retry_at = NULL WHERE number = ?",
            (outcome, _text(reason), dead, number),
        )
        del self._alive[run]

    def _job_and_user(self, job: Job) -> tuple[int, int]:
        """The rows of a Job, brought up to date, and of its user.

        Its line, its name or its zone may be others than they were.
        """
        known = self._jobs.get(job.id)
        if known and (known[2] is job or known[2] == job):
            return known[0], known[1]
        user = self._user_number(job.user)
        row = (job.id, job.name, _text(job.source.name), job.line, user, _text(job.schedule.text),
               job.zone, _text(job.command), _kept_settings(job.settings))  # fmt: skip
        number: int = self._db.execute(
            'INSERT INTO jobs (id, name, "table", line, user, schedule, zone, command,'
            " settings) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET"
            " name = excluded.name, line = excluded.line, user = excluded.user,"
            " schedule = excluded.schedule, zone = excluded.zone, command = excluded.command,"
            " settings = excluded.settings RETURNING number",
            row,
        ).fetchone()[0]
        self._jobs[job.id] = number, user, job
        return number, user

    def _user_number(self, name: str) -> int:
        if name not in self._users:
            self._db.execute("INSERT OR IGNORE INTO users (name) VALUES (?)", (name,))
            row = self._db.execute("SELECT number FROM users WHERE name = ?", (name,)).fetchone()
            self._users[name] = row[0]
        return self._users[name]

    def _run_number(self, run: RunKey) -> int:
        """The row of a Run that is alive; looked up once."""
        number = self._alive.get(run)
        if number is None:
            number = self._alive[run] = self._find_run(run)
        return number

    def _find_run(self, run: RunKey) -> int:
        row = self._db.execute(
            "SELECT runs.number FROM runs JOIN jobs ON jobs.number = runs.job"
            " WHERE jobs.id = ? AND fire_time = ? AND pass = ?",
            (run.job_id, run.fire_time, run.turn),
        ).fetchone()
        if row is None:
            raise sqlite3.IntegrityError(f"no Run {run}")
        return int(row[0])

    def _attempt_number(self, attempt: AttemptKey) -> tuple[int, int]:
        return self._run_number(attempt.run), attempt.number

    def drop_dead(self, key: RunKey) -> None:
        """The Run stays in history, but waits for nobody any more. Raises StoreError."""
        self._check_writable()
        with self._errors():
            number = self._find_run(key)
            self._db.execute("UPDATE runs SET dead = 0 WHERE number = ?", (number,))

    def prune(self, limits: Keep, remove: Callable[[list[AttemptKey]], None]) -> None:
        """Forget a part of what is beyond the limits, and more than what came since last time.

        `remove` deletes the output files of Attempts; what it raises undoes it all. Raises
        StoreError.
        """
        self._check_writable()
        at_once = max(_FORGOTTEN_A_LOOK, 2 * self._begun)
        with self._errors():
            with self._transaction():
                jobs_have_gone = self._retention.look(limits, at_once, remove)
            if jobs_have_gone:
                self._jobs.clear()
            self._begun = 0
            self._retention.shrink()

    # ---- reading

    def meta(self, key: str) -> str | None:
        """What is on record under this key."""
        return self._meta.get(key)

    def _set_meta(self, key: str, value: str) -> None:
        self._db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))
        self._new_meta[key] = value

    def cursor(self) -> Cursor | None:
        """How far the last daemon had come."""
        text = self.meta("cursor")
        if text is None:
            return None
        fixed, wall, stepped = json.loads(text)
        return Cursor(fixed, wall, tuple(stepped))

    def pauses(self) -> list[Pause]:
        """The pauses that hold. Raises StoreError."""
        with self._errors():
            return [Pause(*row) for row in self._db.execute("SELECT * FROM pauses ORDER BY since")]

    def gap_at(self, instant: int, *, wall: bool) -> str | None:
        """Why fire times at this UTC second have no Run; None where nothing is on record.

        `wall`: of Jobs that follow the wall clock, else of fixed ones. Raises StoreError.
        """
        with self._errors():
            row = self._db.execute(
                "SELECT reason FROM gaps WHERE after < ? AND until >= ? AND wall = ?"
                " ORDER BY number DESC LIMIT 1",
                (instant, instant, wall),
            ).fetchone()
        return None if row is None else str(row[0])

    def boots_in(self, second: int) -> int:
        """How many boots this second has seen, of which the last one is on record."""
        text = self.meta("booted")
        last, turn = json.loads(text) if text else (None, 0)
        return turn + 1 if last == second else 0

    def done_after(self, instant: int) -> list[RunKey]:
        """The Runs that have ended although their fire time comes after an instant.

        Raises StoreError.
        """
        query = (
            "SELECT jobs.id, fire_time, pass FROM runs JOIN jobs ON jobs.number = runs.job"
            " WHERE fire_time > ? AND outcome IS NOT NULL"
        )
        with self._errors():
            return [RunKey(*row) for row in self._db.execute(query, (instant,))]

    def unfinished(self) -> list[Unfinished]:
        """The Runs that have not ended, in the order in which they were recorded.

        Raises StoreError.
        """
        cursor = self.cursor()
        # What lies beyond came before the clock was set back.
        reached = cursor.wall if cursor else 0
        query = (
            'SELECT jobs.id, jobs.name, jobs."table", jobs.line, users.name AS user, jobs.command,'
            " jobs.settings, runs.fire_time, runs.pass, runs.retry_at, runs.redriven,"
            " runs.redriven_at,"
            " attempts.number AS attempt, attempts.pid, attempts.started, attempts.outcome,"
            " attempts.exit_status,"
            " (SELECT max(fire_time) FROM runs AS others WHERE others.job = runs.job"
            " AND fire_time <= ? AND started_by IS NULL) AS latest"
            " FROM runs JOIN jobs ON jobs.number = runs.job JOIN users ON users.number = runs.user"
            " LEFT JOIN attempts ON attempts.run = runs.number AND attempts.number ="
            " (SELECT max(number) FROM attempts WHERE run = runs.number)"
            " WHERE runs.outcome IS NULL ORDER BY runs.number"
        )
        with self._errors():
            return [_unfinished(row) for row in self._db.execute(query, (reached,))]

    def runs(self, wanted: Filter) -> list[Row]:
        """Runs with their Attempts, newest first. Raises StoreError."""
        with self._errors():
            return self._history.runs(wanted)

    def run(self, key: RunKey) -> tuple[Row, list[Row]] | None:
        """One Run and all its Attempts; None when there is none. Raises StoreError."""
        with self._errors():
            return self._history.run(key)

    def short_output(self, attempt: AttemptKey) -> bytes | None:
        """What an Attempt has printed; None where that is in a file. Raises StoreError."""
        query = (
            "SELECT data FROM outputs JOIN runs ON runs.number = outputs.run"
            " JOIN jobs ON jobs.number = runs.job"
            " WHERE jobs.id = ? AND fire_time = ? AND pass = ? AND outputs.number = ?"
        )
        run = attempt.run
        with self._errors():
            row = self._db.execute(
                query, (run.job_id, run.fire_time, run.turn, attempt.number)
            ).fetchone()
        return None if row is None else bytes(row[0])

    def knows(self, attempt: AttemptKey) -> bool:
        """Whether it is on record. Raises StoreError."""
        query = (
            "SELECT 1 FROM attempts JOIN runs ON runs.number = attempts.run"
            " JOIN jobs ON jobs.number = runs.job"
            " WHERE jobs.id = ? AND fire_time = ? AND pass = ? AND attempts.number = ?"
        )
        run = attempt.run
        values = (run.job_id, run.fire_time, run.turn, attempt.number)
        with self._errors():
            return self._db.execute(query, values).fetchone() is not None

    def owners_of(self, job: str) -> set[str]:
        """The users of all Jobs on record that have this name or id. Raises StoreError."""
        with self._errors():
            return self._history.owners_of(job)

    def count_runs(self) -> int:
        """How many Runs there are. Raises StoreError."""
        with self._errors():
            return int(self._db.execute("SELECT total(runs) FROM jobs").fetchone()[0])


def _text(text: str | None) -> str | None:
    """As SQLite can store it: bytes that are no UTF-8 are shown as escapes."""
    if text is None:
        return None
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


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


def _unfinished(row: sqlite3.Row) -> Unfinished:
    run = RunKey(row["id"], row["fire_time"], row["pass"])
    redriven_at = row["redriven_at"]
    return Unfinished(
        attempt=AttemptKey(run, row["attempt"] or 0),
        job=_job_of(row),
        pid=row["pid"],
        started=row["started"],
        outcome=Outcome(row["outcome"]) if row["outcome"] else None,
        retry_at=row["retry_at"],
        redrive=None if redriven_at is None else Redrive(row["redriven"], redriven_at),
        latest=row["latest"],
        exit_status=row["exit_status"],
    )


def _kept_settings(settings: Settings) -> str:
    return json.dumps({name: getattr(settings, name) for name in _KEPT_SETTINGS})


def _settings_of(text: str | None) -> Settings:
    """Of what was kept; the defaults where that is damaged, or of an older version."""
    try:
        kept = json.loads(text or "{}")
        return intern(frozenset((name, kept[name]) for name in _KEPT_SETTINGS if name in kept))
    except (ValueError, TypeError):
        return intern(frozenset())


def _job_of(row: sqlite3.Row) -> Job:
    """What is known of a Job whose entry may have gone: enough to see its Run to its end."""
    return Job(
        id=row["id"],
        name=row["name"],
        source=Source(row["table"], row["user"]),
        line=row["line"],
        user=row["user"],
        schedule=Reboot(),
        command=row["command"],
        stdin=None,
        environment=(),
        settings=_settings_of(row["settings"]),
    )
