"""Real faults below the store: a full disk, a read-only disk, a damaged or missing file."""

import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from pycron.control.client import ControlClient, ControlError
from pycron.crontab.reader import ReaderContext, parse
from pycron.engine.actions import (
    Record,
    RecordAttempt,
    RecordBoot,
    RecordCursor,
    RecordEnded,
    RecordGap,
    RecordPause,
    RecordRun,
    RecordRunner,
    RecordStarted,
)
from pycron.engine.cursor import Cursor, Gap
from pycron.model.history import RunFilter
from pycron.model.job import Job, Source
from pycron.model.pause import ALL, Pause
from pycron.model.retention import RetentionLimits
from pycron.model.run import AttemptKey, Ending, Outcome, RunKey
from pycron.storage import schema
from pycron.storage.errors import StoreCorrupt, StoreError, StoreTooNew
from pycron.storage.schema import open_to_read
from pycron.storage.store import Store
from pycron.storage.write_queue import WriteQueue
from pycron.system import host, paths
from tests.support.isolated_system import IsolatedSystem, entering
from tests.support.running_daemon import RunningDaemon, foreground, program, run
from tests.support.thoroughness import slow_after
from tests.support.waiting import until

NOON = 1_772_971_200
RUNS = 400
ROOT = Path(__file__).parents[2]
NEVER = "0 0 1 1 *"


# ---- damage, found in opening


def a_job(command: str = "true") -> Job:
    (job,) = parse(f"* * * * * {command}\n", Source("anna", "anna"), ReaderContext()).jobs
    return job


