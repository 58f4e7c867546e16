"""The views on terminals of several sizes, with few and many Jobs, long names, and no daemon."""

import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len

from pycron.control.client import ControlClient
from tests.support.operated_daemon import OperatedDaemon, operated_daemon
from tests.support.pseudo_terminal import Shown, show
from tests.support.running_daemon import foreground, program, run
from tests.support.thoroughness import slow_after

LONG = "a-name-that-is-longer-than-any-column-of-a-small-terminal-is"
TABLE = f"""CRON_TZ=Asia/Tokyo
CRON_NAME=tokyo 0 9 * * * true
CRON_TZ=
CRON_NAME=backup CRON_POOL=db 30 2 * * * echo begin; echo no space left; exit 7
CRON_NAME={LONG} @yearly backupp --{"all" * 90}
CRON_NAME=good 0 0 1 1 * sleep 0.05
CRON_NAME=sleeper @yearly sleep 600
CRON_NAME=follows @after good true
"""
SIZES = [(40, 12), (80, 24), (160, 50)]
VIEWS = [["list"], ["next"], ["runs"], ["show", "backup"], ["why", LONG, "now"], ["status"],
         ["top", "--once"], ["list", "--failed"], ["next", "--job", "tokyo", "--count", "3"],
         ["dead", "list"]]  # fmt: skip


@pytest.fixture(scope="module")
def op(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OperatedDaemon]:
    table = TABLE + "".join(f"{n % 60} {n // 60} * * * true {n}\n" for n in range(300))
    with operated_daemon(tmp_path_factory.mktemp("views"), table, "[pools]\ndb = 1\n") as op:
        for job in ("backup", LONG, "good", "good"):
            op.daemon.wait_for("attempt_ended", run_id=op.start(job))
        op.daemon.wait_for("attempt_started", run_id=op.start("sleeper"))
        op.run("pause", "tokyo", "--reason", "the bank is closed")
        yield op


def on_a_terminal(op: OperatedDaemon, *words: str, columns: int = 80, rows: int = 24) -> Shown:
    return show(program("pycron", "--state-dir", op.state, *words), columns, rows)


@pytest.mark.parametrize("view", slow_after(5, VIEWS), ids=" ".join)
@pytest.mark.parametrize(("columns", "rows"), slow_after(1, SIZES))
def test_nothing_is_wider_than_the_terminal(
    op: OperatedDaemon, view: list[str], columns: int, rows: int
) -> None:
    shown = on_a_terminal(op, *view, columns=columns, rows=rows)
    assert shown.status == 0, shown.text
    assert max(map(cell_len, shown.lines)) <= columns
    assert shown.text.strip()


@pytest.mark.parametrize("verb", slow_after(
    2, ["list", "why x now", "next", "runs", "show x", "status", "top"],
))  # fmt: skip
def test_without_a_daemon(tmp_path: Path, verb: str) -> None:
    command = program("pycron", "--state-dir", tmp_path, *verb.split())
    shown = show(command)
    assert shown.status == 1
    assert shown.text.replace("\n", "").startswith("pycron: no pycron daemon answers at ")
    assert "\x1b[?1049h" not in shown.raw


def test_without_a_job(tmp_path: Path) -> None:
    def said(*words: str) -> str:
        return show(program("pycron", "--state-dir", tmp_path / "state", *words)).text

    with foreground("# nothing\n", tmp_path, "--allow-empty"):
        assert said("list") == "no jobs\n"
        assert said("next") == "nothing is due\n"
        assert said("runs") == "no runs\n"
        assert "0 running, 0 waiting" in said("top", "--once")
        assert "0 Jobs in 1 table; none is due" in said("status")


# ---- what they say


def line_of(shown: Shown, start: str) -> str:
    return next(line for line in shown.lines if line.startswith(start))


def test_the_list_says_how_a_job_ended_and_when_it_is_due(op: OperatedDaemon) -> None:
    shown = on_a_terminal(op, "list", columns=200)
    assert shown.lines[0].startswith("times in ")
    assert re.search(
        r"failed, exit status 7 +\S+ +- +\S.* \d+ (h|min|s)", line_of(shown, "backup ")
    )
    assert "Asia/Tokyo" in line_of(shown, "tokyo")
    assert "paused" in line_of(shown, "tokyo")
    assert "running" in line_of(shown, "sleeper")
    assert re.search(r"succeeded +\S+ +\d+ ms", line_of(shown, "good"))


def test_the_list_can_be_narrowed(op: OperatedDaemon) -> None:
    names = [row["job"] for row in op.rows("list", "--failed")]
    assert names == ["backup", LONG]
    assert [row["job"] for row in op.rows("list", "--match", "SLEEP 6")] == ["sleeper"]
    assert op.rows("list", "--owner", "nobody") == []
    assert len(op.rows("list")) == 306
    (backup,) = op.rows("list", "--match", "no space")
    assert (backup["pool"], backup["last"]["exit_status"], backup["delay"]) == ("db", 7, 0)
    assert backup["next_fire_time"].endswith(":30:00Z")
    (good,) = op.rows("list", "--match", "sleep 0.05")
    assert 0.03 < good["usual_seconds"] < 3


def test_next_says_what_a_run_waits_for(op: OperatedDaemon) -> None:
    (row,) = op.rows("next", "--job", "tokyo", "--count", "1")
    assert row["paused"]["reason"] == "the bank is closed"
    assert row["local"][11:] == "09:00:00+09:00"
    shown = on_a_terminal(op, "next", "--job", "tokyo", "--count", "1", columns=120)
    assert "paused by" in shown.text
    assert "the bank is closed" in shown.text
    (row,) = op.rows("next", "--job", "follows", "--count", "1")
    assert row["after"] == ["good"]


