"""`pycron` without a verb: on a terminal what is wrong, what comes next and what to try."""

from pathlib import Path

import pytest

from tests.support.operated_daemon import OperatedDaemon, operated_daemon
from tests.support.pseudo_terminal import Shown, show
from tests.support.running_daemon import program, run
from tests.support.waiting import until

LONG = "x" * 64


def overview(op: OperatedDaemon, columns: int = 80) -> Shown:
    shown = show(program("pycron", "--state-dir", op.state), columns=columns)
    assert max(map(len, shown.lines)) <= columns
    return shown


def test_nothing_is_wrong(tmp_path: Path) -> None:
    with operated_daemon(tmp_path, "CRON_NAME=sync @yearly true\n") as op:
        shown = overview(op)
    assert shown.status == 0
    first, *rest = shown.lines
    assert "(foreground): 1 Job, 0 running; times in " in first
    assert rest[0].split() == ["wrong", "now", "nothing"]
    assert "sync (in " in shown.text
    for command in ("pycron list", "pycron runs", "pycron next"):
        assert command in shown.text


def test_what_is_wrong(tmp_path: Path) -> None:
    """A Job that has failed and has not succeeded since, a dead letter, a pause."""
    table = f"""
CRON_NAME=bad CRON_RETRIES=1 CRON_RETRY_DELAY=1s CRON_RETRY_JITTER=0 @reboot exit 7
CRON_NAME=mended @reboot test -e {tmp_path}/mended
CRON_NAME={LONG} @yearly true
"""
    with operated_daemon(tmp_path, table) as op:
        op.daemon.wait_for("attempt_ended", job="bad", attempt=2)
        op.daemon.wait_for("attempt_ended", job="mended")
        (tmp_path / "mended").touch()
        op.start("mended")
        op.daemon.wait_for("attempt_ended", job="mended", outcome="succeeded")
        until(lambda: bool(op.rows("dead", "list")))
        op.row("pause", LONG, "--for", "1h")
        shown = overview(op)
        narrow = overview(op, 40)
    text = " ".join(shown.text.split())
    assert "bad: failed, exit status 7 at " in text
    assert "(pycron log bad)" in text
    assert "1 dead letter (pycron dead list)" in text
    assert "mended:" not in text
    assert f"paused: job {LONG}, until " in text
    for command in ("pycron runs --failed", "pycron log JOB", "pycron check"):
        assert command in text
    assert "dead letter" in narrow.text


def test_without_a_daemon(tmp_path: Path) -> None:
    shown = show(program("pycron", "--state-dir", tmp_path))
    assert shown.status == 1
    assert f"start it: pycrond --state-dir {tmp_path}" in shown.text.replace("\n", "")
    assert "pycron explain '0 9 * * 1-5'" in shown.text


@pytest.mark.parametrize("words", [[], ["--json"]])
def test_a_program_has_to_name_a_verb(words: list[str]) -> None:
    done = run("pycron", *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.endswith("pycron: error: which verb? (pycron --help lists them)\n")
