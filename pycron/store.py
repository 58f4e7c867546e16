"""The store: Runs and Attempts in SQLite.

What a tick begins is written in one transaction, with the cursor, before any of it starts; so after
a crash a fire time either has its Run or is still ahead of the cursor. Times are UTC seconds.
"""

import json
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

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
from pycron.model import AttemptKey, Job, Outcome, Pause, RunKey, Source
from pycron.schedule import Reboot
from pycron.settings import intern
from pycron.timetable import Cursor

_VERSION = 1
_SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;

CREATE TABLE jobs (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    "table" TEXT NOT NULL,
    line INTEGER NOT NULL,
    user TEXT NOT NULL,
    schedule TEXT NOT NULL,
    zone TEXT,
    command TEXT NOT NULL
);

CREATE TABLE runs (
    number INTEGER PRIMARY KEY,
    job INTEGER NOT NULL REFERENCES jobs,
    fire_time INTEGER NOT NULL,
    pass INTEGER NOT NULL,
    outcome TEXT,
    reason TEXT,
    retry_at REAL,
    started_by TEXT,
    dead INTEGER NOT NULL DEFAULT 0,
    UNIQUE (job, fire_time, pass)
);
CREATE INDEX unfinished ON runs (number) WHERE outcome IS NULL;
CREATE INDEX dead ON runs (number) WHERE dead;

CREATE TABLE attempts (
    run INTEGER NOT NULL REFERENCES runs,
    number INTEGER NOT NULL,
    pid INTEGER,
    started REAL,
    ended REAL,
    outcome TEXT,
    exit_status INTEGER,
    signal INTEGER,
    cpu_seconds REAL,
    memory_peak INTEGER,
    output_bytes INTEGER,
    output_kept INTEGER,
    reason TEXT,
    PRIMARY KEY (run, number)
) WITHOUT ROWID;

CREATE TABLE gaps (
    number INTEGER PRIMARY KEY,
    after INTEGER NOT NULL,
    until INTEGER NOT NULL,
    wall INTEGER NOT NULL,
    reason TEXT NOT NULL
);

CREATE TABLE pauses (
    scope TEXT PRIMARY KEY,
    since REAL NOT NULL,
    until REAL,
    by TEXT NOT NULL,
    reason TEXT
) WITHOUT ROWID;
"""

_SELECT_RUNS = """
SELECT runs.number, jobs.id AS job_id, jobs.name AS job, jobs."table", jobs.line, jobs.user,
    jobs.schedule, jobs.zone, jobs.command, runs.fire_time, runs.pass, runs.outcome, runs.reason,
    runs.dead, runs.retry_at, runs.started_by
FROM runs JOIN jobs ON jobs.number = runs.job
"""

Row = dict[str, Any]


class StoreError(Exception):
    """The database can't be used: which, and why."""


class RecordRefused(StoreError):
    """A record that the database will never take."""


@dataclass(frozen=True, slots=True)
class Unfinished:
    """A Run that has not ended: its last Attempt (0: none) and what is known of its Job.

    `outcome`: of that Attempt, where it has ended; then `retry_at` is when the next one is due.
    """

    attempt: AttemptKey
    job: Job
    pid: int | None
    started: float | None
    outcome: Outcome | None
    retry_at: float | None


@dataclass(frozen=True, slots=True)
class Filter:
    """Which Runs to list: None is any. Newest first, below run number `before`."""

    limit: int
    job: str | None = None
    user: str | None = None
    outcome: str | None = None
    since: float | None = None
    until: float | None = None
    before: int | None = None
    dead: bool | None = None


