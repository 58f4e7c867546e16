"""Output files are deleted with their Runs, or because they have no record."""

import os
from pathlib import Path

import pytest

from pycron.model.run import AttemptKey, RunKey
from pycron.storage.housekeeping import Strays, remove_outputs


def test_outputs_are_deleted_with_their_runs(tmp_path: Path) -> None:
    """An empty directory of a day is deleted, too."""
    old, new = tmp_path / "2026-03-08", tmp_path / "2026-03-09"
    for day in (old, new):
        day.mkdir()
        (day / "a.1.log").touch()
    (old / "a.1.log.tail").touch()  # the runner died while the command ran
    (new / "b.1.log").touch()
    remove_outputs([old / "a.1.log", new / "a.1.log", tmp_path / "never" / "c.1.log"])
    assert not old.exists()
    assert [path.name for path in new.iterdir()] == ["b.1.log"]


# ---- files without a record

NOON = 1_772_971_200


def an_output(directory: Path, number: int, written: float, suffix: str = ".log") -> Path:
    attempt = AttemptKey(RunKey(f"{number:016x}", NOON), 1)
    path = directory / "2026-03-08" / f"{attempt}{suffix}"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"x")
    os.utime(path, (written, written))
    return path


def test_old_strays_are_deleted(tmp_path: Path) -> None:
    known = an_output(tmp_path, 1, NOON)
    known_tail = an_output(tmp_path, 1, NOON, ".log.tail")
    young = an_output(tmp_path, 2, NOON + 100)
    stray = an_output(tmp_path, 3, NOON)
    tail = an_output(tmp_path, 4, NOON, ".log.tail")
    others = [an_output(tmp_path, 5, NOON, ".txt"), tmp_path / "2026-03-08" / "notes.log"]
    others[1].write_text("somebody's")
    os.utime(others[1], (NOON, NOON))
    (tmp_path / "file").write_text("no day")
    strays = Strays(tmp_path)
    for _ in range(2):  # the first step begins a round
        strays.remove(NOON + 50, lambda attempt: attempt.run.job_id == f"{1:016x}")
    assert not stray.exists()
    assert not tail.exists()
    assert all(path.exists() for path in (known, known_tail, young, *others))


def test_each_step_looks_at_a_few_files_and_the_rounds_repeat(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pycron.storage.housekeeping._FILES_PER_STEP", 2)
    strays = Strays(tmp_path / "output")
    strays.remove(NOON + 50, lambda _: False)  # there is no directory yet
    (tmp_path / "output").mkdir()
    for number in range(5):
        an_output(tmp_path / "output", number, NOON)
    counts = []
    for _ in range(4):
        strays.remove(NOON + 50, lambda _: False)
        counts.append(len(list((tmp_path / "output").rglob("*.log"))))
    assert counts == [3, 1, 0, 0]
    assert list((tmp_path / "output").iterdir()) == []  # the directory of the day is deleted, too
    an_output(tmp_path / "output", 9, NOON)
    strays.remove(NOON + 50, lambda _: False)
    assert list((tmp_path / "output").iterdir()) == []
