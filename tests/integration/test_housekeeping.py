"""Output files that go: with their Runs, or because no record leads to them."""

import os
from pathlib import Path

import pytest

from pycron.model.run import AttemptKey, RunKey
from pycron.storage.housekeeping import Strays, remove_outputs


def test_outputs_go_with_their_runs(tmp_path: Path) -> None:
    """And so does the directory of a day of which nothing is left."""
    old, new = tmp_path / "2026-03-08", tmp_path / "2026-03-09"
    for day in (old, new):
        day.mkdir()
        (day / "a.1.log").touch()
    (old / "a.1.log.tail").touch()  # of a command that ran when its runner died
    (new / "b.1.log").touch()
    remove_outputs([old / "a.1.log", new / "a.1.log", tmp_path / "never" / "c.1.log"])
    assert not old.exists()
    assert [path.name for path in new.iterdir()] == ["b.1.log"]


# ---- files that no record leads to

NOON = 1_772_971_200


def an_output(directory: Path, number: int, written: float, suffix: str = ".log") -> Path:
    attempt = AttemptKey(RunKey(f"{number:016x}", NOON), 1)
    path = directory / "2026-03-08" / f"{attempt}{suffix}"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"x")
    os.utime(path, (written, written))
    return path


def test_strays_go_when_they_are_old(tmp_path: Path) -> None:
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
    for _ in range(2):  # the first look begins the round
        strays.remove(NOON + 50, lambda attempt: attempt.run.job_id == f"{1:016x}")
    assert not stray.exists()
    assert not tail.exists()
    assert all(path.exists() for path in (known, known_tail, young, *others))


def test_strays_are_looked_for_a_few_at_a_time_and_again_and_again(
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
    assert list((tmp_path / "output").iterdir()) == []  # nor the day
    an_output(tmp_path / "output", 9, NOON)
    strays.remove(NOON + 50, lambda _: False)
    assert list((tmp_path / "output").iterdir()) == []
