"""What verbs say that they did, and what holds now: one line on stderr."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from pycron.cli.done import killed, paused, redriven, started
from pycron.protocol.control_answers import PauseRow, StateRow
from pycron.schedule.zone import UTC
from pycron.wording.clock import Clock
from tests.support.operated_daemon import OperatedDaemon, operated_daemon, waiting_for_gate
from tests.support.waiting import until

NOON = 1_781_092_800.0  # 2026-06-10T12:00:00Z
CLOCK = Clock(UTC, NOON, short=True)


@pytest.fixture
def op(tmp_path: Path) -> Iterator[OperatedDaemon]:
    waits = waiting_for_gate(tmp_path)
    table = f"""
CRON_NAME=long @yearly {waits}
CRON_NAME=one CRON_CONCURRENCY=queue @yearly {waits}; true
CRON_NAME=bad CRON_RETRIES=1 CRON_RETRY_DELAY=1s CRON_RETRY_JITTER=0 @reboot exit 7
"""
    with operated_daemon(tmp_path, table) as op:
        yield op


def said(op: OperatedDaemon, *words: str) -> str:
    """The one line on stderr of a verb that succeeds and prints nothing else."""
    done = op.run(*words)
    assert (done.returncode, done.stdout) == (0, ""), done
    return one_line(done.stderr)


def one_line(text: str) -> str:
    assert text.startswith("pycron: ")
    assert text.count("\n") == 1
    return text.removeprefix("pycron: ").rstrip("\n")


def test_start_and_kill(op: OperatedDaemon) -> None:
    done = op.run("start", "one")
    run_id = done.stdout.strip()
    assert one_line(done.stderr) == f"one was started; its output: pycron log -f {run_id}"
    again = op.run("start", "one")
    assert one_line(again.stderr).startswith("one waits: as many of this job run as may (1).")
    op.daemon.wait_for("attempt_started", job="one")
    assert said(op, "kill", "one", "--kill-after", "2s") == (
        "1 command of one got TERM; what is left after 2 s gets KILL, and 1 waiting Run will not"
        " start. Nothing is tried again"
    )
    op.daemon.wait_for("attempt_ended", job="one")
    assert said(op, "kill", "--all") == "no command is running"


def test_pause_and_resume(op: OperatedDaemon) -> None:
    assert re.fullmatch(
        r"long is paused until .* \(in 1 h\) \(upgrade\): what is due is skipped, what runs goes"
        r" on\. pycron resume long ends the pause",
        said(op, "pause", "long", "--for", "1h", "--reason", "upgrade"),
    )
    assert said(op, "pause", "--all").startswith("all Jobs are paused without an end: ")
    assert re.fullmatch(
        "this pause is over, but all Jobs are still paused by .* without an end",
        said(op, "resume", "long"),
    )
    assert said(op, "pause", "one").endswith("pycron resume one ends the pause")
    assert said(op, "resume", "--all") == (
        "the pause of all Jobs is over; 1 other pause stays (pycron pause)"
    )
    assert said(op, "resume", "one") == "one is not paused any more: what is due starts again"


def test_dead_letters(op: OperatedDaemon) -> None:
    op.daemon.wait_for("attempt_ended", job="bad", attempt=2)
    until(lambda: bool(op.rows("dead", "list")))
    run_id = str(op.row("dead", "list")["run_id"])
    assert said(op, "dead", "redrive", run_id) == (
        f"bad is tried again now, with attempt 3; its output: pycron log -f {run_id}"
    )
    op.daemon.wait_for("attempt_ended", job="bad", attempt=4)
    until(lambda: bool(op.rows("dead", "list")))
    assert said(op, "dead", "drop", run_id) == (
        f"bad is no dead letter any more; the Run stays in the history (pycron show {run_id})"
    )


def test_reload_and_a_clean_check(op: OperatedDaemon) -> None:
    assert said(op, "check") == "nothing is wrong in the daemon's tables and its configuration"
    table = op.directory / "table"
    assert said(op, "check", str(table)) == f"nothing is wrong in {table}"
    (op.directory / "config").write_text("[limits]\nrunning = 7\n")
    assert said(op, "reload") == (
        "the configuration and 1 table were read again; changed: limits.running"
    )


@pytest.mark.slow
def test_quiet_and_json_say_nothing(op: OperatedDaemon) -> None:
    for words in ("start long", "pause long", "kill --all", "check", "reload", "resume long"):
        how = "--json" if words == "kill --all" else "--quiet"
        done = op.run(*words.split(), how)
        assert (done.returncode, done.stderr) == (0, ""), words


# ---- the sentences


def test_of_many_jobs_no_names() -> None:
    rows: list[StateRow] = [
        {"run_id": "x", "state": "running", "job": f"j{number}"} for number in range(4)
    ]
    assert killed(rows, None) == (
        "4 commands got TERM; what is left after CRON_KILL_AFTER gets KILL. Nothing is tried again"
    )
    assert killed(rows[:2], 90).startswith(
        "2 commands of j0, j1 got TERM; what is left after 1 min"
    )
    assert killed([{"run_id": "x", "state": "queued", "job": "a"}], None) == (
        "1 waiting Run of a will not start. Nothing is tried again"
    )


@pytest.mark.parametrize(
    ("what", "subject", "command"),
    [
        ("all", "all Jobs are", "pycron resume --all"),
        ("user joe", "the Jobs of joe are", "pycron resume --owner joe"),
        ("pool db", "the pool db is", "pycron resume --pool db"),
        ("job sync", "sync is", "pycron resume sync"),
    ],
)
def test_each_scope(what: str, subject: str, command: str) -> None:
    row: PauseRow = {
        "scope": what.replace(" ", ":"),
        "what": what,
        "since": "2026-06-10T12:00:00Z",
        "until": "2026-06-10T13:59:59Z",
        "by": "root",
        "reason": None,
    }
    sentence = paused(row, CLOCK)
    assert sentence.startswith(f"{subject} paused until 13:59:59 UTC (in 2 h): ")
    assert f" {command} ends" in sentence


def test_what_waits() -> None:
    assert "waits: full" in started("a", "id", "full")
    assert redriven("a", "id", 3, "full") == "a is tried again, but waits: full (attempt 3)"