def fill(store: Store) -> None:
    """Many Runs of one Job that have ended, one that runs, the cursor, the boot and the runner."""
    job = a_job()
    ending = Ending(1.0, 1, None, 0.1, 9, 10, 10, output=b"ten bytes\n")
    records: list[Record] = []
    for number in range(RUNS):
        attempt = AttemptKey(RunKey(job.id, NOON + 60 * number), 1)
        end = RecordEnded(attempt, Outcome.FAILED, ending, "x" * 200, Outcome.FAILED)
        records += [RecordRun(attempt.run, job), RecordAttempt(attempt), end]
    alive = AttemptKey(RunKey(job.id, NOON + 60 * RUNS), 1)
    store.write([
        *records, RecordRun(alive.run, job), RecordAttempt(alive), RecordStarted(alive, 4711, 1.5),
        RecordCursor(Cursor(NOON, NOON + 60)), RecordBoot("b00t", NOON, 0), RecordRunner("12-34"),
    ])  # fmt: skip


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A database that was closed properly."""
    with closing(Store(tmp_path / "db")) as store:
        fill(store)
    return tmp_path / "db"


def overwrite(path: Path, start: int, end: int) -> None:
    with path.open("r+b") as file:
        file.seek(start)
        file.write(b"\xa5" * (end - start))


def header_gone(path: Path) -> None:
    overwrite(path, 0, 100)


def first_page_gone(path: Path) -> None:
    overwrite(path, 0, 4096)


def half_gone(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def middle_gone(path: Path) -> None:
    middle = path.stat().st_size // 2 // 4096 * 4096
    overwrite(path, middle, middle + 3 * 4096)


def index_gone(path: Path) -> None:
    """All rows can still be read."""
    with closing(sqlite3.connect(path)) as database:
        query = "SELECT rootpage FROM sqlite_schema WHERE name = 'runs_by_outcome'"
        (page,) = database.execute(query).fetchone()
    overwrite(path, 4096 * (page - 1), 4096 * page)


def everything_gone(path: Path) -> None:
    path.write_text("nothing of the kind\n" * 1000)


def schema_is_no_text(path: Path) -> None:
    """What SQLite says of it cannot be decoded either."""
    path.write_bytes(path.read_bytes().replace(b"CREATE", b"CRE\x80TE"))


def unclean(path: Path) -> None:
    """With a log beside it, as a killed daemon leaves it."""
    Path(f"{path}-wal").write_bytes(b"")


def in_use(store: Store) -> None:
    """The store can be written to and read."""
    job = a_job("later")
    attempt = AttemptKey(RunKey(job.id, NOON), 1)
    store.write([RecordRun(attempt.run, job), RecordAttempt(attempt)])
    assert [row.command for row in store.runs(RunFilter(10, job=job.id))] == ["later"]


RUN = RunKey(a_job().id, NOON)


@pytest.mark.parametrize(
    "read",
    [
        lambda store: store.pauses(),
        lambda store: store.done_after(0),
        lambda store: store.gap_at(NOON, wall=True),
        lambda store: store.unfinished(),
        lambda store: store.runs(RunFilter(10)),
        lambda store: store.run(RUN),
        lambda store: store.short_output(AttemptKey(RUN, 1)),
        lambda store: store.owners_of("true"),
        lambda store: store.count_runs(),
        lambda store: store.drop_dead(RUN),
        lambda store: store.prune(RetentionLimits(0, 0, 0, 0, 0, 0), 0, lambda _: None),
    ],
)
def test_damage_met_in_reading_is_an_error_of_the_store(
    path: Path, read: Callable[[Store], object]
) -> None:
    """The store remembers the damage, so that the next write leads to a repair."""
    with closing(Store(path)) as store:
        overwrite(path, 0, path.stat().st_size)
        with pytest.raises(StoreCorrupt):
            read(store)
        with pytest.raises(StoreCorrupt):
            store.write([])
        assert store.runner() == "12-34"
        assert store.cursor() == Cursor(NOON, NOON + 60)


def test_a_column_that_has_another_name_is_damage(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b"cpu_seconds", b"cpu_secondz"))
    with closing(Store(path)) as store:
        with pytest.raises(StoreCorrupt, match="No item with that key"):
            store.run(RUN)
        store.repair(StoreCorrupt("what was met"))
        assert store.run(RUN)
        in_use(store)


@pytest.mark.parametrize("damage", [half_gone, middle_gone, index_gone])
def test_a_damaged_database_is_replaced_and_what_can_be_read_is_kept(
    path: Path, damage: Callable[[Path], None]
) -> None:
    damage(path)
    damaged = path.read_bytes()
    unclean(path)
    with closing(Store(path)) as store:
        assert store.repaired
        assert store.repaired.aside
        assert store.repaired.aside.read_bytes() == damaged
        assert store.repaired.aside.name.startswith("db.corrupt-")
        assert store.repaired.reason
        assert store.repaired.runs == store.count_runs() > 0
        assert store.cursor() == Cursor(NOON, NOON + 60)  # so no fire time runs twice
        assert (store.boot_id(), store.runner()) == ("b00t", "12-34")
        if damage is index_gone:
            assert store.count_runs() == RUNS + 1
            first = AttemptKey(RunKey(a_job().id, NOON), 1)
            assert store.short_output(first) == b"ten bytes\n"
            (left,) = store.unfinished()
            assert (left.pid, left.started) == (4711, 1.5)
        if damage is middle_gone:
            times = [row.key.fire_time for row in store.runs(RunFilter(10**6))]
            assert {NOON, NOON + 60 * RUNS} <= set(times)  # both sides of it
        in_use(store)
    with closing(Store(path)) as store:
        assert store.repaired is None
        assert store._database.connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
        counted = store._database.connection.execute(
            "SELECT total(output_kept) FROM attempts"
        ).fetchone()[0]
        assert (
            counted
            == store._database.connection.execute("SELECT total(output_kept) FROM jobs").fetchone()[
                0
            ]
        )


def test_a_damaged_database_of_an_older_version_is_repaired(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "db"
    with monkeypatch.context() as released:
        released.setattr(schema, "MIGRATIONS", schema.MIGRATIONS[:1])
        database = schema.open_database(path)
    with closing(database):
        database.executescript(
            "INSERT INTO users VALUES (1, 'anna');"
            'INSERT INTO jobs (id, name, "table", line, user, schedule, command)'
            " VALUES ('0123456789abcdef', 'x', 'anna', 1, 1, '@daily', 'true');"
        )
        row = "INSERT INTO runs (job, user, fire_time, pass, reason) VALUES (1, 1, ?, 0, ?)"
        database.executemany(row, [(NOON + number, "x" * 200) for number in range(RUNS)])
    middle_gone(path)
    with closing(Store(path)) as store:
        assert store.repaired
        times = [left.attempt.run.fire_time for left in store.unfinished()]
        assert {NOON, NOON + RUNS - 1} <= set(times)
        in_use(store)


@pytest.mark.parametrize(
    "damage", [header_gone, first_page_gone, everything_gone, schema_is_no_text]
)
def test_a_database_of_which_nothing_can_be_read(
    path: Path, damage: Callable[[Path], None]
) -> None:
    """It is set aside, and the daemon begins like a new one."""
    damage(path)
    damaged = path.read_bytes()
    with closing(Store(path)) as store:
        assert store.repaired
        assert store.repaired.aside
        assert store.repaired.aside.read_bytes() == damaged
        assert store.repaired.runs == 0
        assert store.cursor() is None
        in_use(store)


DAMAGED_VALUES = [
    "UPDATE runs SET fire_time = 'x' WHERE number = 3",
    "UPDATE runs SET fire_time = 9223372036854775807 WHERE number = 3",
    "UPDATE runs SET fire_time = 1e300 WHERE number = 3",
    "UPDATE runs SET pass = 'x' WHERE number = 3",
    "UPDATE runs SET outcome = 'x' WHERE number = 3",
    "UPDATE runs SET outcome = NULL, redriven = 'x', redriven_at = 1 WHERE number = 3",
    "UPDATE runs SET outcome = NULL, redriven_at = 1e300 WHERE number = 3",
    "UPDATE runs SET reason = x'00' WHERE number = 3",
    "UPDATE runs SET retry_at = 'x' WHERE number = 3",
    "UPDATE attempts SET pid = 'x' WHERE run = 3",
    "UPDATE attempts SET started = -1e300 WHERE run = 3",
    "UPDATE attempts SET ended = 9e999 WHERE run = 3",
    "UPDATE attempts SET outcome = 5 WHERE run = 3",
    "UPDATE attempts SET memory_peak = 1.5 WHERE run = 3",
    "UPDATE attempts SET output_kept = 'x' WHERE run = 3",
    "UPDATE outputs SET data = 5 WHERE run = 3",
    "UPDATE jobs SET line = 'x' WHERE number = 1",
    "UPDATE jobs SET id = '../../x' WHERE number = 1",
    "UPDATE jobs SET command = CAST(x'ff' AS TEXT) WHERE number = 1",
    "UPDATE jobs SET settings = 5 WHERE number = 1",
    "UPDATE users SET name = x'00' WHERE number = 1",
    "UPDATE pauses SET since = 'x'",
    "UPDATE pauses SET until = 1e300",
    "UPDATE gaps SET reason = x'00'",
    "UPDATE meta SET value = x'00' WHERE key = 'runner'",
]


@pytest.mark.parametrize("damage", slow_after(8, DAMAGED_VALUES))
def test_a_value_of_a_wrong_type_is_damage_and_the_repair_leaves_it_out(
    path: Path, damage: str
) -> None:
    keep = RetentionLimits(10, 10, 10, 10, 10, 2**20)
    reads: list[Callable[[Store], object]] = [
        lambda store: [str(each.key) for each in store.runs(RunFilter(10**6))],
        lambda store: store.unfinished(),
        lambda store: store.done_after(0),
        lambda store: store.pauses(),
        lambda store: store.gap_at(NOON, wall=True),
        lambda store: store.owners_of("true"),
        lambda store: [store.short_output(AttemptKey(each.key, 1))
                       for each in store.runs(RunFilter(10**6))],
        lambda store: store.prune(keep, NOON, lambda _: None),
    ]  # fmt: skip
    with closing(Store(path)) as store:
        gap = RecordGap(Gap(NOON - 1, NOON + 1, wall=True), "why")
        store.write([gap, RecordPause(Pause(ALL, NOON, None, "root"))])
    with closing(sqlite3.connect(path)) as database:
        database.execute(damage)
        database.commit()
    with closing(Store(path)) as store:
        for read in reads:
            try:
                read(store)
            except StoreCorrupt:
                with pytest.raises(StoreCorrupt) as caught:
                    store.write([RecordRunner("56-78")])
                store.repair(caught.value)
        for read in reads:
            read(store)
        in_use(store)
    with closing(Store(path)) as store:
        assert store.repaired is None
        assert store.cursor() == Cursor(NOON, NOON + 60)


@pytest.mark.parametrize(
    "text", ["", "x", "5", "[1]", "[1, 2, 3]", '[1, 2, ["x"]]', "[1e300, 2, []]"]
)
def test_a_damaged_cursor_is_none(path: Path, text: str) -> None:
    with closing(sqlite3.connect(path)) as database:
        database.execute("UPDATE meta SET value = ? WHERE key IN ('cursor', 'booted')", (text,))
        database.commit()
    with closing(Store(path)) as store:
        assert (store.cursor(), store.boots_in(NOON)) == (None, 0)
        assert store.repaired is None


def test_reboot_jobs_of_this_boot_are_not_run_again(path: Path) -> None:
    """If nothing can be read, the time of the file says whether a daemon ran since the boot."""
    everything_gone(path)
    with closing(Store(path)) as store:
        assert store.boot_id() == host.boot_id()
    everything_gone(path)
    os.utime(path, (1, 1))
    with closing(Store(path)) as store:
        assert store.boot_id() is None


def test_a_log_that_is_garbage(path: Path) -> None:
    """SQLite ignores it, and what was in it is lost."""
    Path(f"{path}-wal").write_bytes(os.urandom(100_000))
    with closing(Store(path)) as store:
        assert store.repaired is None
        assert store.count_runs() == RUNS + 1
        in_use(store)


def test_rows_that_were_only_in_the_log_are_saved(path: Path) -> None:
    copy = path.with_name("copy")
    with closing(Store(path)) as store:
        in_use(store)
        for suffix in ("", "-wal"):
            shutil.copyfile(f"{path}{suffix}", f"{copy}{suffix}")
    middle_gone(copy)
    with closing(Store(copy)) as store:
        assert store.repaired
        assert [row.command for row in store.runs(RunFilter(1, job=a_job("later").id))] == ["later"]
        assert Path(f"{store.repaired.aside}-wal").exists()


def test_only_the_last_three_damaged_files_are_kept(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(5):
        stamp = f"2026010{number}T000000Z"
        monkeypatch.setattr("pycron.storage.repair.time.strftime", lambda *_, stamp=stamp: stamp)
        everything_gone(path)
        Store(path).close()
    names = sorted(each.name for each in path.parent.iterdir())
    assert names == ["db", *(f"db.corrupt-2026010{number}T000000Z" for number in (2, 3, 4))]


def test_only_the_owner_can_read_what_is_set_aside(path: Path) -> None:
    everything_gone(path)
    with closing(Store(path)):
        modes = {each.name: each.stat().st_mode & 0o777 for each in path.parent.iterdir()}
    assert set(modes.values()) == {0o600}, modes


# ---- damage, found while running


def cold(store: Store) -> None:
    """SQLite has to read its pages again."""
    store._database.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    store._database.connection.execute("PRAGMA shrink_memory")


def test_damage_met_in_writing(path: Path) -> None:
    job = a_job("other")
    records: list[Record] = [RecordRun(RunKey(job.id, NOON), job), RecordRunner("56-78")]
    with closing(Store(path)) as store:
        store.write([RecordRunner("56-78")])
        cold(store)
        overwrite(path, 4096, path.stat().st_size)
        with pytest.raises(StoreCorrupt) as caught:
            store.write(records)
        done = store.repair(caught.value)
        assert done.aside
        assert done.aside.exists()
        assert store.cursor() == Cursor(NOON, NOON + 60)  # from memory
        assert store.runner() == "56-78"
        store.write(records)
        in_use(store)


def test_damage_met_in_reading_is_repaired_with_the_next_write(path: Path) -> None:
    with closing(Store(path)) as store:
        cold(store)
        middle_gone(path)
        with pytest.raises(StoreCorrupt):
            store.runs(RunFilter(10**6))
        with pytest.raises(StoreCorrupt) as caught:
            store.write([RecordCursor(Cursor(1, 1))])
        store.repair(caught.value)
        store.write([RecordCursor(Cursor(1, 1))])
        assert len(store.runs(RunFilter(10**6))) > 0


def emptied(path: Path) -> None:
    os.truncate(path, 0)


def deleted(path: Path) -> None:
    path.unlink()


def deleted_with_all_beside_it(path: Path) -> None:
    for each in path.parent.glob(f"{path.name}*"):
        each.unlink()


def replaced(path: Path) -> None:
    other = path.with_name("other")
    Store(other).close()
    other.replace(path)


@pytest.mark.parametrize("fault", [deleted, deleted_with_all_beside_it, replaced])
def test_a_file_that_is_gone_is_put_back(path: Path, fault: Callable[[Path], None]) -> None:
    with closing(Store(path)) as store:
        in_use(store)
        fault(path)
        job = a_job("after")
        records: list[Record] = [RecordRun(RunKey(job.id, NOON), job)]
        with pytest.raises(StoreCorrupt) as caught:
            store.write(records)
        done = store.repair(caught.value)
        assert done.runs == RUNS + 2
        assert (done.aside is not None) == (fault is replaced)
        store.write(records)
        assert path.stat().st_mode & 0o777 == 0o600
    with closing(Store(path)) as store:
        assert store.count_runs() == RUNS + 3
        assert store.cursor() == Cursor(NOON, NOON + 60)
        assert store._database.connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
    index_gone(path)  # it can be repaired like any other
    unclean(path)
    with closing(Store(path)) as store:
        assert store.repaired
        assert store.count_runs() == RUNS + 3


@pytest.mark.parametrize("is_cold", [True, False])
def test_a_file_that_was_emptied_is_replaced(path: Path, is_cold: bool) -> None:
    with closing(Store(path)) as store:
        if is_cold:
            cold(store)
        emptied(path)
        with pytest.raises(StoreCorrupt):
            store.write([RecordRunner("56-78")])
        assert store.repair(StoreCorrupt("emptied")).aside
        assert store.cursor() == Cursor(NOON, NOON + 60)
        store.write([RecordRunner("56-78")])
        in_use(store)
    with closing(Store(path)) as store:
        assert store.cursor() == Cursor(NOON, NOON + 60)
        assert store.runner() == "56-78"


def test_reading_an_emptied_file_is_damage(path: Path) -> None:
    with closing(Store(path)) as store:
        cold(store)
        emptied(path)
        with pytest.raises(StoreCorrupt, match="no such table"):
            store.runs(RunFilter(10))


def test_a_repair_that_fails_leaves_the_file_where_it_is(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    middle_gone(path)
    unclean(path)
    damaged = path.read_bytes()

    def refuse(*_: object) -> None:
        raise OSError("no room")

    with monkeypatch.context() as patched:
        patched.setattr("pycron.storage.repair.os.link", refuse)
        with pytest.raises(StoreError, match="can't be repaired: no room"):
            Store(path)
    assert path.read_bytes() == damaged
    unclean(path)
    with closing(Store(path)) as store:
        assert store.repaired


_OPEN = """
import sys
from pathlib import Path
from pycron.storage.errors import StoreError
from pycron.storage.store import Store
from pycron.system import host
try:
    Store(Path(sys.argv[1])).close()
