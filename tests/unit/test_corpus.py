"""Real crontabs compared with the verdicts of Debian's cron, and our own tables like them.

The corpus is outside of the project; PYCRON_CORPUS names its folder. The intended differences are
in corpus_differences.toml, each with its reason.
"""

import json
import os
import tomllib
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from pycron.crontab.reader import ReaderContext, parse
from pycron.crontab.table import Table
from pycron.model.job import Job, Source
from pycron.model.problem import Severity
from pycron.schedule.expressions import CronSchedule, Reboot
from pycron.system.zone_data import ZoneData

HERE = Path(__file__).parent
CORPUS = Path(os.environ.get("PYCRON_CORPUS", "/nowhere"))
DIFFERENCES = {
    file
    for row in tomllib.loads((HERE / "corpus_differences.toml").read_text())["difference"]
    for file in row["files"]
}

needs_corpus = pytest.mark.skipif(
    not CORPUS.is_dir(), reason="PYCRON_CORPUS does not name the folder of real crontabs"
)


@cache
def context() -> ReaderContext:
    lines = (CORPUS / "users.txt").read_text().splitlines()
    users = {line for line in lines if line and not line.startswith("#")}
    return ReaderContext(zone_exists=ZoneData().exists, user_exists=users.__contains__)


@cache
def rows(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (CORPUS / name).read_text().splitlines()]


def read(row: dict[str, Any], encoding: str = "utf-8") -> Table:
    text = (CORPUS / row["file"]).read_bytes().decode(encoding, "surrogateescape")
    owner = "bench" if row["format"] == "user" else None
    return parse(text, Source(row["file"], owner), context())


# ---- the corpus


@needs_corpus
def test_debian_and_pycron_accept_the_same_tables() -> None:
    """In both directions: each listed difference must be one."""
    differing = {
        row["file"] for row in rows("expected.jsonl") if row["accepted"] == bool(read(row).errors)
    }
    assert differing == DIFFERENCES


@needs_corpus
def test_the_first_error_is_on_the_line_that_debian_names() -> None:
    for row in rows("expected.jsonl"):
        table = read(row)
        if row["error_line"] is not None and row["file"] not in DIFFERENCES:
            first = next(error for error in table.errors if error.line)
            assert first.line == row["error_line"], row["file"]


@needs_corpus
def test_the_entries_of_a_good_table_are_all_there() -> None:
    for row in rows("expected.jsonl"):
        if row["accepted"]:
            assert [job.line for job in read(row).jobs] == row["lines"], row["file"]


@needs_corpus
def test_debian_cronie_and_pycron_read_the_same_entries() -> None:
    """Lines, users, commands, the values of all fields and which are star fields."""
    for row in rows("parsed.jsonl"):
        jobs = read(row, "latin-1").jobs  # the encoding of the rows
        assert [described(job) for job in jobs] == [expected(entry) for entry in row["entries"]], (
            row["file"]
        )


@needs_corpus
def test_the_variables_are_those_that_debian_and_cronie_read() -> None:
    for row in rows("parsed.jsonl"):
        for job in read(row, "latin-1").jobs:
            above = [text for line, text in row["env"] if line < job.line]
            assert dict(job.environment) == dict(text.split("=", 1) for text in above), row["file"]


def described(job: Job) -> dict[str, object]:
    found: dict[str, object] = {"line": job.line, "user": job.user, "command": raw_command(job)}
    if isinstance(job.schedule, Reboot):
        return found
    schedule = job.schedule
    assert isinstance(schedule, CronSchedule)
    return found | {
        "minute": values(schedule.minutes),
        "hour": values(schedule.hours),
        "dom": values(schedule.days.of_month),
        "month": values(schedule.months),
        "dow": values(schedule.days.of_week),
        "wildcard": schedule.wildcard,
        "both": schedule.days.both,
    }


