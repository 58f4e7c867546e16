"""The checker finds each kind of broken history."""

import pytest

from tests.cluster.checker import Line, Row, Verdict, check, parse_witness

RUN, OTHER = "0123456789abcdef-20261129T155200Z", "0123456789abcdef-20261129T155300Z"


def lines(*texts: str) -> list[Line]:
    return parse_witness("\n".join(texts))


def line(what: str, attempt: int, at: float, host: str = "web1", run: str = RUN) -> str:
    return f"{what} {run} {attempt} {host} {at}"


GOOD = [line("B", 1, 1.0), line("W", 1, 2.0), line("B", 2, 9.0, "web2"), line("E", 2, 9.5, "web2")]
ROW = Row(RUN, "ended", 2, "succeeded", {1: "lost", 2: "succeeded"})
SKIPPED = Row(OTHER, "ended", 0, "skipped", {})


def test_a_good_history() -> None:
    verdict = check(lines(*GOOD), [ROW, SKIPPED], [RUN, OTHER])
    assert verdict.is_good
    assert verdict == Verdict()


@pytest.mark.parametrize(
    ("kind", "more"),
    [
        ("doubled", line("B", 2, 9.2, "web3")),
        ("doubled", line("B", 1, 1.0)),
        ("stale", line("W", 1, 9.1)),
        ("overlapping", line("E", 1, 9.1)),
        ("unexplained", line("B", 3, 20.0)),
        ("unexplained", line("B", 1, 1.0, run="f" * 16 + "-20261129T155300Z")),
    ],
)
def test_a_line_that_must_not_be_there(kind: str, more: str) -> None:
    verdict = check(lines(*GOOD, more), [ROW, SKIPPED], [RUN, OTHER])
    assert getattr(verdict, kind)


def test_a_fire_time_without_a_row() -> None:
    assert check(lines(*GOOD), [ROW], [RUN, OTHER]).lost == [OTHER]


@pytest.mark.parametrize(
    "row",
    [
        Row(RUN, "held", 2, None, {1: "lost"}),
        Row(RUN, "ended", 2, "succeeded", {1: "succeeded", 2: "succeeded"}),
        Row(RUN, "ended", 3, "failed", {3: "failed"}),
    ],
)
def test_a_row_that_no_command_explains(row: Row) -> None:
    assert check(lines(*GOOD), [row], [RUN]).unexplained


def test_lines_that_a_full_disk_has_cut() -> None:
    assert parse_witness("B x 1 web1 1.0\nB x 1 we") == [Line("B", "x", 1, "web1", 1.0)]
    row = Row(RUN, "ended", 1, "succeeded", {1: "succeeded"})
    assert check([], [row], [RUN]).unexplained
    assert check([], [row], [RUN], unheard=[(RUN, 1)]).is_good
