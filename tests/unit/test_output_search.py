"""Lines that contain a text are found however the output comes in; and which ends are known."""

import time

from hypothesis import given
from hypothesis import strategies as st

from pycron.control.ended_attempts import EndedAttempts
from pycron.control.search import Found
from pycron.engine.actions import RecordEnded
from pycron.model.run import AttemptKey, Outcome, RunKey

LETTERS = st.lists(st.sampled_from([b"a", b"b", b"ab", b"\n", b"\xff", b"aab\n"]), max_size=60)


def found(text: bytes, parts: list[bytes]) -> list[bytes]:
    search = Found(text)
    for part in parts:
        search.add(part)
    search.end()
    return search.lines


@given(LETTERS, st.sampled_from([b"a", b"ab", b"aab", b"\xff"]))
def test_the_lines_are_those_of_the_whole_text(parts: list[bytes], text: bytes) -> None:
    lines = b"".join(parts).split(b"\n")
    assert found(text, parts) == [line for line in lines if text in line]


def test_a_line_without_an_end_takes_linear_time_and_little_memory() -> None:
    def seconds(parts: int) -> float:
        search, part = Found(b"needle"), b"x" * 262_144
        began = time.process_time()
        for _ in range(parts):
            search.add(part)
            assert len(search._rest) < 70_000
        return time.process_time() - began

    seconds(8)
    assert seconds(64) < 16 * max(seconds(16), 0.001)


def test_a_text_across_two_pieces_of_a_long_line_is_found_once() -> None:
    parts = [b"x" * 70_000 + b"nee", b"dle" + b"y" * 10, b"\nneedle\n"]
    assert len(found(b"needle", parts)) == 2


def ended(number: int) -> RecordEnded:
    attempt = AttemptKey(RunKey("0" * 16, number), 1)
    return RecordEnded(attempt, Outcome.SUCCEEDED, None, None, Outcome.SUCCEEDED)


def test_the_ends_after_a_number_are_known() -> None:
    ends = EndedAttempts(10)
    start = ends.last
    assert ends.after(start) == ([], 0)
    ends.note(map(ended, range(3)))
    assert [key.run.fire_time for key in ends.after(start)[0]] == [0, 1, 2]
    assert [key.run.fire_time for key in ends.after(start + 2)[0]] == [2]
    assert ends.after(ends.last) == ([], 0)


def test_a_later_daemon_goes_on_with_larger_numbers() -> None:
    earlier, later = EndedAttempts(10), EndedAttempts(11)
    earlier.note(map(ended, range(5)))
    assert later.last > earlier.last
    later.note([ended(7)])
    assert [key.run.fire_time for key in later.after(earlier.last)[0]] == [7]


def test_who_asks_too_late_is_told_how_many_are_forgotten() -> None:
    ends = EndedAttempts(10)
    start = ends.last
    ends.note(map(ended, range(1500)))
    known, forgotten = ends.after(start)
    assert (len(known), forgotten) == (1000, 500)
    assert known[-1].run.fire_time == 1499
