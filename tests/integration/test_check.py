"""`pycron check` of a running daemon: its tables, and what its Runs have shown."""

from pathlib import Path

import pytest

from tests.support.operated_daemon import OWN_NAME, OperatedDaemon, operated_daemon
from tests.support.running_daemon import run
from tests.support.waiting import until

NEVER = "0 0 29 2 1"  # hardly ever; a day of the month and a weekday


def found(op: OperatedDaemon) -> list[tuple[int, str]]:
    return [(row["line"], row["code"]) for row in op.rows("check")]


@pytest.mark.parametrize("system", [False, True])
def test_the_tables_of_the_daemon_are_linted_with_its_machine(tmp_path: Path, system: bool) -> None:
    user = f"{OWN_NAME} " if system else ""
    table = (
        f"* 4 * * * {user}/bin/true\n"
        f"@yearly {user}no-such-program\n"
        "# pycron: ignore=command-not-found\n"
        f"@yearly {user}no-such-program-either\n"
        f"@yearly {user}/bin/true\n"
    )
    with operated_daemon(tmp_path, table, system=system) as op:
        assert found(op) == [(1, "minute-star"), (2, "command-not-found")]


def test_what_the_daemon_says_is_said_once(tmp_path: Path) -> None:
    table = "CRON_POOL=missing @yearly /bin/true\n@yearly /bin/true x 2>&1 >/dev/null\n"
    with operated_daemon(tmp_path, table, "[pools]\ndb = 1\n") as op:
        assert found(op) == [(1, "unknown-pool"), (2, "redirect-order")]


def test_runs_that_take_longer_than_their_period(tmp_path: Path) -> None:
    with operated_daemon(tmp_path, "CRON_NAME=slow @every 1s sleep 1.5\n") as op:
        ended = "--outcome", "succeeded"
        until(lambda: len(op.rows("runs", *ended)) >= 3, patience=30)
        assert (1, "overlap") in found(op)


def test_the_input_of_a_command_is_shown(tmp_path: Path) -> None:
    table = f"CRON_NAME=letter {NEVER} cat%Dear Joe,%hello\nCRON_NAME=plain {NEVER} true\n"
    with operated_daemon(tmp_path, table) as op:
        listed = {row["job"]: row["stdin"] for row in op.rows("list")}
        assert listed == {"letter": "Dear Joe,\nhello\n", "plain": None}
        run_id = op.start("letter")
        op.daemon.wait_for("attempt_ended", run_id=run_id)
        assert op.row("show", run_id)["stdin"] == "Dear Joe,\nhello\n"


def test_two_files_have_one_shared_job(tmp_path: Path) -> None:
    """For the cluster both are one Job, whatever their commands are."""
    for name, command in (("one", "a"), ("two", "b")):
        (tmp_path / name).write_text(f"CRON_NAME=nightly CRON_ON=any @every 1h {command}\n")
    checked = run("pycron", "check", tmp_path / "one", tmp_path / "two")
    assert checked.returncode == 1
    assert f"{tmp_path / 'two'}:1" in checked.stdout
    assert "has a shared job of" in checked.stdout
    assert run("pycron", "check", tmp_path / "one").returncode == 0
