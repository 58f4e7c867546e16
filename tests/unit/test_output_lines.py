"""OutputLines: what commands print becomes lines, however it comes in parts."""

import time

from hypothesis import given
from hypothesis import strategies as st

from pycron.engine.actions import Printed
from pycron.executor.output_lines import OutputLines
from pycron.model.run import AttemptKey, RunKey

LONGEST = 20
ATTEMPT = AttemptKey(RunKey("00000000000000aa", 1_772_928_000), 1)


def followed() -> OutputLines:
    output = OutputLines(LONGEST)
    output.follow(ATTEMPT, "job")
    return output


def text(entries: list[Printed]) -> bytes:
    """What the entries show: a piece of a line is continued by the next entry of the stream."""
    return b"".join(each.lines + (b"" if each.partial else b"\n") for each in entries)


def test_a_line_is_shown_when_it_is_complete_or_its_stream_has_ended() -> None:
    output = followed()
    shown = [
        [(each.stream, each.lines) for each in output.printed(ATTEMPT, stream, data)]
        for stream, data in [
            ("stdout", b"one\ntw"), ("stderr", b"un"), ("stdout", b"o\n\nthree"), ("stdout", b""),
            ("stderr", b""),
        ]
    ]  # fmt: skip
    assert shown == [
        [("stdout", b"one")], [], [("stdout", b"two\n")], [("stdout", b"three")],
        [("stderr", b"un")],
    ]  # fmt: skip
    assert list(output.ended(ATTEMPT)) == []


def test_the_end_of_a_command_shows_what_has_no_newline() -> None:
    output = followed()
    assert list(output.printed(ATTEMPT, "stderr", b"bye")) == []
    (last,) = output.ended(ATTEMPT)
    assert last == Printed("job", str(ATTEMPT.run), "stderr", b"bye")


def test_background_processes_may_print_after_the_end_of_their_command() -> None:
    output = followed()
    assert list(output.ended(ATTEMPT)) == []
    (late,) = output.printed(ATTEMPT, "stdout", b"late\n")
    assert late.lines == b"late"
    for stream in ("stdout", "stderr"):
        assert list(output.printed(ATTEMPT, stream, b"")) == []
    assert list(output.printed(ATTEMPT, "stdout", b"nobody follows it any more\n")) == []


def test_an_attempt_that_nobody_follows_shows_nothing() -> None:
    output = OutputLines(LONGEST)
    assert list(output.printed(ATTEMPT, "stdout", b"x\n")) == list(output.ended(ATTEMPT)) == []
    output.follow(ATTEMPT, "job")
    output.forget(ATTEMPT)
    assert list(output.printed(ATTEMPT, "stdout", b"x\n")) == []


def test_a_long_line_is_shown_in_pieces_that_are_marked() -> None:
    output = followed()
    shown = list(output.printed(ATTEMPT, "stdout", b"x" * 50))
    assert [(len(each.lines), each.partial) for each in shown] == [(20, True), (20, True)]
    shown += output.printed(ATTEMPT, "stdout", b"y\nshort\n")
    assert shown[2:] == [Printed("job", str(ATTEMPT.run), "stdout", b"x" * 10 + b"y\nshort")]


def test_the_last_piece_of_a_line_is_shown_even_if_it_is_empty() -> None:
    """So that a reader who puts pieces together never waits in vain."""
    output = followed()
    (piece,) = output.printed(ATTEMPT, "stdout", b"x" * 21)
    rest = [*output.printed(ATTEMPT, "stdout", b"x" * 19 + b"z")]
    assert (piece.partial, [each.partial for each in rest]) == (True, [True])
    (last,) = output.ended(ATTEMPT)
    assert (last.lines, last.partial) == (b"z", False)


def test_a_long_line_is_not_divided_within_a_character() -> None:
    output = followed()
    shown = list(output.printed(ATTEMPT, "stdout", b"x" * 19 + "ä".encode()))
    assert [each.lines for each in shown] == [b"x" * 19]
    shown += output.ended(ATTEMPT)
    assert text(shown) == b"x" * 19 + "ä\n".encode()


@given(st.lists(st.binary(min_size=1, max_size=60).map(lambda part: part.replace(b"\r", b"\n"))))
def test_no_byte_is_lost_and_none_is_added(parts: list[bytes]) -> None:
    output = followed()
    shown = [each for part in parts for each in output.printed(ATTEMPT, "stdout", part)]
    shown += output.printed(ATTEMPT, "stdout", b"")
    printed = b"".join(parts)
    assert text(shown) == printed + (b"" if printed.endswith(b"\n") or not printed else b"\n")
    assert all(len(each.lines) <= LONGEST for each in shown if each.partial)


def test_a_long_line_that_comes_byte_by_byte_takes_linear_time() -> None:
    def cost(count: int) -> float:
        output = OutputLines(2**20)
        output.follow(ATTEMPT, "job")
        begun = time.thread_time()
        for _ in range(count):
            assert not list(output.printed(ATTEMPT, "stdout", b"x"))
        return time.thread_time() - begun

    assert cost(200_000) < 20 * cost(20_000)  # copying the line each time: more than 50 times
