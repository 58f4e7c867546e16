"""Tables as administrators write them, with what Debian's cron and pycron say of each.

The tables and `expected.toml` are in fixtures/tables. Unlike the corpus of real tables
(test_corpus.py), they are part of the project.
"""

import os
import tomllib
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from pycron.crontab.reader import ReaderContext, parse
from pycron.crontab.table import Table
from pycron.model.job import Source
from pycron.schedule.fire_times import fire_times
from pycron.schedule.zone import END_OF_TIME, Zone
from pycron.system.zone_data import ZoneData

TABLES = Path(__file__).parents[1] / "fixtures" / "tables"
CORPUS = Path(os.environ.get("PYCRON_CORPUS", "/nowhere"))
EXPECTED: dict[str, Any] = tomllib.loads((TABLES / "expected.toml").read_text())
ROWS: list[dict[str, Any]] = EXPECTED["table"]

each_table = pytest.mark.parametrize("row", ROWS, ids=[row["file"] for row in ROWS])


@cache
def context() -> ReaderContext:
    return ReaderContext(zone_exists=ZoneData().exists, user_exists=EXPECTED["users"].__contains__)


def text_of(row: dict[str, Any]) -> str:
    path: Path = TABLES / row["file"]
    return path.read_bytes().decode("utf-8", "surrogateescape")


def read(row: dict[str, Any], text: str | None = None) -> Table:
    owner = row.get("owner", "alice") if row["file"].startswith("user/") else None
    return parse(text or text_of(row), Source(row["file"], owner), context())


def read_mended(row: dict[str, Any]) -> Table:
    """The table without its bad lines, if nothing in it runs because of them."""
    table = read(row)
    if not table.is_junk:
        return table
    lines = text_of(row).split("\n")
    for problem in table.errors:
        if problem.line:
            lines[problem.line - 1] = ""
    return read(row, "\n".join(lines))


def test_every_table_has_a_row_and_every_row_a_table() -> None:
    files = {str(path.relative_to(TABLES)) for path in TABLES.glob("*/*")}
    assert sorted(row["file"] for row in ROWS) == sorted(files)
    assert len(files) >= 40


@each_table
def test_the_jobs(row: dict[str, Any]) -> None:
    assert [job.line for job in read_mended(row).jobs] == row["jobs"]


@each_table
def test_nothing_of_a_table_runs_in_which_more_entries_are_bad_than_good(
    row: dict[str, Any],
) -> None:
    table = read(row)
    assert table.is_junk == row.get("junk", False)
    assert [job.line for job in table.jobs] == ([] if table.is_junk else row["jobs"])


@each_table
def test_the_problems(row: dict[str, Any]) -> None:
    problems = [f"line {p.line}: {p.severity} {p.code}" for p in read(row).problems]
    assert problems == row.get("problems", [])


@each_table
def test_another_verdict_than_debians_has_a_reason(row: dict[str, Any]) -> None:
    """A row has a `why` exactly if one of the two accepts the table and the other refuses it."""
    differs = (row["debian"] == "accepts") == bool(read(row).errors)
    assert differs == ("why" in row)


@each_table
def test_the_input_of_the_commands(row: dict[str, Any]) -> None:
    found = {str(job.line): job.stdin for job in read_mended(row).jobs if job.stdin is not None}
    assert found == row.get("stdin", {})


@pytest.mark.parametrize(
    ("row", "fires"),
    [
        pytest.param(row, fires, id=f"{row['file']}:{fires['line']}-{fires['after']:%F}")
        for row in ROWS
        for fires in row.get("fires", [])
    ],
)
def test_the_fire_times(row: dict[str, Any], fires: dict[str, Any]) -> None:
    (job,) = [job for job in read_mended(row).jobs if job.line == fires["line"]]
    name = job.zone or fires["zone"]
    zone = Zone(name, ZoneInfo(name))
    start = int(fires["after"].timestamp()) + 1
    found = islice(fire_times(job.schedule, zone, start, END_OF_TIME), len(fires["times"]))
    assert [zone.local(fire).isoformat() for fire in found] == [
        time.isoformat() for time in fires["times"]
    ]


# ---- the corpus


@pytest.mark.skipif(
    not CORPUS.is_dir(), reason="PYCRON_CORPUS does not name the folder of real crontabs"
)
def test_nothing_is_copied_from_the_corpus() -> None:
    """No command and no comment; a variable such as SHELL=/bin/sh can only be written one way."""
    endings = {ending for line in corpus_lines() for ending in endings_of(line)}
    for row in ROWS:
        commands = [job.command for job in read(row).jobs]
        comments = [line for line in lines_of(TABLES / row["file"]) if line.lstrip()[:1] == "#"]
        written = {" ".join(text.split()) for text in commands + comments} - {"#"}
        assert not written & endings, row["file"]


def corpus_lines() -> list[str]:
    files = [path for folder in ("user", "system") for path in (CORPUS / folder).iterdir()]
    return [line for path in files for line in lines_of(path)]


def lines_of(path: Path) -> list[str]:
    return path.read_bytes().decode("utf-8", "surrogateescape").split("\n")


def endings_of(line: str) -> list[str]:
    """The rest of a line from each of its words on: one of them is the command."""
    words = line.replace("\\%", "%").split()
    return [" ".join(words[start:]) for start in range(len(words))]


def test_the_readme_counts_the_tables() -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    assert f"{len(ROWS)} realistic tables" in readme
