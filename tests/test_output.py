"""Following a file that grows."""

import os
from pathlib import Path

import pytest

from pycron.model import AttemptKey, RunKey
from pycron.output import OutputFollower, Strays, remove_outputs


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "output.log"


def append(path: Path, data: bytes) -> None:
    with path.open("ab") as file:
        file.write(data)


def test_there_is_no_file_yet(path: Path) -> None:
    follower = OutputFollower(path)
    assert follower.lines(ended=False) == []
    append(path, b"first\n")
    assert follower.lines(ended=False) == ["first"]


def test_a_line_is_shown_when_it_is_complete(path: Path) -> None:
    follower = OutputFollower(path)
    append(path, b"one\ntw")
    assert follower.lines(ended=False) == ["one"]
    assert follower.lines(ended=False) == []
    append(path, b"o\n\nthree")
    assert follower.lines(ended=False) == ["two", ""]
    assert follower.lines(ended=True) == ["three"]
    assert follower.lines(ended=True) == []


def test_no_output_at_all(path: Path) -> None:
    assert OutputFollower(path).lines(ended=True) == []


def test_what_is_no_utf8(path: Path) -> None:
    append(path, "ä".encode() + b"\xff\n")
    assert OutputFollower(path).lines(ended=True) == ["ä\\xff"]


def test_a_character_that_comes_in_two_parts(path: Path) -> None:
    follower = OutputFollower(path)
    append(path, b"\xc3")
    assert follower.lines(ended=False) == []
    append(path, b"\xa4\n")
    assert follower.lines(ended=False) == ["ä"]


def test_a_line_without_end_is_shown_in_pieces(path: Path) -> None:
    follower = OutputFollower(path)
    shown: list[str] = []
    for _ in range(20):
        append(path, b"x" * 10_000)
        shown += follower.lines(ended=False)
    assert shown
    shown += follower.lines(ended=True)
    assert "".join(shown) == "x" * 200_000
    assert all(len(piece) <= 80_000 for piece in shown)


def test_a_long_line_in_pieces_keeps_its_characters_whole(path: Path) -> None:
    follower = OutputFollower(path)
    append(path, b"x" * 70_000 + b"\xc3")
    shown = follower.lines(ended=False)
    append(path, b"\xa4\n")
    shown += follower.lines(ended=True)
    assert "".join(shown) == "x" * 70_000 + "ä"


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
    monkeypatch.setattr("pycron.output._FILES_A_LOOK", 2)
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