class Store:
    """One connection, one writer."""

    def __init__(self, path: Path) -> None:
        """Open or create the database. Raises StoreError."""
        self._path = path
        try:
            with suppress(OSError):  # SQLite says what is wrong
                path.touch(0o600)  # what it puts beside the file has the same permissions
            self._db = sqlite3.connect(path, isolation_level=None, timeout=5)
            self._db.row_factory = sqlite3.Row
            self._migrate()
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = FULL")
            self._db.execute("PRAGMA foreign_keys = ON")
        except sqlite3.Error as error:
            raise StoreError(f"{path}: {error}") from error
        self._jobs: dict[str, tuple[int, tuple[Any, ...]]] = {}
        self._pruned = 0

    def _migrate(self) -> None:
        version = self._db.execute("PRAGMA user_version").fetchone()[0]
        if version == 0:
            self._db.execute("PRAGMA auto_vacuum = INCREMENTAL")  # so that it can shrink again
            self._db.executescript(f"BEGIN;{_SCHEMA}PRAGMA user_version = {_VERSION};COMMIT;")
        elif version != _VERSION:
            reason = f"schema version {version}; this pycron knows {_VERSION}"
            raise StoreError(f"{self._path}: {reason}")

    def close(self) -> None:
        self._db.close()

    # ---- writing

    def write(self, records: Iterable[Record]) -> None:
        """All of the records, or none of them. Raises StoreError."""
        try:
            with self._transaction():
                for record in records:
                    self._write(record)
        except (sqlite3.IntegrityError, OverflowError) as error:
            self._jobs.clear()
            raise RecordRefused(f"{self._path}: {error}") from error
        except sqlite3.Error as error:
            self._jobs.clear()
            raise StoreError(f"{self._path}: {error}") from error

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
                self._db.execute(
                    "INSERT INTO runs (job, fire_time, pass, started_by) VALUES (?, ?, ?, ?)",
                    (
                        self._job_number(record.job),
                        record.run.fire_time,
                        record.run.turn,
                        record.by,
                    ),
                )
            case RecordAttempt():
                self._db.execute(
                    "INSERT INTO attempts (run, number) VALUES (?, ?)",
                    (self._run_number(record.attempt.run), record.attempt.number),
                )
            case RecordStarted():
                self._db.execute(
                    "UPDATE attempts SET pid = ?, started = ? WHERE run = ? AND number = ?",
                    (record.pid, record.started, *self._attempt_number(record.attempt)),
                )
            case RecordEnded():
                self._write_end(record)
            case RecordWithdrawn():
                self._db.execute(
                    "DELETE FROM attempts WHERE run = ? AND number = ?",
                    self._attempt_number(record.attempt),
                )
            case RecordNotStarted():
                run = self._run_number(record.run)
                self._end_run(run, record.outcome, record.reason, record.dead)
            case RecordRevived():
                self._db.execute(
                    "UPDATE runs SET outcome = NULL, reason = NULL, dead = 0 WHERE number = ?",
                    (self._run_number(record.run),),
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

    def _write_end(self, record: RecordEnded) -> None:
        ending = record.ending
        key = self._attempt_number(record.attempt)
        values: tuple[Any, ...] = (None,) * 7
        if ending is not None:
            values = (ending.ended, ending.exit_status, ending.signal, ending.cpu_seconds,
                      ending.memory_peak, ending.output_bytes, ending.output_kept)  # fmt: skip
        self._db.execute(
            "UPDATE attempts SET outcome = ?, reason = ?, ended = ?, exit_status = ?, signal = ?,"
            " cpu_seconds = ?, memory_peak = ?, output_bytes = ?, output_kept = ?"
            " WHERE run = ? AND number = ?",
            (record.outcome, _text(record.reason), *values, *key),
        )
        if record.run_outcome is not None:
            self._end_run(key[0], record.run_outcome, record.reason, record.dead)
        else:
            self._db.execute(
                "UPDATE runs SET retry_at = ? WHERE number = ?", (record.retry_at, key[0])
            )

    def _end_run(self, run: int, outcome: Outcome, reason: str | None, dead: bool) -> None:
        self._db.execute(
            "UPDATE runs SET outcome = ?, reason = ?, dead = ?, retry_at = NULL WHERE number = ?",
            (outcome, _text(reason), dead, run),
        )

    def _job_number(self, job: Job) -> int:
        """The row of a Job, brought up to date: its line, its name or its zone may be others."""
        row = (job.name, _text(job.source.name), job.line, job.user, _text(job.schedule.text),
               job.zone, _text(job.command))  # fmt: skip
        known = self._jobs.get(job.id)
        if known and known[1] == row:
            return known[0]
        number: int = self._db.execute(
            'INSERT INTO jobs (id, name, "table", line, user, schedule, zone, command)'
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET name = excluded.name,"
            " line = excluded.line, user = excluded.user, schedule = excluded.schedule,"
            " zone = excluded.zone, command = excluded.command RETURNING number",
            (job.id, *row),
        ).fetchone()[0]
        self._jobs[job.id] = number, row
        return number

    def _run_number(self, run: RunKey) -> int:
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

    def prune(self, before: int, most: int, at_once: int = 2000) -> list[AttemptKey]:
        """Forget the oldest Runs: those due before an instant, and all but the newest `most`.

        Looks at `at_once` of them and no further, so it costs the same however long the history is.
        Dead letters and what has not ended stay. The Attempts whose output can go. Raises
        StoreError.
        """
        try:
            with self._transaction():
                gone = self._prune(before, most, at_once)
            self._db.executescript("PRAGMA incremental_vacuum(1000)")  # execute frees one page only
        except sqlite3.Error as error:
            raise StoreError(f"{self._path}: {error}") from error
        return gone

    def _prune(self, before: int, most: int, at_once: int) -> list[AttemptKey]:
        newest_to_go = self.count_runs() - most
        rows = self._db.execute(
            "SELECT runs.number, jobs.id, fire_time, pass, outcome IS NULL OR dead AS kept"
            " FROM runs JOIN jobs ON jobs.number = runs.job"
            " WHERE runs.number > ? ORDER BY runs.number LIMIT ?",
            (self._pruned, at_once),
        ).fetchall()
        gone: list[AttemptKey] = []
        for row in rows:
            if row["number"] > newest_to_go and row["fire_time"] >= before:
                break
            self._pruned = row["number"]
            if row["kept"]:
                continue
            run = RunKey(row["id"], row["fire_time"], row["pass"])
            deleted = self._db.execute(
                "DELETE FROM attempts WHERE run = ? RETURNING number", (row["number"],)
            )
            gone += [AttemptKey(run, attempt[0]) for attempt in deleted.fetchall()]
            self._db.execute("DELETE FROM runs WHERE number = ?", (row["number"],))
        return gone

    # ---- reading

    def meta(self, key: str) -> str | None:
        row = self._db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return None if row is None else str(row[0])

    def _set_meta(self, key: str, value: str) -> None:
        self._db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))

    def cursor(self) -> Cursor | None:
        """How far the last daemon had come."""
        text = self.meta("cursor")
        if text is None:
            return None
        fixed, wall, stepped = json.loads(text)
        return Cursor(fixed, wall, tuple(stepped))

    def pauses(self) -> list[Pause]:
        """The pauses that hold."""
        return [Pause(*row) for row in self._db.execute("SELECT * FROM pauses ORDER BY since")]

    def gap_at(self, instant: int, *, wall: bool) -> str | None:
        """Why fire times at this UTC second have no Run; None where nothing is on record.

        `wall`: of Jobs that follow the wall clock, else of fixed ones.
        """
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
        """The Runs that have ended although their fire time comes after an instant."""
        rows = self._db.execute(
            "SELECT jobs.id, fire_time, pass FROM runs JOIN jobs ON jobs.number = runs.job"
            " WHERE fire_time > ? AND outcome IS NOT NULL",
            (instant,),
        )
        return [RunKey(*row) for row in rows]

    def unfinished(self) -> Iterator[Unfinished]:
        """The Runs that had not ended, in the order in which they were recorded."""
        for row in self._db.execute(
            'SELECT jobs.id, jobs.name, jobs."table", jobs.line, jobs.user, jobs.command,'
            " runs.fire_time, runs.pass, runs.retry_at, attempts.number AS attempt,"
            " attempts.pid, attempts.started, attempts.outcome"
            " FROM runs JOIN jobs ON jobs.number = runs.job"
            " LEFT JOIN attempts ON attempts.run = runs.number AND attempts.number ="
            " (SELECT max(number) FROM attempts WHERE run = runs.number)"
            " WHERE runs.outcome IS NULL ORDER BY runs.number"
        ):
            run = RunKey(row["id"], row["fire_time"], row["pass"])
            attempt = AttemptKey(run, row["attempt"] or 0)
            outcome = Outcome(row["outcome"]) if row["outcome"] else None
            yield Unfinished(
                attempt, _job_of(row), row["pid"], row["started"], outcome, row["retry_at"]
            )

    def runs(self, wanted: Filter) -> list[Row]:
        """Runs with their last Attempt, newest first."""
        tests: list[str] = []
        values: list[Any] = []
        for test, value in (
            ("(jobs.name = ? OR jobs.id = ?)", wanted.job),
            ("jobs.user = ?", wanted.user),
            ("runs.outcome IS ?", wanted.outcome),
            ("runs.fire_time >= ?", wanted.since),
            ("runs.fire_time < ?", wanted.until),
            ("runs.number < ?", wanted.before),
            ("runs.dead = ?", wanted.dead),
        ):
            if value is not None:
                tests.append(test)
                values += [value] * test.count("?")
        where = " AND ".join(tests) or "1"
        query = f"{_SELECT_RUNS} WHERE {where} ORDER BY runs.number DESC LIMIT ?"
        rows = [dict(row) for row in self._db.execute(query, (*values, wanted.limit))]
        for row in rows:
            row["run_id"] = str(RunKey(row["job_id"], row["fire_time"], row["pass"]))
            attempts = self._attempts(row["number"])
            row["all"] = attempts
        return rows

    def drop_dead(self, key: RunKey) -> None:
        """The Run stays in history, but waits for nobody any more. Raises StoreError."""
        try:
            number = self._run_number(key)
            self._db.execute("UPDATE runs SET dead = 0 WHERE number = ?", (number,))
        except sqlite3.Error as error:
            raise StoreError(f"{self._path}: {error}") from error

    def owners_of(self, job: str) -> set[str]:
        """The users of all Jobs that ever had this name or id."""
        query = "SELECT DISTINCT user FROM jobs WHERE name = ? OR id = ?"
        return {row[0] for row in self._db.execute(query, (job, job))}

    def run(self, key: RunKey) -> tuple[Row, list[Row]] | None:
        """One Run and all its Attempts; None when there is none."""
        query = f"{_SELECT_RUNS} WHERE jobs.id = ? AND runs.fire_time = ? AND runs.pass = ?"
        row = self._db.execute(query, (key.job_id, key.fire_time, key.turn)).fetchone()
        if row is None:
            return None
        return dict(row) | {"run_id": str(key)}, self._attempts(row["number"])

    def _attempts(self, run: int) -> list[Row]:
        query = "SELECT * FROM attempts WHERE run = ? ORDER BY number"
        return [dict(row) for row in self._db.execute(query, (run,))]

    def count_runs(self) -> int:
        """How many Runs there are, about: without looking at each."""
        row = self._db.execute("SELECT coalesce(max(number), 0) FROM runs").fetchone()
        return int(row[0])


def _text(text: str | None) -> str | None:
    """As SQLite can store it: bytes that are no UTF-8 are shown as escapes."""
    if text is None:
        return None
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _job_of(row: sqlite3.Row) -> Job:
    """What is known of a Job whose entry may have gone: enough to say how its Run ended."""
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
        settings=intern(frozenset()),
    )
