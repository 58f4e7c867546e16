"""Writes the records of the engine as rows of the database."""

import sqlite3
from collections.abc import Callable, Iterable
from typing import Any

from pycron.engine.actions import (
    Record,
    RecordAttempt,
    RecordBoot,
    RecordCursor,
    RecordDiscarded,
    RecordEnded,
    RecordFailing,
    RecordGap,
    RecordNotStarted,
    RecordPause,
    RecordRefused,
    RecordResume,
    RecordRevived,
    RecordRun,
    RecordRunner,
    RecordStarted,
    RecordTakenUp,
    RecordWithdrawn,
)
from pycron.engine.shared_actions import (
    RecordHold,
    RecordReported,
    RecordSharedCursor,
    RecordSharedEnd,
)
from pycron.model.job import Job
from pycron.model.run import AttemptKey, Outcome, RunKey
from pycron.storage import owners
from pycron.storage.deliveries import FAILING, stored_delivery
from pycron.storage.meta import boot_text, cursor_text
from pycron.storage.refused import write_refused
from pycron.storage.rows import find_run
from pycron.storage.shared import write_hold, write_shared
from pycron.storage.unfinished import stored_settings

_PAGE = 4096  # bytes that a small file takes
_MOST_KNOWN = 2048  # Jobs whose rows are known to be up to date; each takes half a kilobyte