except StoreError as error:
    print(error)
"""
_CLOSE = """
import sqlite3, sys
sqlite3.connect(sys.argv[1]).execute("PRAGMA wal_checkpoint(TRUNCATE)")
"""
_REPAIR = """
import sys
from pathlib import Path
from pycron.storage.repair import repair
repair(Path(sys.argv[1]), "test")
"""
_CALLS = "link,linkat,rename,renameat,renameat2,unlink,unlinkat"


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["signal=KILL", "error=EIO"])
def test_a_repair_that_is_cut_short_loses_nothing(path: Path, tmp_path: Path, fault: str) -> None:
    """At each call that changes a directory; rows that only the log had are kept."""
    if shutil.which("strace") is None:
        pytest.skip("needs strace")
    damaged = tmp_path / "damaged"
    with closing(Store(path)) as store:
        in_use(store)
        for suffix in ("", "-wal"):
            shutil.copyfile(f"{path}{suffix}", f"{damaged}{suffix}")
    middle_gone(damaged)
    with closing(Store(Path(shutil.copy(damaged, tmp_path / "without")))) as store:
        assert store.runs(RunFilter(1, job=a_job("later").id)) == []
    for count in range(1, 100):
        directory = tmp_path / str(count)
        directory.mkdir()
        for suffix in ("", "-wal"):
            shutil.copyfile(f"{damaged}{suffix}", directory / f"db{suffix}")
        inject = f"inject={_CALLS}:{fault}:when={count}"
        trace = directory / "trace"
        subprocess.run(
            ["strace", "-D", "-qq", "-o", trace, "-e", f"trace={_CALLS}", "-e", inject,
             sys.executable, "-c", _REPAIR, directory / "db"],
            cwd=ROOT, stderr=subprocess.DEVNULL, check=False,
        )  # fmt: skip
        with closing(Store(directory / "db")) as store:
            rows = store.runs(RunFilter(1, job=a_job("later").id))
            assert [row.command for row in rows] == ["later"], trace.read_text()
        text = trace.read_text()
        if "INJECTED" not in text and "killed" not in text:
            break
    assert 5 < count < 99


# ---- the write queue


def story(number: int, *, dead: bool = False, over: bool = True) -> list[Record]:
    job = a_job()
    attempt = AttemptKey(RunKey(job.id, NOON + number), 1)
    records: list[Record] = [RecordRun(attempt.run, job), RecordAttempt(attempt)]
    if over:
        end = RecordEnded(attempt, Outcome.FAILED, None, None, Outcome.FAILED, dead=dead)
        records += [RecordStarted(attempt, 4711, 1.0), end]
    return records


def all_of(queue: WriteQueue) -> list[Record]:
    records: list[Record] = []
    while queue:
        first = queue.first()
        records += first
        queue.written(len(first))
    return records


def test_a_write_queue_keeps_order_and_batches() -> None:
    queue = WriteQueue()
    turns = [story(number) * 100 for number in range(10)]
    for turn in turns:
        assert queue.add(turn) == set()
    assert len(queue) == 4000
    assert queue.first() == turns[0] + turns[1]  # whole turns, about a thousand records
    queue.written(150)
    assert queue.first()[:250] == turns[0][150:]
    assert all_of(queue) == [record for turn in turns for record in turn][150:]


def test_a_write_queue_drops_the_oldest_run_that_has_ended() -> None:
    queue = WriteQueue(most=40)
    cursors: list[Record] = [RecordCursor(Cursor(number, number)) for number in range(9)]
    turns = [
        story(0, over=False),
        story(1, dead=True),
        story(2),
        story(3),
        *map(story, range(4, 9)),
    ]
    known = story(99)[2:]  # its beginning is on disk
    assert queue.add(known) == set()
    dropped: set[RunKey] = set()
    for turn, cursor in zip(turns, cursors, strict=True):
        dropped |= queue.add([*turn, cursor])
    kept = all_of(queue)
    assert len(kept) <= 40
    assert dropped == {RunKey(a_job().id, NOON + 2)}
    assert queue.take_dropped() == 1
    assert queue.take_dropped() == 0
    expected = [*known, *turns[0], *turns[1], *(r for turn in turns[3:] for r in turn)]
    assert [record for record in kept if not isinstance(record, RecordCursor)] == expected
    assert cursors[-1] in kept


def test_a_write_queue_never_drops_an_unfinished_run() -> None:
    queue = WriteQueue(most=10)
    for number in range(10):
        assert queue.add(story(number, over=False)) == set()
    assert len(queue) == 20


# ---- a real daemon


def table_of(marks: Path, jobs: int = 3) -> str:
    return "".join(
        f'CRON_NAME=j{number} @every 1s echo "$CRON_RUN_ID.$CRON_ATTEMPT" >> {marks}/{number}\n'
        for number in range(jobs)
    )


def started(marks: Path) -> Counter[str]:
    """How often each Attempt was started, as its command noted it."""
    return Counter(line for path in marks.iterdir() for line in path.read_text().splitlines())


def recorded(database: Path) -> dict[str, Outcome | None]:
    """The outcome of each Attempt, from a copy: SQLite cannot open the path into a namespace."""
    with tempfile.TemporaryDirectory() as directory:
        copy = Path(shutil.copy(database, directory))
        with closing(Store(copy)) as store:
            rows = store.runs(RunFilter(10**6))
    return {f"{row.run_id}.{each.number}": each.outcome
            for row in rows for each in row.attempts}  # fmt: skip


def assert_complete(marks: Path, database: Path) -> None:
    """Every fire time ran once, and all Attempts are recorded."""
    ran, known = started(marks), recorded(database)
    assert [attempt for attempt, times in ran.items() if times > 1] == []
    assert set(ran) == set(known)
    assert set(known.values()) == {"succeeded"}
    times = sorted({RunKey.parse(each.rpartition(".")[0]).fire_time for each in known})
    assert times == list(range(times[0], times[-1] + 1))
    assert len(known) == 3 * len(times)


@pytest.fixture
def marks(tmp_path: Path) -> Path:
    marks = tmp_path / "marks"
    marks.mkdir()
    return marks


@pytest.mark.parametrize("damage", slow_after(1, [index_gone, header_gone, middle_gone]))
def test_a_daemon_starts_on_a_damaged_database(
    tmp_path: Path, marks: Path, damage: Callable[[Path], None]
) -> None:
    state = tmp_path / "state"
    with foreground(table_of(marks), tmp_path) as daemon:
        daemon.wait_for("attempt_ended", count=9)
        daemon.kill()
    with closing(sqlite3.connect(state / "pycron.db")) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    before = set(started(marks))
    damage(state / "pycron.db")
    unclean(state / "pycron.db")
    with foreground(table_of(marks), tmp_path) as daemon:
        line = daemon.wait_for("store_repaired")
        daemon.wait_for("attempt_ended", count=len(daemon.log("attempt_ended")) + 9)
    assert line["reason"]
    assert Path(line["aside"]).exists()
    assert max(started(marks).values()) == 1
    if damage is header_gone:
        assert line["runs"] == 0
        assert set(recorded(state / "pycron.db")) <= set(started(marks)) - before
    if damage is index_gone:
        assert line["runs"] > 0
        assert set(started(marks)) == set(recorded(state / "pycron.db"))


@pytest.mark.parametrize("fault", slow_after(1, [deleted, emptied, replaced]))
def test_a_daemon_whose_database_file_vanishes(
    tmp_path: Path, marks: Path, fault: Callable[[Path], None]
) -> None:
    database = tmp_path / "state" / "pycron.db"
    with foreground(table_of(marks), tmp_path) as daemon:
        goes_on(daemon)
        fault(database)
        line = daemon.wait_for("store_repaired")
        assert fault.__name__ in line["reason"]
        goes_on(daemon)
    if fault is emptied:
        assert set(recorded(database)) <= ran_once(marks)
    else:
        assert line["runs"] > 0
        assert daemon.log("store_failed") == []
        assert_complete(marks, database)


@pytest.mark.slow
def test_a_refused_record_is_logged_once_and_blocks_no_other(tmp_path: Path, marks: Path) -> None:
    """Another program has written Runs of fire times to come."""
    database = tmp_path / "state" / "pycron.db"
    with foreground(table_of(marks), tmp_path) as daemon:
        daemon.wait_for("attempt_ended", count=9)
        with closing(sqlite3.connect(database, timeout=10)) as other:
            other.execute(
                "INSERT INTO runs (job, user, fire_time, pass)"
                " SELECT job, user, max(fire_time) + 3, 0 FROM runs GROUP BY job"
            )
            other.commit()
        ended = len(daemon.log("attempt_ended"))
        daemon.wait_for("attempt_ended", count=ended + 18)
        refused = [line for line in daemon.log("store_failed") if "UNIQUE" in line["reason"]]
    assert len(refused) == len({(line["run_id"], line["reason"]) for line in refused}) > 0
    assert len(recorded(database)) >= ended + 6
    assert daemon.log("store_recovered") == []


class Disk:
    """A small file system in a mount namespace of this test."""

    mount = "mount -t tmpfs -o size=2m,mode=700 tmpfs"

    def __init__(self, directory: Path) -> None:
        self.state = directory / "state"
        self.state.mkdir()
        script = f"{self.mount} {self.state}"
        self._holder = subprocess.Popen(
            ["unshare", "--mount", "sh", "-c", f"{script} && echo ready && exec sleep infinity"],
            stdout=subprocess.PIPE,
        )
        assert self._holder.stdout
        if self._holder.stdout.readline() != b"ready\n":
            self.end()
            pytest.skip(f"this does not work here: {script}")
        self._ballast = self.seen / "ballast"

    @property
    def inside(self) -> list[str]:
        return entering(self._holder.pid)

    @property
    def seen(self) -> Path:
        """The state directory, as it is seen from here."""
        return Path(f"/proc/{self._holder.pid}/root{self.state}")

    def fill(self, leave: int = 0) -> None:
        """Leave so many bytes free."""
        with self._ballast.open("ab", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(4096))
            except OSError:
                file.truncate(file.tell() - leave)

    def free(self) -> None:
        self._ballast.unlink()

    def run(self, *command: str) -> None:
        subprocess.run([*self.inside, *command], check=True)

    def end(self) -> None:
        assert self._holder.stdout
        self._holder.stdout.close()
        self._holder.kill()
        self._holder.wait()


class BrokenDisk(Disk):
    """An ext4 file system that a test can make read-only, as ext4 does when it finds damage."""

    def __init__(self, directory: Path) -> None:
        image = directory / "image"
        self.mount = (
            f"truncate -s 16M {image} && mkfs.ext4 -q {image}"
            f" && mount -o loop,errors=remount-ro {image}"
        )
        super().__init__(directory)

    def break_down(self) -> None:
        device = "$(basename $(findmnt --noheadings --output SOURCE $0))"
        self.run("sh", "-c", f"echo 1 > /sys/fs/ext4/{device}/trigger_fs_error", str(self.state))


@pytest.fixture
def root() -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root")


@pytest.fixture
def disk(root: None, tmp_path: Path) -> Iterator[Disk]:
    disk = Disk(tmp_path)
    yield disk
    disk.end()


@pytest.fixture
def broken_disk(root: None, tmp_path: Path) -> Iterator[BrokenDisk]:
    disk = BrokenDisk(tmp_path)
    yield disk
    disk.end()


@contextmanager
def daemon_on(disk: Disk, table: str, directory: Path) -> Iterator[RunningDaemon]:
    with foreground(table, directory, prefix=disk.inside, cwd=ROOT) as daemon:
        yield daemon


@pytest.mark.root
def test_a_full_disk(tmp_path: Path, marks: Path, disk: Disk) -> None:
    """Jobs are still started; when there is room again, every record is written."""
    with daemon_on(disk, table_of(marks), tmp_path) as daemon:
        daemon.wait_for("attempt_ended", count=3)
        disk.fill()
        daemon.wait_for("store_failed")
        daemon.wait_for("attempt_ended", count=len(daemon.log("attempt_ended")) + 15)
        assert daemon.log("store_recovered") == []
        disk.free()
        assert daemon.wait_for("store_recovered")["dropped"] == 0
        daemon.wait_for("attempt_ended", count=len(daemon.log("attempt_ended")) + 3)
    assert len(daemon.log("store_failed")) == 1
    assert "full" in daemon.log("store_failed")[0]["reason"]
    assert_complete(marks, disk.seen / "pycron.db")


@pytest.mark.root
def test_operators_on_a_full_disk(tmp_path: Path, disk: Disk) -> None:
    """Each start by hand is a Run of its own; redrive and drop are refused."""
    table = (
        "CRON_NAME=hand CRON_CONCURRENCY=forbid @yearly true\n"
        "CRON_NAME=bad CRON_RETRIES=1 CRON_NO_RETRY_ON=any @yearly exit 3\n"
        "CRON_NAME=timed @every 1s true\n"
    )
    with daemon_on(disk, table, tmp_path) as daemon:
        daemon.wait_for("attempt_ended", job="timed")
        with closing(ControlClient(disk.seen / "pycron.sock")) as client:
            dead = client.ask("start", job="bad")["run_id"]
            daemon.wait_for("attempt_ended", job="bad")
            disk.fill()
            daemon.wait_for("store_failed")
            wait_for_the_next_second()
            started = []
            for count in range(1, 4):
                started.append(client.ask("start", job="hand")["run_id"])
                daemon.wait_for("attempt_ended", job="hand", count=count)
            assert len(set(started)) == 3
            for verb in ("redrive", "drop"):
                with pytest.raises(ControlError, match="not up to date"):
                    client.ask(verb, run_id=dead)
            disk.free()
            daemon.wait_for("store_recovered")
            assert client.ask("redrive", run_id=dead)["attempt"] == 2
            daemon.wait_for("attempt_ended", run_id=dead, attempt=2)
            runs = client.ask("runs", job="hand")["rows"]
    assert {row["run_id"]: row["outcome"] for row in runs} == dict.fromkeys(started, "succeeded")


def wait_for_the_next_second() -> None:
    time.sleep(1 - time.time() % 1)


@pytest.mark.root
@pytest.mark.parametrize("room", slow_after(1, ["after", "before"]))
def test_a_full_disk_and_a_daemon_that_is_killed(
    tmp_path: Path, marks: Path, disk: Disk, room: str
) -> None:
    """The runner knows what it started: nothing runs twice, and all of it is recorded.

    There is room again before the next daemon starts, or only after.
    """
    table = table_of(marks)
    with daemon_on(disk, table, tmp_path) as daemon:
        daemon.wait_for("attempt_ended", count=3)
        disk.fill()
        daemon.wait_for("store_failed")
        daemon.wait_for("attempt_ended", count=len(daemon.log("attempt_ended")) + 9)
        daemon.kill()
    if room == "before":
        disk.free()
    with daemon_on(disk, table, tmp_path) as daemon:
        ended = len(daemon.log("attempt_ended"))
        daemon.wait_for("attempt_ended", count=ended + 9)
        if room == "after":
            disk.free()
            daemon.wait_for("store_recovered")
        daemon.wait_for("attempt_ended", count=ended + 18)
    assert_complete(marks, disk.seen / "pycron.db")


@pytest.mark.slow
@pytest.mark.root
def test_a_disk_that_is_full_of_outputs(tmp_path: Path, disk: Disk) -> None:
    """Surplus outputs are deleted also while nothing can be written."""
    config = tmp_path / "pycron.toml"
    config.write_text("[retention]\noutput_bytes = 10000000\n")
    table = "".join(f"CRON_NAME=j{n} @every 1s head -c 50000 /dev/zero\n" for n in range(3))
    outputs = disk.seen / "output"

    def size() -> int:
        return sum(path.stat().st_size for path in outputs.rglob("*.log"))

    with foreground(table, tmp_path, "--config", config, prefix=disk.inside, cwd=ROOT) as daemon:
        until(lambda: size() > 600_000, patience=90)
        disk.fill()
        daemon.wait_for("store_failed")
        config.write_text("[retention]\noutput_bytes = 100000\n")
        daemon.signal(signal.SIGHUP)
        until(lambda: bool(daemon.log("store_recovered")), patience=90)
    assert daemon.log("store_recovered")[0]["dropped"] == 0


@pytest.mark.slow
@pytest.mark.root
def test_no_room_for_a_repair(tmp_path: Path, disk: Disk) -> None:
    """With any amount of free space, a failed repair loses nothing."""
    good = tmp_path / "good"
    with closing(Store(good)) as store:
        for number in range(5):
            store.write(story(number))
    index_gone(good)
    damaged = good.read_bytes()
    for pages in range(0, 32, 4):
        (disk.seen / "db").write_bytes(damaged)
        unclean(disk.seen / "db")
        disk.fill(leave=4096 * pages)
        said = subprocess.run(
            [*disk.inside, sys.executable, "-c", _OPEN, disk.state / "db"],
            capture_output=True, text=True, check=True, cwd=ROOT,
        ).stdout  # fmt: skip
        disk.free()
        unclean(disk.seen / "db")
        subprocess.run(
            [*disk.inside, sys.executable, "-c", _OPEN, disk.state / "db"], check=True, cwd=ROOT
        )
        assert (disk.seen / "db").read_bytes() != damaged
        copy = Path(shutil.copy(disk.seen / "db", tmp_path / "copy"))
        with closing(Store(copy)) as store:
            assert store.count_runs() == 5, said
        for each in disk.seen.iterdir():
            each.unlink()


@pytest.mark.root
def test_a_disk_that_becomes_read_only(
    tmp_path: Path, marks: Path, broken_disk: BrokenDisk
) -> None:
    """Jobs are still started, once each."""
    with daemon_on(broken_disk, table_of(marks), tmp_path) as daemon:
        daemon.wait_for("attempt_ended", count=3)
        broken_disk.break_down()
        daemon.wait_for("store_failed")
        daemon.wait_for("attempt_ended", count=len(daemon.log("attempt_ended")) + 15)
    assert len(daemon.log("store_failed")) == 1
    assert daemon.log("daemon_stopped")
    assert len(started(marks)) >= 18
    assert set(started(marks).values()) == {1}


# ---- a database that can't be opened when the daemon starts


@pytest.fixture
def system(root: None, tmp_path: Path) -> Iterator[IsolatedSystem]:
    system = IsolatedSystem(tmp_path)
    yield system
    system.close()


STATE = paths.SYSTEM_STATE
TABLE = paths.DROP_INS / "marks"


def write_table(system: IsolatedSystem, marks: Path, more: str = "") -> None:
    text = "".join(line.replace("@every 1s", "@every 1s root")
                   for line in table_of(marks).splitlines(keepends=True))  # fmt: skip
    system.write(TABLE, f"{text}{more}")


def ran_once(marks: Path) -> set[str]:
    """The Attempts that were started; asserts that none was started twice."""
    ran = started(marks)
    assert [attempt for attempt, times in ran.items() if times > 1] == []
    return set(ran)


def goes_on(daemon: RunningDaemon) -> None:
    daemon.wait_for("attempt_ended", count=len(daemon.log("attempt_ended")) + 9)


def stop(system: IsolatedSystem, how: str) -> None:
    if how == "killed":
        system.daemon.kill()
    else:
        assert system.daemon.stop() == 0


@pytest.mark.slow
@pytest.mark.root
@pytest.mark.parametrize("how", slow_after(1, ["killed", "stopped"]))
def test_a_daemon_starts_on_a_read_only_disk(
    tmp_path: Path, marks: Path, system: IsolatedSystem, how: str
) -> None:
    """It reads what has run, so nothing runs twice; new records are written later."""
    write_table(system, marks)
    goes_on(system.daemon)
    stop(system, how)
    before = ran_once(marks)
    # a mount of its own, since the runner may still have its log open
    system.shell(f"mount --bind {STATE} {STATE}; mount -o remount,bind,ro {STATE}")
    system.daemon = system.start()
    said = system.daemon.log("store_failed")
    assert [line["level"] for line in said] == ["warning"]
    assert "readonly" in said[0]["reason"] or "unable to open" in said[0]["reason"]
    goes_on(system.daemon)
    assert {row["run_id"] for row in system.runs("--limit", "1000")} <= {
        attempt.rpartition(".")[0] for attempt in before
    }
    assert system.run("pycron", "start", "j0").returncode == 0
    system.shell(f"mount -o remount,bind,rw {STATE}")
    assert system.daemon.wait_for("store_recovered")["dropped"] == 0
    goes_on(system.daemon)
    assert len(system.daemon.log("store_failed")) == 1
    assert system.daemon.stop() == 0
    ran = ran_once(marks)
    assert before < ran
    known = recorded(Path(f"{system.root}{STATE}/pycron.db"))
    assert ran <= set(known)
    times = sorted({RunKey.parse(each.rpartition(".")[0]).fire_time for each in ran})
    assert times == list(range(times[0], times[-1] + 1))


@pytest.mark.slow
@pytest.mark.root
def test_reboot_jobs_run_once_a_boot_also_without_a_database(
    marks: Path, system: IsolatedSystem
) -> None:
    reboot = f"CRON_NAME=boot @reboot root echo $CRON_RUN_ID >> {marks}/boot\n"
    assert system.daemon.stop() == 0
    system.shell(f"cd {STATE}; rm pycron.db; mkdir pycron.db; touch -d 1980-01-01 pycron.db")
    write_table(system, marks, reboot)
    for _ in range(2):
        system.daemon = system.start()
        assert "unable to open" in system.daemon.log("store_failed")[0]["reason"]
        goes_on(system.daemon)
        system.daemon.kill()
    assert len((marks / "boot").read_text().splitlines()) == 1
    ran_once(marks)


@pytest.mark.slow
@pytest.mark.root
def test_a_database_that_can_be_read_later_is_taken_up(
    tmp_path: Path, marks: Path, system: IsolatedSystem
) -> None:
    """With commands that have ended meanwhile, one that still runs, a retry and a pause."""
    gate = tmp_path / "gate"
    waits = f"until [ -e {gate} ]; do sleep 0.1; done"
    fails = f"CRON_RETRIES=1 CRON_RETRY_DELAY=1 CRON_RETRY_JITTER=0 {NEVER} root {waits}; exit 1"
    more = (
        f"CRON_NAME=ends {NEVER} root {waits}\n"
        f"CRON_NAME=fails {fails}\n"
        f"CRON_NAME=stays {NEVER} root sleep 1000\n"
        f"CRON_NAME=paused @every 1s root true\n"
    )
    write_table(system, marks, more)
    system.rows("pause", "paused")
    names = ("ends", "fails", "stays")
    run_ids = {name: system.rows("start", name)[0]["run_id"] for name in names}
    for run_id in run_ids.values():
        system.daemon.wait_for("attempt_started", run_id=run_id)
    assert system.daemon.stop() == 0
    system.shell(f"mv {STATE}/pycron.db {STATE}/away; mkdir {STATE}/pycron.db")
    system.daemon = system.start()
    assert system.daemon.log("store_failed")
    goes_on(system.daemon)
    gate.touch()
    assert system.rows("pause") == []
    goes_on(system.daemon)
    system.shell(f"rmdir {STATE}/pycron.db; mv {STATE}/away {STATE}/pycron.db")
    system.daemon.wait_for("store_recovered")
    system.daemon.wait_for("attempt_ended", run_id=run_ids["fails"], attempt=2)
    outcomes = {name: system.runs("--job", name)[0]["outcome"] for name in names}
    assert outcomes == {"ends": "succeeded", "fails": "failed", "stays": None}
    assert [row["what"] for row in system.rows("pause")] == ["job paused"]
    (top,) = system.rows("top")
    assert run_ids["stays"] in [row["run_id"] for row in top["running"]]
    system.rows("kill", "stays")
    system.daemon.wait_for("attempt_ended", run_id=run_ids["stays"], outcome="cancelled")
    assert system.daemon.stop() == 0
    assert ran_once(marks) <= set(recorded(Path(f"{system.root}{STATE}/pycron.db")))


@pytest.mark.slow
@pytest.mark.root
def test_a_damaged_database_on_a_full_disk(tmp_path: Path, marks: Path, disk: Disk) -> None:
    """There is no room to repair it when the daemon starts."""
    with daemon_on(disk, table_of(marks), tmp_path) as daemon:
        goes_on(daemon)
        daemon.kill()
    before = ran_once(marks)
    disk.run(sys.executable, "-c", _CLOSE, str(disk.state / "pycron.db"))
    header_gone(disk.seen / "pycron.db")
    disk.fill()
    with daemon_on(disk, table_of(marks), tmp_path) as daemon:
        daemon.wait_for("store_failed")
        goes_on(daemon)
        disk.free()
        until(lambda: bool(daemon.log("store_repaired")), patience=90)  # it tries once a minute
        daemon.wait_for("store_recovered")
        goes_on(daemon)
    assert ran_once(marks) - before <= set(recorded(disk.seen / "pycron.db"))


@pytest.mark.root
def test_a_disk_that_has_no_room_for_the_sockets_either(tmp_path: Path, disk: Disk) -> None:
    disk.run("mount", "-o", "remount,ro", str(disk.state))
    table = tmp_path / "table"
    table.write_text("* * * * * true\n")
    arguments: list[str | Path] = ["--foreground", "--table", table, "--state-dir", disk.state]
    done = subprocess.run(
        [*disk.inside, *program("pycrond", *arguments)], capture_output=True, text=True,
        timeout=60, check=False, cwd=ROOT,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.startswith("pycrond: ")
    assert "Read-only file system" in done.stderr
    assert done.stderr.count("\n") == 1


def status_of(directory: Path) -> dict[str, Any]:
    done = run("pycron", "--state-dir", directory / "state", "status", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    return dict(json.loads(done.stdout))


def test_status_is_answered_when_the_database_cannot_be_read(tmp_path: Path) -> None:
    with foreground(f"{NEVER} true\n", tmp_path) as daemon:
        assert status_of(tmp_path)["runs"] == 0
        with closing(sqlite3.connect(tmp_path / "state" / "pycron.db")) as other:
            other.execute("DROP TABLE jobs")
        # A write at the start of a minute may have led to a repair already.
        assert status_of(tmp_path)["runs"] is None or daemon.log("store_repaired")


@pytest.mark.slow
def test_a_daemon_starts_without_its_database(tmp_path: Path, marks: Path) -> None:
    database = tmp_path / "state" / "pycron.db"
    database.mkdir(parents=True)
    with foreground(table_of(marks), tmp_path) as daemon:
        reason = daemon.wait_for("store_failed")["reason"]
        assert "unable to open" in reason
        goes_on(daemon)
        status = status_of(tmp_path)
        assert (status["store_failure"], status["runs"]) == (reason, 0)
        assert status["unwritten"] >= 9
        said = run("pycron", "--state-dir", tmp_path / "state", "status").stdout
        assert re.search(f"^wrong +the database: {re.escape(reason)}", said, re.MULTILINE)
        database.rmdir()
        assert daemon.wait_for("store_recovered")["dropped"] == 0
        goes_on(daemon)
        status = status_of(tmp_path)
        assert (status["store_failure"], status["unwritten"]) == (None, 0)
    assert_complete(marks, database)


def test_a_database_that_can_be_read_only_in_part_is_not_used(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a cursor, but without the Runs ahead of it, these would run again."""
    with closing(sqlite3.connect(path)) as database:
        query = "SELECT rootpage FROM sqlite_schema WHERE name = 'meta'"
        (page,) = database.execute(query).fetchone()
    overwrite(path, 4096, 4096 * (page - 1))
    overwrite(path, 4096 * page, path.stat().st_size)
    unclean(path)

    def refuse(*_: object) -> None:
        raise OSError("no room")

    with monkeypatch.context() as patched:
        patched.setattr("pycron.storage.repair.os.link", refuse)
        with closing(Store(path, may_wait=True)) as store:
            assert store.unread
            assert store.shut
            assert (store.cursor(), store.unfinished()) == (None, [])
            with pytest.raises(StoreError, match="no room"):
                store.write([RecordRunner("56-78")])
    with closing(Store(path)) as store:
        assert store.cursor() == Cursor(NOON, NOON + 60)


def test_opening_read_only_changes_nothing(path: Path) -> None:
    """Whether or not the last daemon has closed the database."""
    for log in (None, "left"):
        if log:
            killed = Store(path)
            in_use(killed)
        before = path.read_bytes()
        with closing(open_to_read(path)) as database:
            (runs,) = database.execute("SELECT count(*) FROM runs").fetchone()
        assert runs == RUNS + 1 + (log is not None)
        assert path.read_bytes() == before
    killed.close()


def test_a_newer_database_is_not_waited_for(path: Path) -> None:
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA user_version = 99")
    with pytest.raises(StoreTooNew):
        Store(path, may_wait=True)
