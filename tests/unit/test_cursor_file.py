"""The cursor is kept through minutes in which nothing is due, without a transaction."""

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from pycron.engine.actions import Record, RecordCursor, RecordRunner
from pycron.engine.cursor import Cursor
from pycron.storage.store import Store

OTHER = RecordRunner("12-34")  # any other record


def reached(minute: int, stepped: Sequence[int] = ()) -> RecordCursor:
    return RecordCursor(Cursor(60 * minute, 60 * minute, tuple(stepped)))


def known(path: Path) -> int | None:
    """The minute of the cursor that a new daemon reads."""
    with closing(Store(path)) as store:
        cursor = store.cursor()
    return None if cursor is None else cursor.wall // 60


def in_database(path: Path) -> str:
    with closing(sqlite3.connect(path)) as database:
        (text,) = database.execute("SELECT value FROM meta WHERE key = 'cursor'").fetchone()
    return str(text)


def write(path: Path, *batches: list[Record]) -> None:
    with closing(Store(path)) as store:
        for batch in batches:
            store.write(batch)


def crash(path: Path, *batches: list[Record]) -> None:
    """Write the batches in a process that is then killed."""
    if (pid := os.fork()) == 0:
        try:
            store = Store(path)
            for batch in batches:
                store.write(batch)
            os.kill(os.getpid(), signal.SIGKILL)
        finally:
            os._exit(1)
    _, status = os.waitpid(pid, 0)
    assert os.WTERMSIG(status) == signal.SIGKILL


@pytest.mark.parametrize("last_words", [write, crash])
@pytest.mark.parametrize(
    ("batches", "minute"),
    [
        ([[reached(0)]], 0),
        ([[reached(0), OTHER], [reached(1)], [reached(2), reached(3)]], 3),
        ([[reached(0)], [reached(1)], [OTHER, reached(2)]], 2),
        ([[reached(0)], [reached(1)], [OTHER]], 1),
        ([[reached(3)], [reached(4)], [OTHER, reached(2, [240])]], 2),  # the clock was set back
        ([[reached(3)], [reached(4)], [reached(2, [240])]], 2),
    ],
)
def test_the_last_cursor_is_known(
    tmp_path: Path, last_words: Callable[..., None], batches: list[list[Record]], minute: int
) -> None:
    path = tmp_path / "db"
    last_words(path, *batches)
    assert known(path) == minute
    write(path, [reached(9)])
    assert known(path) == 9


def test_other_records_do_not_change_the_cursor(tmp_path: Path) -> None:
    with closing(Store(tmp_path / "db")) as store:
        for records in ([reached(0)], [reached(1)], [OTHER]):
            store.write(records)
        assert store.cursor() == Cursor(60, 60)


def test_a_cursor_file_of_another_database_is_ignored(tmp_path: Path) -> None:
    """The database was restored from a copy, or is a new one."""
    path = tmp_path / "db"
    write(path, [reached(0)])
    copy = path.read_bytes()
    write(path, [OTHER, reached(1)], [reached(2)])
    path.write_bytes(copy)
    assert known(path) == 0
    path.unlink()
    assert known(path) is None


@pytest.mark.parametrize(
    "damage", [b"", b"\n", b"\0" * 100, b"\xff\n\n", b"[60, 60, []]\n[120, 120, []]"]
)
def test_a_damaged_cursor_file_is_ignored(tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / "db"
    write(path, [reached(1)], [reached(2)])
    (tmp_path / "db-cursor").write_bytes(damage)
    assert known(path) == 1
    write(path, [reached(3)])
    assert known(path) == 3


def test_a_shorter_line_over_a_longer_one(tmp_path: Path) -> None:
    path = tmp_path / "db"
    write(path, [reached(1)], [reached(1000, range(20))], [reached(2)])
    assert known(path) == 2


@pytest.mark.parametrize("taken_by", ["directory", "symlink"])
def test_if_the_file_cannot_be_written_the_database_is(tmp_path: Path, taken_by: str) -> None:
    path, other = tmp_path / "db", tmp_path / "other"
    other.write_text("somebody's")
    if taken_by == "directory":
        (tmp_path / "db-cursor").mkdir()
    else:
        (tmp_path / "db-cursor").symlink_to(other)
    write(path, [reached(1)], [reached(2)])
    assert in_database(path) == "[120, 120, []]"
    assert other.read_text() == "somebody's"


def test_more_than_a_sector_goes_into_the_database(tmp_path: Path) -> None:
    path = tmp_path / "db"
    write(path, [reached(1)], [reached(2, range(1000, 1100))])
    assert in_database(path).startswith("[120, 120, [1000, ")


@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")
def test_a_minute_in_which_nothing_is_due_costs_four_calls(tmp_path: Path) -> None:
    """None of them waits for the disk. Records of what is due are synced before anything starts."""
    program = (
        "from tests.unit.test_cursor_file import *\n"
        "store = Store(Path(sys.argv[1]))\n"
        "store.write([OTHER, reached(1)])\n"
        "for minute in (2, 3):\n"
        "    os.write(2, b'idle')\n"
        "    store.write([reached(minute)])\n"
        "os.write(2, b'due')\n"
        "store.write([OTHER, reached(4)])\n"
        "os.write(2, b'over')\n"
    )
    trace, root = tmp_path / "trace", Path(__file__).parents[2]
    subprocess.run(
        ["strace", f"-o{trace}", "-e", "trace=file,desc,fsync,fdatasync", sys.executable, "-c",
         program, tmp_path / "db"],
        check=True, stderr=subprocess.DEVNULL, env=os.environ | {"PYTHONPATH": str(root)},
    )  # fmt: skip
    idle, due = trace.read_text().split('"idle')[-1].split('"over')[0].split('"due')
    calls = [line.split("(")[0] for line in idle.splitlines()[1:-1]]
    assert calls[1:] == ["openat", "write", "close"]  # and the first one is a stat
    assert "sync(" in due