class Writer:
    """Knows the numbers of the rows that it has written; a failed transaction needs a new Writer.

    `kept`: bytes of output of the Attempts whose end it has written; a file has at least a page.
    """

    def __init__(
        self, database: sqlite3.Connection, uid_of: Callable[[str], int | None] = lambda _: None
    ) -> None:
        self._db = database
        self._uid_of = uid_of
        self.kept = 0
        self._meta: dict[str, str] = {}
        self._live_runs: dict[RunKey, int] = {}
        self._started: dict[AttemptKey, RecordStarted] = {}
        self._jobs: dict[str, tuple[int, int, Job]] = {}
        self._users: dict[str, int] = {}

    def forget_rows(self) -> None:
        """Look up the rows of Jobs and users again: some were deleted or have another name."""
        self._jobs.clear()
        self._users.clear()

    def write(self, records: Iterable[Record]) -> dict[str, str]:
        """Write records in their order; the values of `meta` among them. Raises sqlite3.Error."""
        self._meta = {}
        for record in records:
            self._write(record)
        self._write_starts()
        return self._meta

    def _write(self, record: Record) -> None:
        match record:
            case RecordRun():
                self._write_run(record)
            case RecordHold():
                self._write_hold(record)
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
            case RecordDiscarded():
                number = self._run_number(record.run)
                self._db.execute("DELETE FROM runs WHERE number = ?", (number,))
                del self._live_runs[record.run]
            case RecordTakenUp():
                self._db.execute(
                    "UPDATE runs SET outcome = NULL, reason = NULL WHERE number = ?",
                    (self._run_number(record.run),),
                )
            case RecordRevived():
                number, at = record.redrive.number, record.redrive.at
                self._db.execute(
                    "UPDATE runs SET outcome = NULL, reason = NULL, dead = 0, retry_at = ?,"
                    " redriven = ?, redriven_at = ? WHERE number = ?",
                    (at, number, at, self._run_number(record.run)),
                )
            case _:
                self._write_state(record)

    def _write_state(
        self,
        record: RecordCursor
        | RecordGap
        | RecordRefused
        | RecordPause
        | RecordResume
        | RecordBoot
        | RecordRunner
        | RecordFailing
        | RecordSharedEnd
        | RecordReported
        | RecordSharedCursor,
    ) -> None:
        """Write a record that belongs to no Run."""
        match record:
            case RecordCursor():
                self._write_meta("cursor", cursor_text(record.cursor))
            case RecordGap():
                self._db.execute(
                    "INSERT INTO gaps (after, until, wall, reason) VALUES (?, ?, ?, ?)",
                    (record.gap.after, record.gap.until, record.gap.wall, record.reason),
                )
            case RecordRefused():
                write_refused(self._db, record.refused)
            case RecordPause():
                pause = record.pause
                self._db.execute(
                    "INSERT OR REPLACE INTO pauses VALUES (?, ?, ?, ?, ?)",
                    (str(pause.scope), pause.since, pause.until, pause.by, _text(pause.reason)),
                )
            case RecordResume():
                self._db.execute("DELETE FROM pauses WHERE scope = ?", (str(record.scope),))
            case RecordBoot():
                self._write_meta("boot_id", record.boot_id)
                self._write_meta("booted", boot_text(record.second, record.pass_number))
            case RecordRunner():
                self._write_meta("runner", record.instance)
            case RecordSharedEnd() | RecordReported() | RecordSharedCursor():
                write_shared(self._db, record)
            case RecordFailing():
                change = "DELETE FROM meta WHERE key = ?"
                if record.failing:
                    change = "INSERT OR REPLACE INTO meta VALUES (?, 'yes')"
                self._db.execute(change, (f"{FAILING}{record.job_id}",))

    def _write_run(self, record: RecordRun) -> None:
        run = record.run
        row = (*self._job_and_user(record.job), run.fire_time, run.pass_number, record.by,
               record.planned, 1 if record.job.delivery else None)  # fmt: skip
        done = self._db.execute(
            "INSERT INTO runs (job, user, fire_time, pass, started_by, retry_at, delivery)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            row,
        )
        assert done.lastrowid
        self._live_runs[run] = done.lastrowid

    def _write_hold(self, record: RecordHold) -> None:
        """A shared Run is one of this host's; an earlier Attempt of it may have ended here."""
        run = record.hold.run
        row = (*self._job_and_user(record.job), run.fire_time, run.pass_number)
        found = self._db.execute(
            "INSERT INTO runs (job, user, fire_time, pass) VALUES (?, ?, ?, ?)"
            " ON CONFLICT (job, fire_time, pass) DO UPDATE SET outcome = NULL, reason = NULL"
            " RETURNING number",
            row,
        ).fetchone()
        self._live_runs[run] = found[0]
        write_hold(self._db, record)

    def _write_starts(self) -> None:
        """The starts of Attempts whose end is not among the same records."""
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
            if ending.output_kept:
                self.kept += max(ending.output_kept, _PAGE if ending.output is None else 0)
        self._db.execute(
            "UPDATE attempts SET pid = coalesce(?, pid), started = coalesce(?, started),"
            " outcome = ?, reason = ?, ended = ?, exit_status = ?, signal = ?, cpu_seconds = ?,"
            " memory_peak = ?, output_bytes = ?, output_kept = ?,"
            " user = CASE WHEN ? THEN (SELECT user FROM runs WHERE number = run) END"
            " WHERE run = ? AND number = ?",
            (start and start.pid, start and start.started, record.outcome, _text(record.reason),
             *values, bool(values[-1]), run, attempt.number),
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
        del self._live_runs[run]

    def _job_and_user(self, job: Job) -> tuple[int, int]:
        """The row numbers of a Job and of its user; the Job's row is brought up to date."""
        known = self._jobs.get(job.id)
        if known and (known[2] is job or known[2] == job):
            return known[0], known[1]
        user = self._user_number(job.user)
        command, settings = _text(job.command), stored_settings(job)
        row = (job.id, job.name, _text(job.source.name), job.line, user, _text(job.schedule.text),
               job.zone, command, settings, job.delivery and job.delivery.job_id,
               stored_delivery(job.delivery), len(command or "") + len(settings))  # fmt: skip
        number: int = self._db.execute(
            'INSERT INTO jobs (id, name, "table", line, user, schedule, zone, command,'
            " settings, about, delivery, size) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
            " ON CONFLICT (id) DO UPDATE SET"
            " name = excluded.name, line = excluded.line, user = excluded.user,"
            " schedule = excluded.schedule, zone = excluded.zone, command = excluded.command,"
            " settings = excluded.settings, about = excluded.about, delivery = excluded.delivery,"
            " size = excluded.size"
            " RETURNING number",
            row,
        ).fetchone()[0]
        if len(self._jobs) >= _MOST_KNOWN:
            self._jobs.clear()
        self._jobs[job.id] = number, user, job
        return number, user

    def _user_number(self, name: str) -> int:
        if name not in self._users:
            self._users[name] = owners.number_of(self._db, name, self._uid_of(name))
        return self._users[name]

    def _run_number(self, run: RunKey) -> int:
        """The row number of a Run that has not ended; looked up once."""
        number = self._live_runs.get(run)
        if number is None:
            number = self._live_runs[run] = self._find(run)
        return number

    def drop_dead(self, run: RunKey) -> None:
        """The Run is no dead letter any more. Raises sqlite3.Error."""
        self._db.execute("UPDATE runs SET dead = 0 WHERE number = ?", (self._find(run),))

    def _find(self, run: RunKey) -> int:
        """The row number of any recorded Run. Raises sqlite3.Error."""
        number = find_run(self._db, run)
        if number is None:
            raise sqlite3.IntegrityError(f"no Run {run}")
        return number

    def _attempt_number(self, attempt: AttemptKey) -> tuple[int, int]:
        return self._run_number(attempt.run), attempt.number

    def _write_meta(self, key: str, value: str) -> None:
        self._db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))
        self._meta[key] = value


def _text(text: str | None) -> str | None:
    """The text as SQLite can store it: bytes that are not UTF-8 become escapes."""
    if text is None:
        return None
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
