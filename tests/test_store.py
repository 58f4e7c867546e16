"""The store: what is written is there again, whole or not at all."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from pycron.actions import (
    Record,
    RecordAttempt,
    RecordBoot,
    RecordCursor,
    RecordEnded,
    RecordRun,
    RecordRunner,
    RecordStarted,
)
from pycron.crontab import Judge, parse
from pycron.model import AttemptKey, Ending, Job, Outcome, RunKey, Source
from pycron.store import Filter, Store, StoreError
from pycron.timetable import Cursor

NOON = 1_772_971_200


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path / "pycron.db")
    yield store
    store.close()


def a_job(line: str = "* * * * * true", source: str = "anna", owner: str = "anna") -> Job:
    (job,) = parse(f"{line}\n", Source(source, owner), Judge()).jobs
    return job


def begun(job: Job, fire_time: int = NOON, turn: int = 0) -> list[Record]:
    run = RunKey(job.id, fire_time, turn)
    return [RecordRun(run, job), RecordAttempt(AttemptKey(run, 1))]


def first(job: Job, fire_time: int = NOON) -> AttemptKey:
    return AttemptKey(RunKey(job.id, fire_time), 1)


def ended(attempt: AttemptKey, outcome: Outcome = Outcome.SUCCEEDED) -> RecordEnded:
    ending = Ending(NOON + 2.5, 0, None, 0.25, 1_000_000, 42)
    return RecordEnded(attempt, outcome, ending, None, outcome)


# ---- the file


def test_a_new_database_is_empty(store: Store) -> None:
    assert store.runs(Filter(10)) == []
    assert list(store.unfinished()) == []
    assert store.cursor() is None
    assert store.meta("boot_id") is None
    assert store.count_runs() == 0


def test_it_is_there_again(tmp_path: Path) -> None:
    job = a_job()
    with closing(Store(tmp_path / "db")) as store:
        store.write([*begun(job), RecordCursor(Cursor(1, 2, (3,)))])
    with closing(Store(tmp_path / "db")) as store:
        assert [row["job"] for row in store.runs(Filter(10))] == [job.name]
        assert store.cursor() == Cursor(1, 2, (3,))


def test_it_survives_a_daemon_that_did_not_close_it(tmp_path: Path) -> None:
    job = a_job()
    killed = Store(tmp_path / "db")
    killed.write(begun(job))
    with closing(Store(tmp_path / "db")) as store:
        assert store.count_runs() == 1
    killed.close()


def test_an_unknown_schema_version_is_refused(tmp_path: Path) -> None:
    Store(tmp_path / "db").close()
    with closing(sqlite3.connect(tmp_path / "db")) as database:
        database.execute("PRAGMA user_version = 99")
        database.commit()
    with pytest.raises(StoreError, match=r"db: schema version 99; this pycron knows \d+"):
        Store(tmp_path / "db")


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "db").write_text("nothing of the kind\n" * 1000)
    with pytest.raises(StoreError, match="db: file is not a database"):
        Store(tmp_path / "db")
    assert (tmp_path / "db").read_text().startswith("nothing")


def test_a_place_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="unable to open"):
        Store(tmp_path / "none" / "db")


def test_nobody_else_can_read_it(tmp_path: Path) -> None:
    """It holds the commands of all users; the directory may be one that others can enter."""
    with closing(Store(tmp_path / "db")) as store:
        store.write(begun(a_job()))
        modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    assert set(modes.values()) == {0o600}, modes


def test_a_locked_database_is_an_error_not_the_end(tmp_path: Path) -> None:
    with closing(Store(tmp_path / "db")) as store:
        store._db.execute("PRAGMA busy_timeout = 50")
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
    ending = Ending(NOON + 9.75, None, 15, 1.5, 123_456, 789)
    store.write([RecordRun(run, job), RecordAttempt(attempt)])
    store.write([RecordStarted(attempt, 4711, NOON + 0.25)])
    store.write([RecordEnded(attempt, Outcome.KILLED, ending, "why", Outcome.KILLED)])
    found = store.run(run)
    assert found is not None
    row, attempts = found
    assert row == {
        "number": 1, "job_id": job.id, "job": "backup", "table": "anna", "line": 1,
        "user": "anna", "schedule": "30 2 * * *", "zone": "Europe/Berlin",
        "command": "/bin/backup --all", "fire_time": NOON, "pass": 2, "outcome": "killed",
        "reason": "why", "run_id": str(run), "dead": 0, "retry_at": None,
    }  # fmt: skip
    assert attempts == [{
        "run": 1, "number": 1, "pid": 4711, "started": NOON + 0.25, "ended": NOON + 9.75,
        "outcome": "killed", "exit_status": None, "signal": 15, "cpu_seconds": 1.5,
        "memory_peak": 123_456, "output_bytes": 789, "reason": "why",
    }]  # fmt: skip
    (listed,) = store.runs(Filter(10))
    assert listed == row | {"all": attempts}


def test_all_or_nothing(store: Store) -> None:
    job = a_job()
    stranger = AttemptKey(RunKey("f" * 16, NOON), 1)
    with pytest.raises(StoreError, match="no Run"):
        store.write([*begun(job), RecordCursor(Cursor(1, 1)), RecordStarted(stranger, 1, 1.0)])
    assert store.count_runs() == 0
    assert store.cursor() is None
    store.write(begun(job))  # and the Job's row, which was taken back, is written again
    assert [row["job"] for row in store.runs(Filter(10))] == [job.name]


def test_all_or_nothing_also_for_what_sqlite_cannot_hold(store: Store) -> None:
    job = a_job()
    too_large = RecordStarted(first(job), 2**70, 1.0)
    with pytest.raises(StoreError):
        store.write([*begun(job), too_large])
    assert store.count_runs() == 0
    store.write(begun(job))
    assert [row["job"] for row in store.runs(Filter(10))] == [job.name]


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
    assert store.meta("boot_id") == "b00t"
    assert store.meta("runner") == "12-34"


def test_a_job_that_has_moved(store: Store) -> None:
    before = a_job("CRON_NAME=x 0 1 * * * old")
    table = parse("#\n#\nCRON_NAME=x 0 2 * * * new\n", Source("anna", "anna"), Judge())
    (after,) = table.jobs
    assert after.id == before.id
    store.write(begun(before))
    store.write(begun(after, NOON + 60))
    rows = store.runs(Filter(10))
    assert {(row["line"], row["schedule"], row["command"]) for row in rows} == {
        (3, "0 2 * * *", "new")
    }


def test_what_is_no_utf8_is_shown_as_escapes(store: Store) -> None:
    job = a_job("* * * * * echo \udcff ä")
    store.write(begun(job))
    store.write([RecordEnded(first(job), Outcome.FAILED, None, "no \udcfe", Outcome.FAILED)])
    (row,) = store.runs(Filter(1))
    assert row["command"] == "echo \\xff ä"
    assert row["reason"] == "no \\xfe"


def test_a_table_whose_name_is_no_utf8(store: Store) -> None:
    job = a_job(source="/tmp/\udcff")
    store.write(begun(job))
    assert [row["table"] for row in store.runs(Filter(1))] == ["/tmp/\\xff"]


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


def test_an_attempt_that_ended_while_its_run_goes_on(store: Store) -> None:
    job = a_job()
    store.write(begun(job))
    store.write([RecordEnded(first(job), Outcome.FAILED, None, "once more", None)])
    assert [item.attempt for item in store.unfinished()] == [first(job)]  # the last one, not none
    assert [row["outcome"] for row in store.runs(Filter(1))] == [None]
    second = AttemptKey(first(job).run, 2)
    store.write([RecordAttempt(second)])
    assert [item.attempt for item in store.unfinished()] == [second]
    (row,) = store.runs(Filter(1))
    assert [attempt["number"] for attempt in row["all"]] == [1, 2]


def test_a_run_that_waits_for_its_first_attempt(store: Store) -> None:
    job = a_job()
    run = RunKey(job.id, NOON)
    store.write([RecordRun(run, job)])
    assert [item.attempt for item in store.unfinished()] == [AttemptKey(run, 0)]


def test_a_run_that_is_none(store: Store) -> None:
    assert store.run(RunKey("0" * 16, NOON)) is None


def test_runs_newest_first_and_page_by_page(store: Store) -> None:
    job = a_job()
    for minute in range(10):
        store.write(begun(job, NOON + 60 * minute))
    page = store.runs(Filter(4))
    seen = [row["fire_time"] for row in page]
    while page:
        page = store.runs(Filter(4, before=page[-1]["number"]))
        seen += [row["fire_time"] for row in page]
    assert seen == [NOON + 60 * minute for minute in reversed(range(10))]


def test_filters(store: Store) -> None:
    one = a_job("CRON_NAME=one * * * * * 1")
    two = a_job("CRON_NAME=two * * * * * 2", source="bert", owner="bert")
    store.write([*begun(one), *begun(two), *begun(one, NOON + 60), *begun(two, NOON + 120)])
    store.write([ended(first(one)), ended(first(two), Outcome.FAILED)])

    def found(wanted: Filter) -> list[tuple[str, int]]:
        return [(row["job"], (row["fire_time"] - NOON) // 60) for row in store.runs(wanted)]

    assert found(Filter(10)) == [("two", 2), ("one", 1), ("two", 0), ("one", 0)]
    assert found(Filter(10, job="one")) == [("one", 1), ("one", 0)]
    assert found(Filter(10, job=two.id)) == [("two", 2), ("two", 0)]
    assert found(Filter(10, user="bert")) == [("two", 2), ("two", 0)]
    assert found(Filter(10, outcome="failed")) == [("two", 0)]
    assert found(Filter(10, since=NOON + 60)) == [("two", 2), ("one", 1)]
    assert found(Filter(10, until=NOON + 60)) == [("two", 0), ("one", 0)]
    assert found(Filter(10, job="one", user="bert")) == []
    assert found(Filter(1, job="one", since=NOON, until=NOON + 1)) == [("one", 0)]
    assert found(Filter(10, job="' OR 1 --")) == []


# ---- retention


def many(store: Store, count: int) -> list[RunKey]:
    """Runs of one Job, a minute apart from NOON on, all ended."""
    job = a_job()
    runs = [RunKey(job.id, NOON + 60 * number) for number in range(count)]
    for run in runs:
        attempt = AttemptKey(run, 1)
        store.write([RecordRun(run, job), RecordAttempt(attempt)])
        store.write([RecordEnded(attempt, Outcome.FAILED, None, None, Outcome.FAILED)])
    return runs


def kept(store: Store) -> list[int]:
    return sorted(row["fire_time"] for row in store.runs(Filter(1000)))


def test_old_runs_are_forgotten(store: Store) -> None:
    runs = many(store, 10)
    gone = store.prune(before=NOON + 180, most=1000)
    assert gone == [AttemptKey(run, 1) for run in runs[:3]]
    assert kept(store) == [run.fire_time for run in runs[3:]]
    assert store.prune(before=NOON + 180, most=1000) == []


def test_only_the_newest_runs_are_kept(store: Store) -> None:
    runs = many(store, 10)
    store.prune(before=0, most=4)
    assert kept(store) == [run.fire_time for run in runs[6:]]


def test_what_is_not_over_is_kept(store: Store) -> None:
    """A Run that goes on, and a dead letter; those behind them go all the same."""
    job = a_job()
    unfinished, dead = RunKey(job.id, NOON - 120), RunKey(job.id, NOON - 60)
    for run in (unfinished, dead):
        store.write([RecordRun(run, job), RecordAttempt(AttemptKey(run, 1))])
    end = RecordEnded(AttemptKey(dead, 1), Outcome.FAILED, None, None, Outcome.FAILED, dead=True)
    store.write([end])
    many(store, 5)
    store.prune(before=NOON + 10**6, most=1)
    assert kept(store) == [unfinished.fire_time, dead.fire_time]


def test_each_look_is_bounded(store: Store) -> None:
    many(store, 10)
    left = []
    for _ in range(4):
        store.prune(before=NOON + 10**6, most=0, at_once=3)
        left.append(len(kept(store)))
    assert left == [7, 4, 1, 0]


def test_the_file_shrinks_again(tmp_path: Path) -> None:
    path = tmp_path / "db"
    with closing(Store(path)) as store:
        job = a_job()
        reason = "x" * 4000
        for number in range(500):
            attempt = AttemptKey(RunKey(job.id, NOON + number), 1)
            store.write([
                RecordRun(attempt.run, job),
                RecordAttempt(attempt),
                RecordEnded(attempt, Outcome.FAILED, None, reason, Outcome.FAILED),
            ])  # fmt: skip
    full = path.stat().st_size
    with closing(Store(path)) as store:
        for _ in range(10):
            store.prune(before=NOON + 10**6, most=0)
    assert path.stat().st_size < full / 4


def test_two_boots_in_one_second_are_two(store: Store) -> None:
    """A foreground daemon runs its @reboot Jobs at each start, however soon that comes."""
    assert store.boots_in(NOON) == 0
    store.write([RecordBoot("b", NOON, 0)])
    assert store.boots_in(NOON) == 1
    store.write([RecordBoot("b", NOON, 1)])
    assert (store.boots_in(NOON), store.boots_in(NOON + 1)) == (2, 0)