def expected(entry: dict[str, Any]) -> dict[str, object]:
    user = entry.get("user", "bench")
    found: dict[str, object] = {
        "line": entry["line"],
        "user": user,
        "command": entry["cmd"].removesuffix("%"),
    }
    if entry["reboot"]:
        return found
    star = set(entry["star"])
    return found | {
        **{name: entry[name] for name in ("minute", "hour", "dom", "month", "dow")},
        "wildcard": bool(star & {"minute", "hour"}),
        # In cron @daily has no star flags; it chooses every day, so they make no difference
        "both": bool(star & {"dom", "dow"}) or len(entry["dom"] + entry["dow"]) == 31 + 7,
    }


def raw_command(job: Job) -> str:
    """The command with its input as in the table, without differences that have no effect."""
    command = job.command.replace("%", "\\%")
    if job.stdin is not None:
        command += "%" + job.stdin.removesuffix("\n").replace("%", "\\%").replace("\n", "%")
    return command.removesuffix("%")  # an empty input is none


def values(mask: int) -> list[int]:
    return [value for value in range(mask.bit_length()) if mask >> value & 1]


# ---- tables of our own

USER, SYSTEM = "alice", None
WARNING, ERROR = Severity.WARNING, Severity.ERROR


def read_fixture(name: str, owner: str | None) -> Table:
    text = (HERE.parent / "fixtures" / f"{name}.crontab").read_bytes().decode()
    users = {"root", "www-data", "list"}
    return parse(text, Source(name, owner), ReaderContext(user_exists=users.__contains__))


@pytest.mark.parametrize(
    ("name", "owner", "problems"),
    [
        ("habits", USER, []),
        ("system_habits", SYSTEM, []),
        ("no_newline", USER, [(3, WARNING, "unterminated")]),
        ("crlf", USER, [(line, WARNING, "carriage-return") for line in (2, 3)]),
        ("user_column", USER, []),  # root may be a command
        ("user_column", SYSTEM, []),
        ("no_user_column", USER, []),
        ("no_user_column", SYSTEM, [(2, ERROR, "bad-username")]),
        ("seconds", USER, [(2, ERROR, "seconds-field")]),
        ("seconds", SYSTEM, [(2, ERROR, "seconds-field")]),
        (
            "pasted",
            USER,
            [(0, ERROR, "not-a-table"), (2, ERROR, "prose"), (4, ERROR, "placeholder")],
        ),
        ("templated", USER, [(2, ERROR, "placeholder"), (3, ERROR, "bad-time-specifier")]),
    ],
)
def test_a_fixture(name: str, owner: str | None, problems: list[tuple[int, Severity, str]]) -> None:
    found = read_fixture(name, owner).problems
    assert [(problem.line, problem.severity, problem.code) for problem in found] == problems


def test_the_habits_of_people() -> None:
    jobs = read_fixture("habits", USER).jobs
    assert [(job.line, job.schedule.text) for job in jobs] == [
        (8, "*/15 * * * *"),
        (9, "00 05 * * 0"),
        (10, "0 4 1-7 * *"),
        (11, "0,30 8-18 * * Mon-Fri"),
        (12, "@reboot"),
        (13, "59 23 28-31 * *"),
        (14, "30 6 * * 1-5,sun"),
    ]
    assert dict(jobs[0].environment) == {
        "SHELL": "/bin/bash",
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "MAILTO": "",
        "HOME": "/srv/my data",
    }
    assert jobs[2].command == '[ "$(date +%u)" = 7 ] && first-sunday'
    assert jobs[5].command.endswith("month-end\t# not a comment")
    assert jobs[6].command == "mail -s report ops@example.org"
    assert jobs[6].stdin == "Good morning,\n\nthe report is ready.\n"


def test_the_habits_of_packages() -> None:
    jobs = read_fixture("system_habits", SYSTEM).jobs
    assert [job.user for job in jobs] == ["root", "root", "www-data", "list", "root"]
    assert [job.flags for job in jobs] == ["", "", "", "", "q"]
    assert jobs[0].command == "cd / && run-parts --report /etc/cron.hourly"
