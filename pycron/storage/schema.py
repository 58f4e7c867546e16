"""The schema of the database, its migrations, and how a database is opened."""

import re
import sqlite3
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

from pycron.storage.errors import SQLITE_ERRORS, StoreError, StoreTooNew, store_error

_TABLES = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;

CREATE TABLE totals (output_kept INTEGER NOT NULL);
INSERT INTO totals VALUES (0);

CREATE TABLE users (number INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);

CREATE TABLE jobs (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    "table" TEXT NOT NULL,
    line INTEGER NOT NULL,
    user INTEGER NOT NULL REFERENCES users,
    schedule TEXT NOT NULL,
    zone TEXT,
    command TEXT NOT NULL,
    runs INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX jobs_by_name ON jobs (name);

-- `user` stays the owner of the Run if the Job gets another owner.
CREATE TABLE runs (
    number INTEGER PRIMARY KEY,
    job INTEGER NOT NULL REFERENCES jobs,
    user INTEGER NOT NULL REFERENCES users,
    fire_time INTEGER NOT NULL,
    pass INTEGER NOT NULL,
    outcome TEXT,
    reason TEXT,
    retry_at REAL,
    started_by TEXT,
    dead INTEGER NOT NULL DEFAULT 0,
    redriven INTEGER NOT NULL DEFAULT 0,
    UNIQUE (job, fire_time, pass)
);
CREATE INDEX runs_by_time ON runs (fire_time);
CREATE INDEX runs_by_outcome ON runs (outcome, user, fire_time);
CREATE INDEX dead ON runs (fire_time) WHERE dead;

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
CREATE INDEX attempts_with_output ON attempts (run) WHERE output_kept > 0;

-- `wall`: 1 and 0 for the two kinds of Jobs; 2 for refused fire times (see refused.py).
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

-- Counts that retention needs.
CREATE TRIGGER run_added AFTER INSERT ON runs BEGIN
    UPDATE jobs SET runs = runs + 1 WHERE number = new.job;
END;
CREATE TRIGGER run_gone AFTER DELETE ON runs BEGIN
    UPDATE jobs SET runs = runs - 1 WHERE number = old.job;
END;
CREATE TRIGGER output_added AFTER INSERT ON attempts WHEN new.output_kept > 0 BEGIN
    UPDATE totals SET output_kept = output_kept + new.output_kept;
END;
CREATE TRIGGER output_changed AFTER UPDATE OF output_kept ON attempts
WHEN coalesce(new.output_kept, 0) <> coalesce(old.output_kept, 0) BEGIN
    UPDATE totals SET output_kept =
        output_kept - coalesce(old.output_kept, 0) + coalesce(new.output_kept, 0);
END;
CREATE TRIGGER output_gone AFTER DELETE ON attempts WHEN old.output_kept > 0 BEGIN
    UPDATE totals SET output_kept = output_kept - old.output_kept;
END;
"""

# Short outputs, which have no file.
_SHORT_OUTPUTS = """
CREATE TABLE outputs (
    run INTEGER NOT NULL,
    number INTEGER NOT NULL,
    data BLOB NOT NULL,
    PRIMARY KEY (run, number)
) WITHOUT ROWID;
CREATE TRIGGER attempt_gone AFTER DELETE ON attempts WHEN old.output_kept > 0 BEGIN
    DELETE FROM outputs WHERE run = old.run AND number = old.number;
END;
CREATE TRIGGER output_dropped AFTER UPDATE OF output_kept ON attempts WHEN new.output_kept = 0 BEGIN
    DELETE FROM outputs WHERE run = old.run AND number = old.number;
END;
"""

# `redriven` becomes the number of the last Attempt before the last redrive; before, it was 0 or 1.
_REDRIVES = """
ALTER TABLE runs ADD COLUMN redriven_at REAL;
UPDATE runs SET redriven_at = fire_time,
    redriven = (SELECT count(*) FROM attempts WHERE run = runs.number) WHERE redriven;
"""

# The settings that a Run needs after its entry was removed, as JSON; see unfinished.py.
_SETTINGS = "ALTER TABLE jobs ADD COLUMN settings TEXT;"

# The bytes of output of each Job; before, `totals` had the sum of all Jobs.
_OUTPUTS_OF_JOBS = """
ALTER TABLE jobs ADD COLUMN output_kept INTEGER NOT NULL DEFAULT 0;
UPDATE jobs SET output_kept = (
    SELECT coalesce(sum(attempts.output_kept), 0) FROM runs
    JOIN attempts ON attempts.run = runs.number WHERE runs.job = jobs.number
);
DROP TABLE totals;
DROP TRIGGER output_added;
DROP TRIGGER output_changed;
DROP TRIGGER output_gone;
CREATE TRIGGER output_added AFTER INSERT ON attempts WHEN new.output_kept > 0 BEGIN
    UPDATE jobs SET output_kept = output_kept + new.output_kept
    WHERE number = (SELECT job FROM runs WHERE number = new.run);
END;
CREATE TRIGGER output_changed AFTER UPDATE OF output_kept ON attempts
WHEN coalesce(new.output_kept, 0) <> coalesce(old.output_kept, 0) BEGIN
    UPDATE jobs SET output_kept =
        output_kept - coalesce(old.output_kept, 0) + coalesce(new.output_kept, 0)
    WHERE number = (SELECT job FROM runs WHERE number = new.run);
END;
CREATE TRIGGER output_gone AFTER DELETE ON attempts WHEN old.output_kept > 0 BEGIN
    UPDATE jobs SET output_kept = output_kept - old.output_kept
    WHERE number = (SELECT job FROM runs WHERE number = old.run);
END;
"""

# Deliveries: `delivery` is 1 for them and NULL for other Runs. A Job that tells about another Job
# has the id of that Job in `about`. In `meta`, `failing:ID` stands for a Job whose last Run failed,
# as far as somebody wants to know when it recovers, and `mail_is_new` until the users of an earlier
# version know that mail is sent now. The trigger gets shorter, because the schema has to fit on the
# first page.
_DELIVERIES = """
DROP TRIGGER output_changed;
ALTER TABLE jobs ADD COLUMN about TEXT;
ALTER TABLE jobs ADD COLUMN delivery TEXT;
ALTER TABLE runs ADD COLUMN delivery INTEGER;
CREATE INDEX deliveries ON runs (fire_time) WHERE delivery;
CREATE TRIGGER output_changed AFTER UPDATE OF output_kept ON attempts
WHEN new.output_kept IS NOT old.output_kept BEGIN
    UPDATE jobs SET output_kept =
        output_kept - ifnull(old.output_kept, 0) + ifnull(new.output_kept, 0)
    WHERE number = (SELECT job FROM runs WHERE number = new.run);
END;
INSERT INTO meta SELECT 'mail_is_new', 'yes' WHERE EXISTS (SELECT 1 FROM meta WHERE key = 'cursor');
"""

# What retention needs to know of each user. `attempts.user`: whose output it is; NULL without one.
# `jobs.size`: bytes of the texts of a Job. `users.uid`: a name that gets another uid is another
# user; NULL in older rows until the name is used again. The triggers get shorter, because the
# schema has to fit on the first page.
_SHARES = """
DROP INDEX dead;
DROP INDEX attempts_with_output;
DROP TRIGGER output_changed;
DROP TRIGGER attempt_gone;
DROP TRIGGER output_dropped;
DROP TRIGGER output_added;
DROP TRIGGER output_gone;
CREATE INDEX dead ON runs(user,fire_time) WHERE dead;
ALTER TABLE users ADD COLUMN uid INTEGER;
ALTER TABLE jobs ADD COLUMN size INTEGER DEFAULT 0;
UPDATE jobs SET size = length(command) + ifnull(length(settings), 0);
ALTER TABLE attempts ADD COLUMN user INTEGER;
UPDATE attempts SET user = (SELECT user FROM runs WHERE number = run) WHERE output_kept > 0;
CREATE INDEX attempts_with_output ON attempts(user,run) WHERE output_kept>0;
CREATE TRIGGER attempt_gone AFTER DELETE ON attempts WHEN old.output_kept>0 BEGIN
    DELETE FROM outputs WHERE run=old.run AND number=old.number;
    UPDATE jobs SET output_kept=output_kept-old.output_kept
    WHERE number=(SELECT job FROM runs WHERE number=old.run);
END;
CREATE TRIGGER output_dropped AFTER UPDATE OF output_kept ON attempts WHEN new.output_kept=0 BEGIN
    DELETE FROM outputs WHERE run=old.run AND number=old.number;
END;
CREATE TRIGGER output_added AFTER INSERT ON attempts WHEN new.output_kept>0 BEGIN
    UPDATE jobs SET output_kept=output_kept+new.output_kept
    WHERE number=(SELECT job FROM runs WHERE number=new.run);
END;
CREATE TRIGGER output_changed AFTER UPDATE OF output_kept ON attempts
WHEN new.output_kept IS NOT old.output_kept BEGIN
    UPDATE jobs SET output_kept=output_kept-ifnull(old.output_kept,0)+ifnull(new.output_kept,0)
    WHERE number=(SELECT job FROM runs WHERE number=new.run);
END;
"""

# The Attempts of shared Runs that this host has; see shared.py.
_SHARED = "CREATE TABLE shared(key TEXT PRIMARY KEY,data TEXT)WITHOUT ROWID;"

# Step n converts version n to version n + 1; a released step is never changed.
MIGRATIONS = [
    _TABLES, _SHORT_OUTPUTS, _REDRIVES, _SETTINGS, _OUTPUTS_OF_JOBS, _DELIVERIES, _SHARES, _SHARED,
]  # fmt: skip

JOURNAL_BYTES = 4 * 2**20  # to which the write-ahead log is cut when its pages are in the file
_PAGE = 4096  # bytes


def open_database(path: Path) -> sqlite3.Connection:
    """Open the database; create or migrate it if necessary. Raises StoreError."""
    try:
        # The files that SQLite creates beside this one get the same permissions.
        with suppress(OSError):  # it exists, or SQLite reports the error
            path.touch(0o600, exist_ok=False)
        database = sqlite3.connect(path, isolation_level=None, timeout=5)
        try:
            database.row_factory = sqlite3.Row
            _migrate(database, path)
            database.execute("PRAGMA journal_mode = WAL")
            limit_journal(database, JOURNAL_BYTES)
            database.execute("PRAGMA synchronous = FULL")
            database.execute("PRAGMA foreign_keys = ON")
            # SQLite may have opened the file read-only, which only a write reports.
            database.execute("DELETE FROM meta WHERE 0")
        except BaseException:
            database.close()
            raise
    except SQLITE_ERRORS as error:
        raise store_error(path, error) from error
    return database


def limit_journal(database: sqlite3.Connection, most: int) -> None:
    """Move the pages of the write-ahead log to the file before there are more than `most` bytes.

    A single transaction may need more.
    """
    database.execute(f"PRAGMA wal_autocheckpoint = {max(1, most // _PAGE)}")
    database.execute(f"PRAGMA journal_size_limit = {most}")


def open_to_read(path: Path) -> sqlite3.Connection:
    """Open the database read-only, also on a read-only disk. Raises StoreError."""
    log = path.with_name(f"{path.name}-wal")
    # Without a log everything is in the file, and SQLite would try to create a log.
    how = "mode=ro" if log.exists() and log.stat().st_size else "immutable=1"
    try:
        database = sqlite3.connect(f"file:{quote(str(path))}?{how}", uri=True, isolation_level=None)
        database.row_factory = sqlite3.Row
        try:
            (version,) = database.execute("PRAGMA user_version").fetchone()
        except SQLITE_ERRORS:
            database.close()
            raise
    except SQLITE_ERRORS as error:
        raise store_error(path, error) from error
    if version != len(MIGRATIONS):
        database.close()
        raise StoreError(f"{path}: schema version {version}, and it can't be brought up to date")
    return database


def open_blank() -> sqlite3.Connection:
    """An empty database in memory."""
    database = sqlite3.connect(":memory:", isolation_level=None)
    database.row_factory = sqlite3.Row
    _migrate(database, Path(":memory:"))
    return database


def _migrate(database: sqlite3.Connection, path: Path) -> None:
    """Do each missing step in a transaction of its own, with the new version number."""
    version = database.execute("PRAGMA user_version").fetchone()[0]
    if version > len(MIGRATIONS):
        reason = f"schema version {version}; this pycron knows {len(MIGRATIONS)}"
        raise StoreTooNew(f"{path}: {reason}")
    if version == 0:
        database.execute("PRAGMA auto_vacuum = INCREMENTAL")  # so that it can shrink again
    for number, step in enumerate(MIGRATIONS[version:], version + 1):
        database.executescript(
            f"BEGIN IMMEDIATE;{_in_one_line(step)}PRAGMA user_version = {number};COMMIT;"
        )


def _in_one_line(script: str) -> str:
    """The script without comments and line breaks, which SQLite would store.

    So the schema fits on the first page, and damage elsewhere never makes a table unreadable.
    """
    return re.sub(r"\s+", " ", re.sub(r"--.*", "", script))
