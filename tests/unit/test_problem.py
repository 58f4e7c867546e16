"""A problem is one line for people and one row for programs."""

import json

import pytest

from pycron.model.problem import Problem, Severity, problem_from_row, problem_row

ERROR = Problem("/etc/pycron.d/x", 3, 5, Severity.ERROR, "bad-hour", 'bad hour: "24" (0-23)')
WARNING = Problem("alice", 1, 1, Severity.WARNING, "no-effect", "-n has no effect")
WHOLE_FILE = Problem("alice", 0, 1, Severity.ERROR, "symlink", "a symbolic link")


def test_the_line_for_people() -> None:
    assert str(ERROR) == '/etc/pycron.d/x:3: bad hour: "24" (0-23)'
    assert str(WARNING) == "alice:1: warning: -n has no effect"
    assert str(WHOLE_FILE) == "alice: a symbolic link"


def test_another_file_name() -> None:
    assert str(ERROR.renamed("-")) == '-:3: bad hour: "24" (0-23)'


def test_the_row_for_programs() -> None:
    assert json.dumps(problem_row(WARNING)) == (
        '{"file": "alice", "line": 1, "column": 1, "severity": "warning", '
        '"code": "no-effect", "message": "-n has no effect"}'
    )


@pytest.mark.parametrize("problem", [ERROR, WARNING, WHOLE_FILE])
def test_a_row_gives_its_problem_back(problem: Problem) -> None:
    assert problem_from_row(json.loads(json.dumps(problem_row(problem)))) == problem


@pytest.mark.parametrize(
    "change",
    [
        {"file": None}, {"line": "3"}, {"line": -1}, {"line": True}, {"column": 1.0},
        {"severity": "fatal"}, {"severity": []}, {"code": 1}, {"message": None},
    ],
)  # fmt: skip
def test_a_row_is_checked(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"not a|fatal"):
        problem_from_row({**problem_row(ERROR), **change})


@pytest.mark.parametrize("row", [None, [], "text", {}])
def test_what_is_no_row_is_refused(row: object) -> None:
    with pytest.raises(ValueError, match="not a problem"):
        problem_from_row(row)
