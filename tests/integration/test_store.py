"""The store: a write is kept whole or not at all, until retention deletes it."""

import random
import sqlite3
import tracemalloc
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from pycron.crontab.reader import ReaderContext, parse
from pycron.engine.actions import (
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
)
from pycron.engine.cursor import Cursor, Gap
from pycron.engine.delivery_jobs import mail_job
from pycron.model.delivery import Mail, Occasion
from pycron.model.history import AttemptRecord, RunFilter, RunRecord
from pycron.model.job import Job, Source
from pycron.model.pause import ALL, Pause, Scope
from pycron.model.retention import RetentionLimits
from pycron.model.run import AttemptKey, Ending, Outcome, Redrive, RunKey
from pycron.model.settings import Settings
from pycron.storage import schema
from pycron.storage.errors import StoreError
from pycron.storage.store import Store

NOON = 1_772_971_200


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path / "pycron.db")
    yield store
    store.close()


def a_job(line: str = "* * * * * true", source: str = "anna", owner: str = "anna") -> Job:
    (job,) = parse(f"{line}\n", Source(source, owner), ReaderContext()).jobs
    return job


def begun(job: Job, fire_time: int = NOON, turn: int = 0) -> list[Record]:
    run = RunKey(job.id, fire_time, turn)
    return [RecordRun(run, job), RecordAttempt(AttemptKey(run, 1))]


def first(job: Job, fire_time: int = NOON) -> AttemptKey:
    return AttemptKey(RunKey(job.id, fire_time), 1)


def ended(attempt: AttemptKey, outcome: Outcome = Outcome.SUCCEEDED) -> RecordEnded:
    ending = Ending(NOON + 2.5, 0, None, 0.25, 1_000_000, 42, 40)
    return RecordEnded(attempt, outcome, ending, None, outcome)


# ---- the last Runs of Jobs


def test_the_last_runs_of_jobs(store: Store) -> None:
    """Newest first; with the last Attempt of each, also of a Run that is running or was missed."""
    job, other, silent = a_job(), a_job("5 * * * * true"), a_job("6 * * * * true")
    for turn in range(4):
        fire = NOON + 60 * turn
        store.write([*begun(job, fire), RecordStarted(first(job, fire), 7, fire + 0.5)])
        if turn < 3:
            store.write(
                [ended(first(job, fire), Outcome.FAILED if turn == 2 else Outcome.SUCCEEDED)]
            )
    store.write([*begun(other), ended(first(other))])
    found = store.last_runs([job.id, other.id, silent.id, "0" * 16], 3)
    assert set(found) == {job.id, other.id}
    assert [run.key.fire_time for run in found[job.id]] == [NOON + 180, NOON + 120, NOON + 60]
    assert [run.outcome for run in found[job.id]] == [None, Outcome.FAILED, Outcome.SUCCEEDED]
    assert [run.started for run in found[job.id]] == [NOON + 180.5, NOON + 120.5, NOON + 60.5]
    assert found[job.id][0].ended is None
    assert (found[job.id][1].ended, found[job.id][1].exit_status) == (NOON + 2.5, 0)
    assert store.last_runs([], 3) == {}


@pytest.mark.slow
def test_jobs_that_have_run_take_little_memory(store: Store) -> None:
    """Each entry of a large table runs at some time; what the daemon knows of it stays small."""
    table = "".join(f"* * * * * true {n}\n" for n in range(12_000))
    jobs = parse(table, Source("anna", "anna"), ReaderContext()).jobs

    def memory_after(numbers: range) -> int:
        """Bytes that are in use when these Jobs have run."""
        for n in numbers[::100]:
            batch = [jobs[m] for m in range(n, n + 100)]
            store.write([each for job in batch for each in (*begun(job), ended(first(job)))])
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        before = memory_after(range(4_000))
        assert memory_after(range(4_000, 12_000)) - before < 8_000 * 300
    finally:
        tracemalloc.stop()


# ---- the file


def test_a_new_database_is_empty(store: Store) -> None:
    assert store.runs(RunFilter(10)) == []
    assert store.unfinished() == []
    assert store.pauses() == []
    assert store.gap_at(NOON, wall=True) is None
    assert store.cursor() is None
    assert store.boot_id() is None
    assert store.count_runs() == 0


def test_records_survive_a_restart(tmp_path: Path) -> None:
    job = a_job()
    with closing(Store(tmp_path / "db")) as store:
        store.write([*begun(job), RecordCursor(Cursor(1, 2, (3,)))])
    with closing(Store(tmp_path / "db")) as store:
        assert [row.job for row in store.runs(RunFilter(10))] == [job.name]
        assert store.cursor() == Cursor(1, 2, (3,))


def test_it_survives_a_daemon_that_did_not_close_it(tmp_path: Path) -> None:
    job = a_job()
    killed = Store(tmp_path / "db")
    killed.write(begun(job))
    with closing(Store(tmp_path / "db")) as store:
        assert store.count_runs() == 1
    killed.close()


def version(path: Path) -> int:
    with closing(sqlite3.connect(path)) as database:
        return int(database.execute("PRAGMA user_version").fetchone()[0])


def test_a_newer_schema_version_is_refused(tmp_path: Path) -> None:
    Store(tmp_path / "db").close()
    with closing(sqlite3.connect(tmp_path / "db")) as database:
        database.execute("PRAGMA user_version = 99")
        database.commit()
    with pytest.raises(StoreError, match=r"db: schema version 99; this pycron knows \d+"):
        Store(tmp_path / "db")
    assert version(tmp_path / "db") == 99
    assert [path.name for path in tmp_path.iterdir()] == ["db"]


