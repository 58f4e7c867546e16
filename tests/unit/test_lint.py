"""The linter: each code with its own example, and what it must not say."""

import datetime

import pytest

from pycron.crontab.reader import ReaderContext
from pycron.lint.check import check
from pycron.lint.code import Code
from pycron.lint.codes import CODES
from pycron.lint.found import CheckContext
from pycron.model.job import Source
from pycron.model.problem import Problem
from pycron.system.zone_data import ZoneData

ZONES = ZoneData("Europe/Berlin")
NOW = int(datetime.datetime(2026, 11, 29, 12, tzinfo=datetime.UTC).timestamp())
USERS = {"root", "www-data", "alice"}
CONTEXT = ReaderContext(zone_exists=ZONES.exists, user_exists=USERS.__contains__)
PROGRAMS = {"/bin/sh", "/bin/bash", "/usr/bin/tar", "/opt/bin/pull"}
ELSEWHERE = CheckContext(ZONES.zone, NOW)
HERE = CheckContext(ZONES.zone, NOW, PROGRAMS.__contains__)


def problems(
    text: str, owner: str | None = "alice", facts: CheckContext = ELSEWHERE
) -> list[Problem]:
    return check(text if text.endswith("\n") else f"{text}\n", Source("t", owner), CONTEXT, facts)


def codes(text: str, owner: str | None = "alice", facts: CheckContext = ELSEWHERE) -> list[str]:
    return [problem.code for problem in problems(text, owner, facts)]


# ---- each code has an example, which --explain and docs/check.md show

WITH_EXAMPLE = [code for code in CODES.values() if code.bad]


@pytest.mark.parametrize("code", WITH_EXAMPLE, ids=lambda code: code.name)
def test_the_bad_example_has_the_problem_and_the_good_one_none(code: Code) -> None:
    owner = None if code.system else "alice"
    found = {problem.code: problem.severity for problem in problems(code.bad, owner)}
    assert found[code.name] is code.severity
    assert codes(code.good, owner) == []


@pytest.mark.parametrize("code", WITH_EXAMPLE, ids=lambda code: code.name)
def test_a_fix_solves_the_problem(code: Code) -> None:
    owner = None if code.system else "alice"
    for problem in problems(code.bad, owner):
        if problem.fix is not None:
            lines = code.bad.split("\n")
            lines[problem.line - 1] = problem.fix
            assert problem.code not in codes("\n".join(lines), owner)
