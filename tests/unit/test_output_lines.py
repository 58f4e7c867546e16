"""OutputFollower: the lines of an output file, while a command still writes to it."""

from pathlib import Path

import pytest

from pycron.executor.output_lines import OutputFollower


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "output.log"


def append(path: Path, data: bytes) -> None:
    with path.open("ab") as file:
        file.write(data)


def test_a_file_that_does_not_exist_yet_has_no_lines(path: Path) -> None:
    follower = OutputFollower(path)
    assert follower.lines(ended=False) == []
    append(path, b"first\n")
    assert follower.lines(ended=False) == ["first"]


def test_a_line_is_returned_when_it_is_complete_or_the_output_has_ended(path: Path) -> None:
    follower = OutputFollower(path)
    append(path, b"one\ntw")
    assert follower.lines(ended=False) == ["one"]
    assert follower.lines(ended=False) == []
    append(path, b"o\n\nthree")
    assert follower.lines(ended=False) == ["two", ""]
    assert follower.lines(ended=True) == ["three"]
    assert follower.lines(ended=True) == []


def test_a_command_without_output_has_no_lines(path: Path) -> None:
    assert OutputFollower(path).lines(ended=True) == []


def test_bytes_that_are_not_utf8_are_escaped(path: Path) -> None:
    append(path, "ä".encode() + b"\xff\n")
    assert OutputFollower(path).lines(ended=True) == ["ä\\xff"]


def test_a_character_written_in_two_parts_is_kept_whole(path: Path) -> None:
    follower = OutputFollower(path)
    append(path, b"\xc3")
    assert follower.lines(ended=False) == []
    append(path, b"\xa4\n")
    assert follower.lines(ended=False) == ["ä"]


def test_a_very_long_line_is_returned_in_pieces(path: Path) -> None:
    follower = OutputFollower(path)
    shown: list[str] = []
    for _ in range(20):
        append(path, b"x" * 10_000)
        shown += follower.lines(ended=False)
    assert shown
    shown += follower.lines(ended=True)
    assert "".join(shown) == "x" * 200_000
    assert all(len(piece) <= 80_000 for piece in shown)


def test_a_long_line_is_not_divided_within_a_character(path: Path) -> None:
    follower = OutputFollower(path)
    append(path, b"x" * 70_000 + b"\xc3")
    shown = follower.lines(ended=False)
    append(path, b"\xa4\n")
    shown += follower.lines(ended=True)
    assert "".join(shown) == "x" * 70_000 + "ä"