def test_an_older_schema_is_brought_up_to_date(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = a_job()
    with closing(Store(tmp_path / "db")) as store:
        store.write(begun(job))
    old = version(tmp_path / "db")
    steps = [
        "CREATE TABLE extra (run INTEGER); INSERT INTO extra SELECT number FROM runs;",
        "ALTER TABLE extra ADD COLUMN more TEXT;",
    ]
    monkeypatch.setattr(schema, "MIGRATIONS", [*schema.MIGRATIONS, *steps])
    for _ in range(2):  # each step is done once
        with closing(Store(tmp_path / "db")) as store:
            assert store.count_runs() == 1
        with closing(sqlite3.connect(tmp_path / "db")) as database:
            assert database.execute("SELECT * FROM extra").fetchall() == [(1, None)]
        assert version(tmp_path / "db") == old + 2


def older_database(path: Path, version: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A database of an older version, with a Run that has ended."""
    with monkeypatch.context() as released:
        released.setattr(schema, "MIGRATIONS", schema.MIGRATIONS[:version])
        database = schema.open_database(path)
    with closing(database):
        database.executescript(
            "INSERT INTO users VALUES (1, 'anna');"
            'INSERT INTO jobs (number, id, name, "table", line, user, schedule, command)'
            " VALUES (1, '0123456789abcdef', 'x', 'anna', 1, 1, '@daily', 'true');"
            "INSERT INTO runs (number, job, user, fire_time, pass, outcome)"
            f" VALUES (1, 1, 1, {NOON}, 0, 'succeeded');"
            "INSERT INTO attempts (run, number, outcome, output_kept)"
            " VALUES (1, 1, 'succeeded', 40);"
        )


def test_a_database_of_the_first_schema_is_like_a_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    older_database(tmp_path / "old", 1, monkeypatch)
    with closing(Store(tmp_path / "old")) as store:
        with_short_output(store, 1)
        assert store.count_runs() == 2
    with closing(Store(tmp_path / "new")) as store:
        with_short_output(store, 1)
    assert tables(tmp_path / "old") == tables(tmp_path / "new")


def test_a_dead_letter_that_an_older_daemon_put_back_has_all_its_retries(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    older_database(tmp_path / "db", 2, monkeypatch)
    with closing(sqlite3.connect(tmp_path / "db")) as database:
        database.execute("UPDATE runs SET outcome = NULL, redriven = 1")
        database.commit()
    with closing(Store(tmp_path / "db")) as store:
        assert [left.redrive for left in store.unfinished()] == [Redrive(1, NOON)]


def tables(path: Path) -> list[tuple[Any, ...]]:
    """All tables, indexes and triggers: their names, where they begin, and their text."""
    with closing(sqlite3.connect(path)) as database:
        return database.execute("SELECT name, rootpage, sql FROM sqlite_schema").fetchall()


def test_the_schema_fits_on_the_first_page(tmp_path: Path) -> None:
    """So damage of any other page never makes a whole table unreadable."""
    Store(tmp_path / "db").close()
    kind = (tmp_path / "db").read_bytes()[100]
    assert kind == 0x0D  # a leaf: it leads to no other page (sqlite.org/fileformat2.html)


def test_a_step_that_fails_leaves_the_version_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Store(tmp_path / "db").close()
    released = list(schema.MIGRATIONS)
    steps = ["CREATE TABLE one (a);", "CREATE TABLE two (a); INSERT INTO none VALUES (1);"]
    monkeypatch.setattr(schema, "MIGRATIONS", [*released, *steps])
    with pytest.raises(StoreError, match="no such table: none"):
        Store(tmp_path / "db")
    assert version(tmp_path / "db") == len(released) + 1
    with closing(sqlite3.connect(tmp_path / "db")) as database:
        tables = {row[0] for row in database.execute("SELECT name FROM sqlite_schema")}
    assert "one" in tables
    assert "two" not in tables


def test_a_directory_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="unable to open"):
        Store(tmp_path / "none" / "db")


def test_only_the_owner_can_read_the_files(tmp_path: Path) -> None:
    """The database has the commands of all users, and others may enter its directory."""
    with closing(Store(tmp_path / "db")) as store:
        store.write(begun(a_job()))
        modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    assert set(modes.values()) == {0o600}, modes


def test_a_locked_database_is_an_error_until_it_is_unlocked(tmp_path: Path) -> None:
    with closing(Store(tmp_path / "db")) as store:
        store._database.connection.execute("PRAGMA busy_timeout = 50")
        with closing(sqlite3.connect(tmp_path / "db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(StoreError, match="locked"):
                store.write(begun(a_job()))
            other.execute("ROLLBACK")
        store.write(begun(a_job()))
        assert store.count_runs() == 1


# ---- writing


def test_every_column_comes_back(store: Store) -> None:
    job = a_job("CRON_NAME=backup CRON_TZ=Europe/Berlin 30 2 * * * /bin/backup --all")
    run = RunKey(job.id, NOON, 2)
    attempt = AttemptKey(run, 1)
    ending = Ending(NOON + 9.75, None, 15, 1.5, 123_456, 789, 700)
    store.write([RecordRun(run, job, by="root"), RecordAttempt(attempt)])
    store.write([RecordStarted(attempt, 4711, NOON + 0.25)])
    store.write([RecordEnded(attempt, Outcome.KILLED, ending, "why", Outcome.KILLED)])
    recorded = RunRecord(
        number=1, key=RunKey(job.id, NOON, 2), job="backup", table="anna", line=1,
        user="anna", schedule="30 2 * * *", zone="Europe/Berlin",
        command="/bin/backup --all", outcome=Outcome.KILLED,
        reason="why", dead=False, retry_at=None, started_by="root",
        attempts=(AttemptRecord(
            number=1, pid=4711, started=NOON + 0.25, ended=NOON + 9.75,
            outcome=Outcome.KILLED, exit_status=None, signal=15, cpu_seconds=1.5,
            memory_peak=123_456, output_bytes=789, output_kept=700, reason="why",
        ),),
    )  # fmt: skip
    assert store.run(run) == recorded
    assert recorded.run_id == str(run)
    assert store.runs(RunFilter(10)) == [recorded]


@pytest.mark.parametrize("together", [True, False])
def test_an_attempt_that_ended_at_once(store: Store, together: bool) -> None:
    """The start and the end come in one write, or in two."""
    job = a_job()
    store.write(begun(job))
    records: list[Record] = [RecordStarted(first(job), 4711, NOON + 0.25), ended(first(job))]
    for part in [records] if together else [[record] for record in records]:
        store.write(part)
    (attempt,) = store.runs(RunFilter(1))[0].attempts
    assert (attempt.pid, attempt.started, attempt.ended) == (4711, NOON + 0.25, NOON + 2.5)
    assert attempt.outcome == "succeeded"


def test_an_attempt_whose_start_was_not_reported(store: Store) -> None:
    job = a_job()
    store.write([*begun(job), ended(first(job))])
    (attempt,) = store.runs(RunFilter(1))[0].attempts
    assert (attempt.pid, attempt.started) == (None, None)


def test_a_run_that_another_daemon_began(tmp_path: Path) -> None:
    """The writer does not know its row number: not yet, or no longer after a failed write."""
    job = a_job()
    with closing(Store(tmp_path / "db")) as store:
        store.write(begun(job))
    with closing(Store(tmp_path / "db")) as store:
        store.write([RecordStarted(first(job), 4711, NOON + 1.5)])
        with pytest.raises(StoreError):
            store.write(begun(job))
        store.write([ended(first(job))])
        (row,) = store.runs(RunFilter(1))
    assert (row.outcome, row.attempts[0].pid) == ("succeeded", 4711)


def test_a_dead_letter_that_is_redriven(store: Store) -> None:
    job = a_job()
    end = RecordEnded(first(job), Outcome.FAILED, None, None, Outcome.FAILED, dead=True)
    store.write([*begun(job), end])
    assert [row.dead for row in store.runs(RunFilter(1, dead=True))] == [True]
    second = AttemptKey(first(job).run, 2)
    redrive = Redrive(1, NOON + 0.5)
    store.write([RecordRevived(first(job).run, redrive)])
    (left,) = store.unfinished()
    assert (left.attempt, left.outcome) == (first(job), Outcome.FAILED)
    assert (left.retry_at, left.redrive) == (NOON + 0.5, redrive)
    store.write([RecordAttempt(second)])
    assert [left.attempt for left in store.unfinished()] == [second]
    assert store.runs(RunFilter(1, dead=True)) == []
    store.write([ended(second)])
    (row,) = store.runs(RunFilter(1))
    assert (row.outcome, row.reason, row.dead) == ("succeeded", None, False)


def test_a_run_that_was_not_started(store: Store) -> None:
    job = a_job()
    run = RunKey(job.id, NOON)
    store.write([RecordRun(run, job), RecordNotStarted(run, Outcome.MISSED, "too late")])
    (row,) = store.runs(RunFilter(1))
    assert (row.outcome, row.reason, row.attempts) == ("missed", "too late", ())
    assert store.unfinished() == []


def test_pauses_are_kept_until_they_are_resumed(tmp_path: Path) -> None:
    everything = Pause(ALL, NOON + 1.5, NOON + 60.0, "root", "an upgrade \udcff")
    annas = Pause(Scope.of_user("anna"), NOON, None, "anna")
    longer = replace(everything, until=None, by="bert", reason=None)
    with closing(Store(tmp_path / "db")) as store:
        assert store.pauses() == []
        store.write([RecordPause(everything), RecordPause(annas)])
    with closing(Store(tmp_path / "db")) as store:
        assert store.pauses() == [annas, replace(everything, reason="an upgrade \\xff")]
        store.write([RecordPause(longer)])
        assert store.pauses() == [annas, longer]
        store.write([RecordResume(ALL), RecordResume(Scope.of_job("none"))])
        assert store.pauses() == [annas]


def test_why_there_is_no_run(store: Store) -> None:
    store.write([
        RecordGap(Gap(NOON, NOON + 600, wall=True), "the daemon was down"),
        RecordGap(Gap(NOON, NOON + 300, wall=False), "the clock was set"),
        RecordGap(Gap(NOON + 540, NOON + 660, wall=True), "the machine was asleep"),
    ])  # fmt: skip
    assert store.gap_at(NOON, wall=True) is None
    assert store.gap_at(NOON + 1, wall=True) == "the daemon was down"
    assert store.gap_at(NOON + 600, wall=True) == "the machine was asleep"  # the last one recorded
    assert store.gap_at(NOON + 661, wall=True) is None
    assert store.gap_at(NOON + 300, wall=False) == "the clock was set"
    assert store.gap_at(NOON + 301, wall=False) is None


def test_all_or_nothing(store: Store) -> None:
    job = a_job()
    stranger = AttemptKey(RunKey("f" * 16, NOON), 1)
    with pytest.raises(StoreError, match="no Run"):
        store.write([*begun(job), RecordCursor(Cursor(1, 1)), RecordStarted(stranger, 1, 1.0)])
    assert store.count_runs() == 0
    assert store.cursor() is None
    store.write(begun(job))  # the row of the Job was rolled back and is written again
    assert [row.job for row in store.runs(RunFilter(10))] == [job.name]


def test_all_or_nothing_also_for_what_sqlite_cannot_hold(store: Store) -> None:
    job = a_job()
    too_large = RecordStarted(first(job), 2**70, 1.0)
    with pytest.raises(StoreError):
        store.write([*begun(job), too_large])
    assert store.count_runs() == 0
    store.write(begun(job))
    assert [row.job for row in store.runs(RunFilter(10))] == [job.name]


def test_no_fire_time_twice(store: Store) -> None:
    job = a_job()
    store.write(begun(job))
    with pytest.raises(StoreError, match="UNIQUE"):
        store.write(begun(job))
    store.write(begun(job, turn=1))
    assert store.count_runs() == 2


def test_no_attempt_twice(store: Store) -> None:
    job = a_job()
    store.write(begun(job))
    with pytest.raises(StoreError, match="UNIQUE"):
        store.write([RecordAttempt(first(job))])


def test_cursor_boot_and_runner(store: Store) -> None:
    for cursor in (Cursor(NOON, NOON + 60), Cursor(5, 6, (7, 8))):
        store.write([RecordCursor(cursor), RecordBoot("b00t", NOON, 2), RecordRunner("12-34")])
        assert store.cursor() == cursor
    assert store.boot_id() == "b00t"
    assert store.runner() == "12-34"


def test_a_job_that_has_moved(store: Store) -> None:
    before = a_job("CRON_NAME=x 0 1 * * * old")
    table = parse("#\n#\nCRON_NAME=x 0 2 * * * new\n", Source("anna", "anna"), ReaderContext())
    (after,) = table.jobs
    assert after.id == before.id
    store.write(begun(before))
    store.write(begun(after, NOON + 60))
    rows = store.runs(RunFilter(10))
    assert {(row.line, row.schedule, row.command) for row in rows} == {(3, "0 2 * * *", "new")}


def test_a_run_keeps_its_owner_when_the_job_changes_hands(store: Store) -> None:
    before = a_job("CRON_NAME=x * * * * * true")
    after = replace(before, user="bert")
    store.write(begun(before))
    store.write(begun(after, NOON + 60))
    rows = store.runs(RunFilter(10))
    assert [(row.key.fire_time, row.user) for row in rows] == [
        (NOON + 60, "bert"),
        (NOON, "anna"),
    ]
    found = store.run(RunKey(before.id, NOON))
    assert found
    assert found.user == "anna"
    for user, fire_time in (("anna", NOON), ("bert", NOON + 60)):
        assert [row.key.fire_time for row in store.runs(RunFilter(10, user=user))] == [fire_time]
    assert [left.job.user for left in store.unfinished()] == ["anna", "bert"]


def test_bytes_that_are_not_utf8_become_escapes(store: Store) -> None:
    job = a_job("* * * * * echo \udcff ä")
    store.write(begun(job))
    store.write([RecordEnded(first(job), Outcome.FAILED, None, "no \udcfe", Outcome.FAILED)])
    (row,) = store.runs(RunFilter(1))
    assert row.command == "echo \\xff ä"
    assert row.reason == "no \\xfe"


def test_a_table_name_that_is_not_utf8(store: Store) -> None:
    job = a_job(source="/tmp/\udcff")
    store.write(begun(job))
    assert [row.table for row in store.runs(RunFilter(1))] == ["/tmp/\\xff"]


def test_two_boots_in_one_second_are_two(store: Store) -> None:
    """A foreground daemon runs its @reboot Jobs at each start, also twice in a second."""
    assert store.boots_in(NOON) == 0
    store.write([RecordBoot("b", NOON, 0)])
    assert store.boots_in(NOON) == 1
    store.write([RecordBoot("b", NOON, 1)])
    assert (store.boots_in(NOON), store.boots_in(NOON + 1)) == (2, 0)


# ---- reading


def test_unfinished(store: Store) -> None:
    waiting, running, over = (a_job(f"{minute} * * * * {minute}") for minute in (1, 2, 3))
    store.write([*begun(waiting), *begun(running), *begun(over)])
    store.write([RecordStarted(first(running), 4711, NOON + 1.5), ended(first(over))])
    left = {item.attempt: item for item in store.unfinished()}
    assert set(left) == {first(waiting), first(running)}
    assert left[first(waiting)].pid is None
    assert left[first(waiting)].started is None
    found = left[first(running)]
    assert (found.pid, found.started) == (4711, NOON + 1.5)
    assert (found.job.id, found.job.name, found.job.command) == (running.id, running.name, "2")
    assert (found.job.user, found.job.line, found.job.source.name) == ("anna", 1, "anna")


def test_the_latest_fire_time_of_an_unfinished_run(store: Store) -> None:
    """Neither a fire time ahead of the clock, which was set back, nor a start by hand counts."""
    job, other = a_job(), a_job("* * * * * other")
    ahead, later, by_hand = (RunKey(job.id, NOON + seconds) for seconds in (120, 60, 90))
    gone = RecordNotStarted(later, Outcome.SKIPPED, "an earlier run still runs")
    store.write([*begun(job), RecordRun(ahead, job), RecordRun(later, job), gone])
    store.write([RecordRun(by_hand, job, "anna"), RecordRun(RunKey(other.id, NOON + 100), other)])
    store.write([RecordCursor(Cursor(NOON + 120, NOON + 119))])
    latest = {left.attempt.run: left.latest for left in store.unfinished()}
    assert latest[first(job).run] == NOON + 60
    assert latest[RunKey(other.id, NOON + 100)] == NOON + 100


def test_settings_that_are_stored_with_a_job(tmp_path: Path) -> None:
    settings = "CRON_POOL=db CRON_KILL_AFTER=5m CRON_RETRIES=2 CRON_NICE=3"
    job = a_job(f"{settings} * * * * * true")
    with closing(Store(tmp_path / "db")) as store:
        store.write(begun(a_job(), NOON - 60))  # with other settings before
        store.write(begun(job))
        kept = [left.job.settings for left in store.unfinished()]
    assert kept == [Settings(pool="db", kill_after=300, retries=2, nice=3)] * 2
    for damaged in (None, "", "{", "[1]", '["pool"]', '{"pool": ["db"]}'):
        with closing(sqlite3.connect(tmp_path / "db")) as database:
            database.execute("UPDATE jobs SET settings = ?", (damaged,))
            database.commit()
        with closing(Store(tmp_path / "db")) as store:
            assert {left.job.settings for left in store.unfinished()} == {Settings()}


def test_an_attempt_that_ended_while_its_run_goes_on(store: Store) -> None:
    job = a_job()
    store.write(begun(job))
    ending = Ending(NOON + 2.5, 3, None, 0.25, 1_000_000, 42, 40)
    store.write([RecordEnded(first(job), Outcome.FAILED, ending, "once more", None)])
    (left,) = store.unfinished()
    assert left.attempt == first(job)  # the last Attempt
    assert (left.outcome, left.exit_status) == (Outcome.FAILED, 3)
    assert [row.outcome for row in store.runs(RunFilter(1))] == [None]
    second = AttemptKey(first(job).run, 2)
    store.write([RecordAttempt(second)])
    assert [item.attempt for item in store.unfinished()] == [second]
    (row,) = store.runs(RunFilter(1))
    assert [attempt.number for attempt in row.attempts] == [1, 2]


def test_a_run_that_waits_for_its_first_attempt(store: Store) -> None:
    job = a_job()
    run = RunKey(job.id, NOON)
    store.write([RecordRun(run, job)])
    assert [item.attempt for item in store.unfinished()] == [AttemptKey(run, 0)]


def test_which_attempts_are_known(store: Store) -> None:
    job = a_job()
    store.write(begun(job))
    assert store.knows(first(job))
    others = (first(job)._replace(number=2), first(job, NOON + 1), first(a_job("@daily x")))
    assert not any(map(store.knows, others))


def test_a_run_that_does_not_exist(store: Store) -> None:
    assert store.run(RunKey("0" * 16, NOON)) is None


def test_runs_newest_first_and_page_by_page(store: Store) -> None:
    job = a_job()
    for minute in range(10):
        store.write(begun(job, NOON + 60 * minute))
    page = store.runs(RunFilter(4))
    seen = [row.key.fire_time for row in page]
    while page:
        page = store.runs(RunFilter(4, before=page[-1].number))
        seen += [row.key.fire_time for row in page]
    assert seen == [NOON + 60 * minute for minute in reversed(range(10))]


def test_filters(store: Store) -> None:
    one = a_job("CRON_NAME=one * * * * * 1")
    two = a_job("CRON_NAME=two * * * * * 2", source="bert", owner="bert")
    store.write([*begun(one), *begun(two), *begun(one, NOON + 60), *begun(two, NOON + 120)])
    store.write([ended(first(one)), ended(first(two), Outcome.FAILED)])

    def found(wanted: RunFilter) -> list[tuple[str, int]]:
        return [(row.job, (row.key.fire_time - NOON) // 60) for row in store.runs(wanted)]

    assert found(RunFilter(10)) == [("two", 2), ("one", 1), ("two", 0), ("one", 0)]
    assert found(RunFilter(10, job="one")) == [("one", 1), ("one", 0)]
    assert found(RunFilter(10, job=two.id)) == [("two", 2), ("two", 0)]
    assert found(RunFilter(10, user="bert")) == [("two", 2), ("two", 0)]
    assert found(RunFilter(10, outcomes=[Outcome.FAILED])) == [("two", 0)]
    several = [Outcome.SUCCEEDED, Outcome.FAILED]
    assert found(RunFilter(10, outcomes=several)) == [("two", 0), ("one", 0)]
    assert found(RunFilter(10, outcomes=[])) == []
    assert found(RunFilter(10, job="one", job_ids=(two.id,), until=NOON + 60)) == [
        ("two", 0), ("one", 0),
    ]  # fmt: skip
    assert found(RunFilter(10, since=NOON + 60)) == [("two", 2), ("one", 1)]
    assert found(RunFilter(10, until=NOON + 60)) == [("two", 0), ("one", 0)]
    assert found(RunFilter(10, job="one", user="bert")) == []
    assert found(RunFilter(1, job="one", since=NOON, until=NOON + 1)) == [("one", 0)]
    assert found(RunFilter(10, job="' OR 1 --")) == []


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """Runs of three users and four Jobs, with all outcomes; one Run is unfinished."""
    store = Store(tmp_path_factory.mktemp("history") / "db")
    jobs = [a_job(f"CRON_NAME=j{n} * * * * * {n}", user, user) for n, user in enumerate("aabc")]
    chance = random.Random(1)
    records: list[Record] = []
    for number in range(200):
        job = jobs[0] if number % 2 else chance.choice(jobs)
        fire_time = NOON + 60 * chance.randrange(150)
        attempt = AttemptKey(RunKey(job.id, fire_time, number), 1)
        outcome = chance.choice(list(Outcome))
        dead = outcome is Outcome.FAILED
        records += [RecordRun(attempt.run, job), RecordAttempt(attempt)]
        if number != 77:
            records.append(RecordEnded(attempt, outcome, None, None, outcome, dead=dead))
    store.write(records)
    yield store
    store.close()


def passes(row: RunRecord, wanted: RunFilter) -> bool:
    return (
        (wanted.job is None or wanted.job in (row.job, row.key.job_id))
        and wanted.user in (None, row.user)
        and (wanted.outcomes is None or row.outcome in wanted.outcomes)
        and (wanted.since is None or row.key.fire_time >= wanted.since)
        and (wanted.until is None or row.key.fire_time < wanted.until)
        and (wanted.dead is None or row.dead is wanted.dead)
    )


@pytest.mark.parametrize("user", [None, "a", "c", "nobody"])
@pytest.mark.parametrize("job", [None, "j0", "j2", "none"])
@pytest.mark.parametrize(
    "outcomes", [None, [Outcome.FAILED], [Outcome.SUCCEEDED, Outcome.LOST, Outcome.MISSED]]
)
@pytest.mark.parametrize("dead", [None, True, False])
@pytest.mark.parametrize(("since", "until"), [(None, None), (NOON + 600, NOON + 6000)])
def test_filters_together_and_page_by_page(
    history: Store,
    user: str | None,
    job: str | None,
    outcomes: list[Outcome] | None,
    dead: bool | None,
    since: int | None,
    until: int | None,
) -> None:
    """With each index: the same Runs in the same order as without one."""
    everything = history.runs(RunFilter(1000))
    assert len(everything) == 200
    wanted = RunFilter(7, job, user, outcomes, since, until, dead=dead)
    page = history.runs(wanted)
    seen = list(page)
    while page:
        page = history.runs(replace(wanted, before=page[-1].number))
        seen += page
    assert seen == [row for row in everything if passes(row, wanted)]
    marks = [(row.key.fire_time, row.number) for row in everything]
    assert marks == sorted(marks, reverse=True)


def test_a_page_after_a_run_that_was_deleted(history: Store) -> None:
    assert history.runs(RunFilter(5, before=10_000)) == []


def write_many(store: Store, job: Job, count: int) -> None:
    """Runs that have ended, a second apart, later than all others."""
    for start in range(0, count, 1000):
        runs = [RunKey(job.id, NOON + 3600 + number) for number in range(start, start + 1000)]
        attempts = [AttemptKey(run, 1) for run in runs]
        store.write([
            *(RecordRun(run, job) for run in runs),
            *(RecordAttempt(attempt) for attempt in attempts),
            *(RecordEnded(each, Outcome.SKIPPED, None, "", Outcome.SKIPPED) for each in attempts),
        ])  # fmt: skip


@pytest.mark.xdist_group("long history")  # it is written once
@pytest.mark.parametrize(
    "wanted",
    [
        RunFilter(20),
        RunFilter(20, job="j1"),
        RunFilter(20, user="c"),
        RunFilter(20, outcomes=[Outcome.FAILED]),
        RunFilter(20, user="c", outcomes=[Outcome.FAILED, Outcome.LOST]),
        RunFilter(20, dead=True),
        RunFilter(20, since=NOON, until=NOON + 60),
        RunFilter(20, user="a", until=NOON + 60),
        RunFilter(20, job="j0", until=NOON + 60),
        RunFilter(20, user="c", delivery=False),
        RunFilter(20, delivery=True),
    ],
    ids=repr,
)
def test_a_page_reads_little_of_a_long_history(long_history: Store, wanted: RunFilter) -> None:
    """Counts SQLite's steps: 20,000 Runs do not pass the filter, and a few do."""
    steps = count(1)
    long_history._database.connection.set_progress_handler(lambda: next(steps) and 0, 100)
    found = long_history.runs(wanted)
    assert found
    assert next(steps) * 100 < 20_000, "it reads every Run"


@pytest.fixture(scope="module")
def long_history(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    store = Store(tmp_path_factory.mktemp("history") / "pycron.db")
    often = a_job("CRON_NAME=often * * * * * often")
    jobs = [a_job(f"CRON_NAME=j{n} * * * * * {n}", user, user) for n, user in enumerate("aabc")]
    for job in jobs:
        for attempt in (first(job, NOON + 30), first(job, NOON + 40)):
            end = RecordEnded(attempt, Outcome.FAILED, None, None, Outcome.FAILED, dead=True)
            store.write([RecordRun(attempt.run, job), RecordAttempt(attempt), end])
    mail = mail_job(jobs[0], Occasion.FAILED, Mail(("a",), "a"))
    store.write([RecordRun(RunKey(mail.id, NOON + 30), mail)])
    write_many(store, often, 20_000)
    yield store
    store.close()


# ---- retention

EVERYTHING = RetentionLimits(10**9, 10**9, 10**9, 2**40, 2**40, 2**40)


def many(store: Store, count: int, job: Job | None = None, kept: int = 0) -> list[RunKey]:
    """Runs of one Job, a minute apart from NOON on, all ended, with so many bytes of output."""
    job = job or a_job()
    ending = Ending(NOON + 0.5, 1, None, 0.1, 1000, kept, kept)
    runs = [RunKey(job.id, NOON + 60 * number) for number in range(count)]
    for run in runs:
        attempt = AttemptKey(run, 1)
        store.write([
            RecordRun(run, job),
            RecordAttempt(attempt),
            RecordEnded(attempt, Outcome.FAILED, ending, None, Outcome.FAILED),
        ])  # fmt: skip
    return runs


def prune(store: Store, before: int = 0, **limits: int) -> list[AttemptKey]:
    """One step with these limits; the Attempts whose output files are to be deleted."""
    removed: list[AttemptKey] = []
    store.prune(replace(EVERYTHING, **limits), before, removed.extend)
    return removed


def left(store: Store) -> list[int]:
    return sorted(row.key.fire_time for row in store.runs(RunFilter(10_000)))


def rows(store: Store, table: str) -> int:
    return int(store._database.connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0])


def test_old_runs_are_deleted(store: Store) -> None:
    runs = many(store, 10, kept=5)
    assert prune(store, before=NOON + 180) == [AttemptKey(run, 1) for run in runs[:3]]
    assert left(store) == [run.fire_time for run in runs[3:]]
    assert prune(store, before=NOON + 180) == []
    assert (store.count_runs(), rows(store, "attempts")) == (7, 7)


def test_a_step_that_cannot_find_anything_reads_nothing(store: Store) -> None:
    """Until something is written, an hour has passed, or the limits change."""
    store.write([RecordCursor(Cursor(1, 1))])
    first, second = many(store, 2, kept=5)
    statements: list[str] = []

    def looks(**limits: int) -> bool:
        statements.clear()
        prune(store, **limits)
        return any("FROM runs" in statement for statement in statements)

    store._database.connection.set_trace_callback(statements.append)
    noon = {"before": NOON}
    assert looks(**noon)
    assert not looks(**noon)
    store.write([RecordCursor(Cursor(NOON, NOON))])
    assert not looks(before=NOON + 1)
    many(store, 1, a_job("* * * * * other"), kept=5)
    assert looks(**noon)
    assert not looks(**noon)
    assert prune(store, before=NOON + 3600)
    assert left(store) == []
    many(store, 2)
    assert looks(before=NOON)
    assert looks(before=NOON, runs=1)
    assert left(store) == [second.fire_time] != [first.fire_time]


def test_a_dead_letter_that_was_dropped_is_deleted(store: Store) -> None:
    job = a_job()
    dead = RecordEnded(first(job), Outcome.FAILED, None, None, Outcome.FAILED, dead=True)
    store.write([*begun(job), dead])
    for _ in range(2):
        prune(store, before=NOON + 1)
    assert left(store) == [NOON]
    store.drop_dead(first(job).run)
    prune(store, before=NOON + 1)
    assert left(store) == []


def test_a_step_continues_where_the_last_one_stopped(store: Store) -> None:
    """After a step that has found something, or failed, there is another one."""
    many(store, 5)

    def fail(_attempts: list[AttemptKey]) -> None:
        raise OSError("read-only")

    for _ in range(2):
        with pytest.raises(OSError, match="read-only"):
            store.prune(EVERYTHING, NOON, fail)
    jobs = [a_job(f"* * * * * {number}") for number in range(2100)]
    for job in jobs:
        many(store, 2, job)
    for _ in range(4):
        prune(store, job_runs=1)
    assert store.count_runs() == len(jobs) + 1


def test_a_closed_database_is_an_error_of_the_store(store: Store) -> None:
    for _ in range(2):
        prune(store)
    store._database.connection.close()
    with pytest.raises(StoreError):
        prune(store, before=3600)


def test_runs_are_deleted_in_the_order_of_their_fire_times(store: Store) -> None:
    runs = many(store, 3)
    caught_up = a_job("* * * * * late")
    store.write([*begun(caught_up, NOON - 600), ended(first(caught_up, NOON - 600))])
    prune(store, runs=3)
    assert left(store) == [run.fire_time for run in runs]


def test_only_the_newest_runs_are_kept(store: Store) -> None:
    runs = many(store, 10)
    prune(store, runs=4)
    assert left(store) == [run.fire_time for run in runs[6:]]
    assert store.count_runs() == 4


def test_of_each_job_only_the_newest_runs_are_kept(store: Store) -> None:
    often = many(store, 10, a_job("* * * * * often"))
    seldom = many(store, 2, a_job("* * * * * seldom"))
    prune(store, job_runs=3)
    assert left(store) == sorted(run.fire_time for run in [*often[7:], *seldom])


def test_unfinished_runs_and_dead_letters_are_kept(store: Store) -> None:
    """Later Runs are deleted all the same."""
    job = a_job()
    unfinished, dead = RunKey(job.id, NOON - 120), RunKey(job.id, NOON - 60)
    for run in (unfinished, dead):
        store.write([RecordRun(run, job), RecordAttempt(AttemptKey(run, 1))])
    end = RecordEnded(AttemptKey(dead, 1), Outcome.FAILED, None, None, Outcome.FAILED, dead=True)
    store.write([end])
    many(store, 5)
    kept = [unfinished.fire_time, dead.fire_time]
    for limits in ({"runs": 1}, {"job_runs": 1}):
        prune(store, **limits)
        assert left(store) == [*kept, NOON + 240]
    for limits in ({"before": NOON + 10**6}, {"database_bytes": 1}):
        prune(store, **limits)
        assert left(store) == kept


def test_of_dead_letters_the_newest_are_kept(store: Store) -> None:
    job = a_job()
    runs = [RunKey(job.id, NOON + 60 * number) for number in range(5)]
    for run in runs:
        attempt = AttemptKey(run, 1)
        end = RecordEnded(attempt, Outcome.FAILED, None, None, Outcome.FAILED, dead=True)
        store.write([RecordRun(run, job), RecordAttempt(attempt), end])
    prune(store, dead=2)
    dead = [row.key.fire_time for row in store.runs(RunFilter(10, dead=True))]
    assert dead == [run.fire_time for run in runs[:2:-1]]
    assert len(left(store)) == 5  # the others are ordinary Runs
    prune(store, dead=2, before=NOON + 10**6)
    assert left(store) == sorted(dead)


def test_each_step_is_bounded(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """It deletes at most so many Runs, however many have come since the last step."""
    monkeypatch.setattr("pycron.storage.store._RUNS_PER_STEP", 3)
    many(store, 10)
    store.prune(EVERYTHING, 0, lambda _: None)
    counts = []
    for _ in range(3):
        prune(store, before=NOON + 10**6)
        counts.append(store.count_runs())
    assert counts == [7, 4, 1]
    many(store, 10, a_job("* * * * * other"))
    while left := store.count_runs():
        counts.append(left)
        prune(store, before=NOON + 10**6)
    assert counts[3:] == [11, 8, 5, 2]


def test_the_cost_of_a_step_does_not_grow_with_the_history(store: Store) -> None:
    """Counts SQLite's steps: none of 20,000 Runs is to be deleted, and then ten of them."""
    write_many(store, a_job(), 20_000)
    steps = count(1)
    store._database.connection.set_progress_handler(lambda: next(steps) and 0, 100)
    limits = {"job_runs": 20_000, "runs": 20_000, "output_bytes": 10**6}
    assert prune(store, before=NOON + 3600, **limits) == []
    assert next(steps) * 100 < 1000
    store.write([RecordGap(Gap(NOON, NOON + 1, wall=True), "something new")])
    assert len(prune(store, before=NOON + 3600 + 10, **limits)) == 10
    assert next(steps) * 100 < 10_000


def test_many_jobs_are_pruned_in_turn(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pycron.storage.retention._JOBS_PER_STEP", 2)
    for number in range(5):
        many(store, 3, a_job(f"* * * * * {number}"))
    counts = []
    for _ in range(4):
        prune(store, job_runs=1)
        counts.append(store.count_runs())
    assert counts == [11, 7, 5, 5]


def test_surplus_outputs_are_deleted_and_their_runs_stay(store: Store) -> None:
    runs = many(store, 10, kept=100)
    assert prune(store, output_bytes=1000) == []
    assert prune(store, output_bytes=350) == [AttemptKey(run, 1) for run in runs[:7]]
    assert prune(store, output_bytes=350) == []
    assert store.count_runs() == 10
    kept = [row.attempts[0].output_kept for row in store.runs(RunFilter(100))]
    assert kept == [100] * 3 + [0] * 7
    assert [row.attempts[0].output_bytes for row in store.runs(RunFilter(100))] == [100] * 10


def outputs_of(store: Store, job: Job) -> list[int | None]:
    """The bytes that are kept of each Run's output, the newest first."""
    return [row.attempts[0].output_kept for row in store.runs(RunFilter(10_000, job=job.id))]


def test_of_each_job_only_so_many_bytes_of_output_are_kept(store: Store) -> None:
    """The newest outputs stay, whatever other Jobs have printed since."""
    loud, quiet = a_job("* * * * * loud"), a_job("* * * * * quiet")
    many(store, 3, quiet, kept=50)
    runs = many(store, 10, loud, kept=100)
    assert prune(store, job_output_bytes=1000) == []
    assert prune(store, job_output_bytes=350) == [AttemptKey(run, 1) for run in runs[:7]]
    assert prune(store, job_output_bytes=350) == []
    assert (outputs_of(store, loud), outputs_of(store, quiet)) == ([100] * 3 + [0] * 7, [50] * 3)
    assert store.count_runs() == 13
    assert prune(store, job_output_bytes=10**6, output_bytes=450) == []


def test_jobs_with_the_most_output_come_first(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pycron.storage.retention._OUTPUT_JOBS_PER_STEP", 1)
    jobs = [a_job(f"* * * * * {number}") for number in range(3)]
    for job, kept in zip(jobs, (20, 30, 10), strict=True):
        many(store, 2, job, kept=kept)
    gone = [prune(store, job_output_bytes=15)[0].run.job_id for _ in jobs]
    assert gone == [jobs[1].id, jobs[0].id, jobs[2].id]


def test_surplus_outputs_are_found_without_reading_all_runs_of_the_job(
    store: Store,
) -> None:
    loud = a_job("* * * * * loud")
    write_many(store, loud, 20_000)
    many(store, 10, a_job("* * * * * other"), kept=5)
    newest = AttemptKey(RunKey(loud.id, NOON + 10**8), 1)
    ending = Ending(NOON + 0.5, 1, None, 0.1, 1000, 100, 100)
    end = RecordEnded(newest, Outcome.FAILED, ending, None, Outcome.FAILED)
    store.write([RecordRun(newest.run, loud), RecordAttempt(newest), end])
    steps = count(1)
    store._database.connection.set_progress_handler(lambda: next(steps) and 0, 100)
    limits = {"runs": 10**6, "job_runs": 10**6}
    assert prune(store, job_output_bytes=60, **limits) == [newest]
    assert next(steps) * 100 < 10_000


def test_an_older_database_counts_the_outputs_of_each_job(tmp_path: Path) -> None:
    """Version 4 had one sum for all Jobs."""
    jobs = [a_job("* * * * * one"), a_job("* * * * * two"), a_job("* * * * * none")]
    with closing(sqlite3.connect(tmp_path / "db")) as database:
        database.executescript("".join(schema.MIGRATIONS[:4]))
        database.execute("PRAGMA user_version = 4")
        database.execute("INSERT INTO users VALUES (1, 'joe')")
        for number, (job, kept) in enumerate(zip(jobs, (20, 30, 0), strict=True), 1):
            database.execute(
                'INSERT INTO jobs (number, id, name, "table", line, user, schedule, command)'
                " VALUES (?, ?, ?, 'joe', 1, 1, '', '')",
                (number, job.id, job.name),
            )
            for minute in range(3):
                run = database.execute(
                    "INSERT INTO runs (job, user, fire_time, pass, outcome)"
                    " VALUES (?, 1, ?, 0, 'succeeded')",
                    (number, NOON + 60 * minute),
                ).lastrowid
                database.execute(
                    "INSERT INTO attempts (run, number, output_kept) VALUES (?, 1, ?)", (run, kept)
                )
        database.commit()
    with closing(Store(tmp_path / "db")) as store:
        counted = dict(
            store._database.connection.execute("SELECT id, output_kept FROM jobs").fetchall()
        )
        assert counted == {jobs[0].id: 60, jobs[1].id: 90, jobs[2].id: 0}


def with_short_output(store: Store, count: int) -> list[AttemptKey]:
    """Attempts that have printed four bytes each, which are not text."""
    job = a_job("* * * * * short")
    attempts = [first(job, NOON + 60 * number) for number in range(count)]
    for number, attempt in enumerate(attempts):
        output = b"%d \xff\0" % number
        ending = Ending(NOON + 0.5, 0, None, 0.1, 9, 4, len(output), output=output)
        end = RecordEnded(attempt, Outcome.SUCCEEDED, ending, None, Outcome.SUCCEEDED)
        store.write([*begun(job, attempt.run.fire_time), end])
    return attempts


def test_a_short_output_is_kept_with_its_run(store: Store) -> None:
    (without,) = many(store, 1)
    attempts = with_short_output(store, 3)
    assert [store.short_output(attempt) for attempt in attempts] == [
        b"0 \xff\0", b"1 \xff\0", b"2 \xff\0",
    ]  # fmt: skip
    assert store.short_output(AttemptKey(without, 1)) is None
    assert store.short_output(attempts[0]._replace(number=2)) is None


def test_a_short_output_is_deleted_with_its_run(store: Store) -> None:
    attempts = with_short_output(store, 10)
    prune(store, runs=4)
    assert [store.short_output(each) is not None for each in attempts] == [False] * 6 + [True] * 4
    assert rows(store, "outputs") == 4


def test_surplus_short_outputs_are_deleted_and_their_runs_stay(store: Store) -> None:
    attempts = with_short_output(store, 10)
    prune(store, output_bytes=16)
    assert [store.short_output(each) is not None for each in attempts] == [False] * 6 + [True] * 4
    assert (store.count_runs(), rows(store, "outputs")) == (10, 4)


def test_output_that_was_deleted_with_its_run_does_not_count(store: Store) -> None:
    runs = many(store, 10, kept=100)
    assert len(prune(store, runs=5)) == 5
    assert prune(store, output_bytes=500) == []
    assert prune(store, output_bytes=499) == [AttemptKey(runs[5], 1)]


def test_files_that_cannot_be_removed_keep_their_record(store: Store) -> None:
    many(store, 3, kept=100)

    def refuse(_attempts: list[AttemptKey]) -> None:
        raise OSError("not now")

    with pytest.raises(OSError, match="not now"):
        store.prune(EVERYTHING, NOON + 10**6, refuse)
    assert store.count_runs() == 3
    assert len(prune(store, before=NOON + 10**6)) == 3


def test_jobs_without_runs_and_old_gaps_are_deleted(store: Store) -> None:
    gone, stays = a_job("* * * * * gone"), a_job("* * * * * stays")
    many(store, 3, gone)
    store.write([*begun(stays), RecordGap(Gap(NOON - 60, NOON, wall=True), "old")])
    store.write([RecordGap(Gap(NOON, NOON + 10**6, wall=True), "young")])
    prune(store, before=NOON + 10**5)
    assert (rows(store, "jobs"), rows(store, "gaps")) == (1, 1)
    assert store.gap_at(NOON + 1, wall=True) == "young"
    assert store.owners_of(gone.name) == set()
    store.write(begun(gone, NOON + 10**6))  # its row is created again
    assert {row.command for row in store.runs(RunFilter(10))} == {"gone", "stays"}


def file_bytes(store: Store) -> int:
    """The size of the file once it has the pages of the journal."""
    query = "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size"
    return int(store._database.connection.execute(query).fetchone()[0])


def bulk(store: Store, count: int, first: int = NOON) -> None:
    """Runs with a long reason, about 4 KB each."""
    job = a_job()
    attempts = [AttemptKey(RunKey(job.id, first + number), 1) for number in range(count)]
    for attempt in attempts:
        store.write([
            RecordRun(attempt.run, job),
            RecordAttempt(attempt),
            RecordEnded(attempt, Outcome.FAILED, None, "x" * 2000, Outcome.FAILED),
        ])  # fmt: skip


def test_the_file_shrinks(tmp_path: Path) -> None:
    path = tmp_path / "db"
    with closing(Store(path)) as store:
        bulk(store, 500)
    full = path.stat().st_size
    with closing(Store(path)) as store:
        for _ in range(10):
            prune(store, before=NOON + 10**6)
    assert path.stat().st_size < full / 4


def test_a_database_that_is_too_large_loses_its_oldest_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pycron.storage.store._RUNS_PER_STEP", 50)
    most = 2**20
    with closing(Store(tmp_path / "db")) as store:
        bulk(store, 500)
        store.prune(EVERYTHING, 0, lambda _: None)
        for _ in range(20):
            prune(store, database_bytes=most)
        kept = left(store)
    assert (tmp_path / "db").stat().st_size <= most
    assert len(kept) > 50
    assert kept == list(range(NOON + 500 - len(kept), NOON + 500))


def test_the_file_stays_within_its_limit_between_two_steps(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pycron.storage.store._RUNS_PER_STEP", 10)
    most = 2**20
    sizes = []
    for number in range(100):
        bulk(store, 3, NOON + 60 * number)
        sizes.append(file_bytes(store))
        prune(store, database_bytes=most)
    assert most * 0.9 < max(sizes) <= most


def test_the_journal_does_not_stay_large(tmp_path: Path) -> None:
    job = a_job()
    with closing(Store(tmp_path / "db")) as store:
        store.write(
            record
            for number in range(2000)
            for record in (
                RecordRun(RunKey(job.id, number), job),
                RecordNotStarted(RunKey(job.id, number), Outcome.SKIPPED, "x" * 4000),
            )
        )
        large = (tmp_path / "db-wal").stat().st_size
        store.write([RecordCursor(Cursor(1, 1))])
        store.write([RecordCursor(Cursor(2, 2))])
        assert (tmp_path / "db-wal").stat().st_size <= 4 * 2**20 < large
