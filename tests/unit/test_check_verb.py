"""`pycron check`: which tables it reads, how it prints what is wrong, and how it ends."""

import io
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pycron.cli import pycron as program

Check = Callable[..., tuple[int, str]]

GOOD = "0 5 * * * /usr/bin/true\n"
WARNED = "* 4 * * * /usr/bin/true\n"
NOTED = "*/7 * * * * /usr/bin/true\n"
BAD = "61 4 * * * /usr/bin/true\n"
OF_ROOT = "0 5 * * * root /usr/bin/true\n"


@pytest.fixture
def check(capsys: pytest.CaptureFixture[str]) -> Check:
    def run(*words: object) -> tuple[int, str]:
        status = program.main(["check", *map(str, words)])
        return status, capsys.readouterr().out

    return run


def put(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("text", "plain", "strict"), [(GOOD, 0, 0), (NOTED, 0, 0), (WARNED, 0, 1), (BAD, 1, 1)]
)
def test_the_exit_status(check: Check, tmp_path: Path, text: str, plain: int, strict: int) -> None:
    table = put(tmp_path / "table", text)
    assert check(table)[0] == plain
    assert check(table, "--strict")[0] == strict


def test_a_line_for_people(check: Check, tmp_path: Path) -> None:
    table = put(tmp_path / "table", GOOD + WARNED)
    assert check(table) == (
        0,
        f'{table}:2: warning: runs every minute, sixty times in each hour of "4" '
        "(write 0 for the full hour) [minute-star]\n",
    )


@pytest.mark.parametrize("place", ["cron.d/backup", "pycron.d/backup", "etc/crontab"])
def test_a_place_of_system_tables(check: Check, tmp_path: Path, place: str) -> None:
    assert check(put(tmp_path / place, OF_ROOT)) == (0, "")


def test_any_other_place_is_one_of_tables_without_a_user(check: Check, tmp_path: Path) -> None:
    table = put(tmp_path / "backup.cron", OF_ROOT)
    assert "[user-column]" in check(table)[1]
    assert check("--system-table", table) == (0, "")


def test_a_directory_and_the_files_that_are_ignored(check: Check, tmp_path: Path) -> None:
    directory = tmp_path / "cron.d"
    for name in ("good", "php8.2", "back.up", "table~", ".placeholder"):
        put(directory / name, OF_ROOT)
    put(directory / "bad", BAD)
    (directory / "folder").mkdir()
    status, out = check(directory)
    assert status == 1
    assert [re.sub(r".*/(.*?):.*\[(.*)]", r"\1 \2", line) for line in out.splitlines()] == [
        "back.up ignored-file", "bad bad-minute", "php8.2 ignored-file", "table~ ignored-file",
    ]  # fmt: skip


def test_the_standard_input(check: Check, monkeypatch: pytest.MonkeyPatch) -> None:
    stdin = io.TextIOWrapper(io.BytesIO(WARNED.encode()))
    monkeypatch.setattr(sys, "stdin", stdin)
    assert check("-")[1].startswith("-:1: warning: ")


def test_a_configuration_file(check: Check, tmp_path: Path) -> None:
    assert check(put(tmp_path / "pycron.toml", "[limits]\nrunning = 9\n")) == (0, "")
    status, out = check(put(tmp_path / "bad.toml", "[limits]\nrunnin = 9\n"))
    assert status == 1
    assert "[bad-configuration]" in out


def test_a_file_that_does_not_exist(check: Check, tmp_path: Path) -> None:
    assert check(tmp_path / "no-such-file")[0] == 1


def rows(check: Check, table: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in check(table, "--json")[1].splitlines()]


def test_json_has_the_place_the_remedy_and_the_fix(check: Check, tmp_path: Path) -> None:
    table = put(tmp_path / "table", "0 5 * * * x 2>&1 >f\n")
    [row] = rows(check, table)
    assert row == {
        "file": str(table), "line": 1, "column": 13, "end_column": 20, "severity": "warning",
        "code": "redirect-order", "message": "errors do not go to the file: 2>&1 comes before it",
        "remedy": "write >f 2>&1", "fix": "0 5 * * * x >f 2>&1",
    }  # fmt: skip
    assert check(table, "--format", "json")[1] == check(table, "--json")[1]


def test_github_gets_a_command_in_which_nothing_breaks_out(check: Check, tmp_path: Path) -> None:
    table = put(tmp_path / "a,b:c", "0 5 * * * x $(date +%F)::warning\n")
    name = str(table).replace(",", "%2C").replace(":", "%3A")
    [line] = check(table, "--format", "github")[1].splitlines()
    assert line.startswith(
        f"::warning file={name},title=percent,line=1,col=21,endColumn=22::"
        'the command ends before this "%25": its input is "F)::warning"'
    )


def test_sarif_has_rules_places_and_fixes(check: Check, tmp_path: Path) -> None:
    table = put(tmp_path / "my table", "61 4 * * * x\n0 5 * * * x 2>&1 >f\n*/7 * * * * y\n")
    status, out = check(table, "--format", "sarif")
    [run] = json.loads(out)["runs"]
    assert status == 1
    assert json.loads(out)["version"] == "2.1.0"
    results = [(each["ruleId"], each["level"]) for each in run["results"]]
    assert results == [
        ("bad-minute", "error"), ("redirect-order", "warning"), ("uneven-step", "note"),
    ]  # fmt: skip
    rules = {rule["id"]: rule["fullDescription"]["text"] for rule in run["tool"]["driver"]["rules"]}
    assert set(rules) == {code for code, _ in results}
    place = run["results"][1]["locations"][0]["physicalLocation"]
    assert place["artifactLocation"]["uri"].endswith("/my%20table")
    assert place["region"] == {"startLine": 2, "startColumn": 13, "endColumn": 20}
    [change] = run["results"][1]["fixes"][0]["artifactChanges"]
    assert change["replacements"][0]["insertedContent"]["text"] == "0 5 * * * x >f 2>&1"


def test_explain(check: Check, capsys: pytest.CaptureFixture[str]) -> None:
    status, out = check("--explain", "percent")
    assert status == 0
    assert out.startswith("percent (warning)\n")
    assert "\\%F" in out
    listed = check("--explain")[1].splitlines()
    assert ["day-or", "warning"] in [line.split() for line in listed]
    assert program.main(["check", "--explain", "percnt"]) == 2
    assert "did you mean percent?" in capsys.readouterr().err


HOOKS = (Path(__file__).parents[2] / ".pre-commit-hooks.yaml").read_text()


@pytest.mark.parametrize(
    ("hook", "taken", "left"),
    [
        ("pycron-check", ["crontab", "ops/crontab", "web.crontab", "crontab.txt", "x/daily.cron"],
         ["crontab.py", "cron.d/backup", "mycrontabs"]),
        ("pycron-check-system", ["cron.d/backup", "etc/pycron.d/x"], ["crontab", "acron.d/x"]),
    ],
)  # fmt: skip
def test_the_hooks_for_pre_commit(hook: str, taken: list[str], left: list[str]) -> None:
    """An `entry` that the program takes, and a `files` that chooses the tables."""
    [text] = re.findall(rf"- id: {hook}\n((?:  .*\n)+)", HOOKS)
    keys = dict(line.strip().split(": ", 1) for line in text.splitlines())
    assert [name for name in taken + left if re.search(keys["files"], name)] == taken
    name, *words = keys["entry"].split()
    assert name == "pycron"
    program.parser().parse_args([*words, *taken])