def test_the_daemon_and_the_program_find_the_same_fire_times(op: OperatedDaemon) -> None:
    """The daemon answers few of them, the program finds many by itself."""
    for start in ("now", "2036-01-01T00:00:00Z"):
        window = ("--from", start)
        few = op.rows("next", *window, "--count", "400")
        many = op.rows("next", *window, "--count", "1001")
        assert sorted(map(str, few)) == sorted(map(str, many[: len(few)]))
        assert [row["fire_time"] for row in few] == [row["fire_time"] for row in many[:400]]


def test_fire_times_that_are_far_away(op: OperatedDaemon) -> None:
    """The daemon looks twenty years ahead, the program further."""
    rows = op.rows("next", "--job", LONG, "--count", "30")
    assert [row["fire_time"][4:] for row in rows] == ["-01-01T00:00:00Z"] * 30
    (row,) = op.rows("next", "--job", LONG, "--count", "1", "--from", "9000-06-01")
    assert row["fire_time"] == "9001-01-01T00:00:00Z"


@pytest.mark.parametrize(
    "wish",
    [{"count": 0}, {"count": 0, "start": 5}, {"count": 2**40}, {"start": 2**61}, {"start": 0},
     {"start": 2**40, "job": LONG}, {"count": 10**6, "job": LONG}],
)  # fmt: skip
def test_no_wish_for_fire_times_breaks_the_daemon(op: OperatedDaemon, wish: dict[str, Any]) -> None:
    before = time.monotonic()
    with closing(ControlClient(op.state / "pycron.sock")) as client:
        answer: Any = client.ask("next", **wish)
    assert len(answer["rows"]) <= 1000
    assert time.monotonic() - before < 20
    assert not op.daemon.log("request_broken")


def test_runs_have_more_columns_where_there_is_room(op: OperatedDaemon) -> None:
    narrow, wide = on_a_terminal(op, "runs"), on_a_terminal(op, "runs", columns=200)
    assert "failed, exit status 127" in narrow.text
    assert "RUN" not in narrow.lines[1].split()
    assert "RUN" in wide.lines[1].split()
    forced = on_a_terminal(op, "runs", "--wide")
    assert "ENTRY" in forced.text
    assert max(map(len, forced.lines)) > 80


def test_show_is_a_page(op: OperatedDaemon) -> None:
    shown = on_a_terminal(op, "show", "backup")
    assert shown.lines[0] == "backup: failed, exit status 7"
    assert len(shown.lines) <= 24
    assert shown.lines[-2:] == ["  begin", "  no space left"]
    assert "\x1b[1;31mfailed, exit status 7" in shown.raw


def test_why_ends_with_what_to_do(op: OperatedDaemon) -> None:
    (run,) = op.runs(LONG)
    text = on_a_terminal(op, "why", LONG, run["fire_time"], columns=160).text
    assert re.search(r"last line +.*backupp: .+\n", text)
    assert "127: command not found; PATH was " in " ".join(text.split())
    assert "pycron log " in text


def test_status_has_five_lines(op: OperatedDaemon) -> None:
    done = op.run("status")
    fields = [line.split()[0] for line in done.stdout.splitlines() if not line.startswith(" ")]
    assert fields == ["daemon", "jobs", "runs", "pauses", "wrong"]
    assert "job tokyo: paused by" in done.stdout
    assert "1 running" in done.stdout


# ---- top


class Typist:
    """Types the next key whenever the screen was drawn once more."""

    def __init__(self, keys: list[str]) -> None:
        self.keys = keys
        self.drawn = 0

    def __call__(self, shown: str) -> bytes:
        drawn = shown.count("\x1b[J")
        if drawn == self.drawn or not self.keys:
            return b""
        self.drawn = drawn
        return self.keys.pop(0).encode()


def test_top_stays_within_its_screen_and_ends_with_q(op: OperatedDaemon) -> None:
    command = program("pycron", "--state-dir", op.state, "top")
    shown = show(command, 80, 24, keys=Typist(["s", "s", "k", "q"]))
    assert shown.status == 0
    assert shown.raw.startswith("\x1b[?1049h")
    assert shown.raw.endswith("\x1b[?25h\x1b[?1049l")
    for frame in shown.raw.split("\x1b[H")[1:]:
        lines = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", frame).split("\n")
        assert len(lines) == 24
        assert all(cell_len(line.rstrip("\r")) <= 80 for line in lines)
    assert "choose a running Job first" in shown.text


def test_top_ends_a_command_after_a_question(op: OperatedDaemon) -> None:
    run_id = op.start("sleeper")
    op.daemon.wait_for("attempt_started", run_id=run_id)
    command = program("pycron", "--state-dir", op.state, "top")
    keys = Typist(["\x1b[B", "\x1b[B", "k", "n", "k", "y", "q"])
    shown = show(command, 100, 30, keys=keys)
    assert "? y or n" in shown.text
    assert f"{run_id} is being ended" in shown.text
    op.daemon.wait_for("attempt_ended", run_id=run_id)


@pytest.mark.slow
def test_a_pipe_needs_no_rich(op: OperatedDaemon) -> None:
    for view in VIEWS:
        script = (
            "import sys; from pycron.cli.pycron import main;"
            f"main(['--state-dir', {str(op.state)!r}, *{view!r}]);"
            "print('rich' in sys.modules, file=sys.stderr)"
        )
        command = [sys.executable, "-c", script]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert done.stderr.endswith("False\n"), view


def test_an_expression_needs_no_daemon() -> None:
    done = run("pycron", "next", "30 2 * * *", "--count", "1")
    assert done.returncode == 0
