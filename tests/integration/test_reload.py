"""A running daemon reads its configuration again: good files, bad files, other versions."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import pycron
from tests.support.fake_sendmail import FakeSendmail
from tests.support.operated_daemon import OperatedDaemon, Row, operated_daemon, waiting_for_gate
from tests.support.running_daemon import PYTHON, RunningDaemon
from tests.support.thoroughness import slow_after
from tests.support.waiting import until

NEVER = "@yearly"
BAD = "[limits]\nrunning = 0\n"
WHY_BAD = "bad limits.running: 0 (a whole number above 0)"


def configure(op: OperatedDaemon, text: str) -> None:
    (op.directory / "config").write_text(text)


def reload(op: OperatedDaemon, text: str) -> Row:
    """Change the configuration, and reload it, which must succeed; the answer."""
    configure(op, text)
    return op.row("reload")


def running(op: OperatedDaemon) -> int:
    return int(op.row("status")["running"])


def config_of(op: OperatedDaemon) -> Row:
    row: Row = op.row("status")["config"]
    return row


# ---- a good file


@pytest.mark.slow
def test_a_raised_pool_starts_at_once_what_waits(tmp_path: Path) -> None:
    table = f"CRON_POOL=db\nCRON_NAME=wait {NEVER} {waiting_for_gate(tmp_path)}\n"
    with operated_daemon(tmp_path, table, "[pools]\ndb = 1\n") as op:
        for _ in range(3):
            op.start("wait")
        assert running(op) == 1
        answer = reload(op, "[pools]\ndb = 2\n")
        assert answer == {"changed": ["pools.db"], "at_start": [], "tables": 1}
        assert running(op) == 2
        line = op.daemon.wait_for("reloaded")
        assert (line["changed"], line["at_start"], line["level"]) == ("pools.db", None, "info")
        reload(op, "[pools]\ndb = 1\n")
        assert running(op) == 2  # a lowered limit ends nothing
        reload(op, "")
        until(lambda: running(op) == 3)
        op.open_gate()
        until(lambda: [row["outcome"] for row in op.runs("wait")] == ["succeeded"] * 3)


def test_a_load_limit_holds_and_ends_at_once(tmp_path: Path) -> None:
    with operated_daemon(tmp_path, f"CRON_NAME=idle {NEVER} true\n") as op:
        reload(op, '[limits]\nfree_memory = "1000T"\n')
        run_id = op.start("idle")
        assert op.row("show", run_id)["started"] is None
        reload(op, "")
        op.daemon.wait_for("attempt_ended", run_id=run_id)


def test_defaults_and_ceilings_hold_for_the_tables(tmp_path: Path) -> None:
    table = f"CRON_NAME=mask {NEVER} umask\nCRON_NAME=first CRON_PRIORITY=5 {NEVER} true\n"
    with operated_daemon(tmp_path, table, "[ceilings]\nCRON_PRIORITY = 9\n") as op:
        assert op.rows("check") == []
        reload(op, '[ceilings]\nCRON_PRIORITY = 1\n[defaults]\nCRON_UMASK = "037"\n')
        assert [row["code"] for row in op.rows("check")] == ["above-ceiling"]
        run_id = op.start("mask")
        op.daemon.wait_for("attempt_ended", run_id=run_id)
        assert op.run("log", run_id).stdout == "0037\n"


@pytest.mark.slow
def test_mail_that_is_turned_off_and_on(tmp_path: Path) -> None:
    sendmail = FakeSendmail(tmp_path)
    with operated_daemon(tmp_path, f"CRON_NAME=hello {NEVER} echo hello\n", sendmail.config) as op:

        def run_once() -> None:
            op.daemon.wait_for("attempt_ended", run_id=op.start("hello"))

        run_once()
        until(lambda: len(sendmail.messages()) == 1)
        assert reload(op, '[mail]\ntransport = "none"\n')["changed"] == [
            "mail.transport", "mail.sendmail"
        ]  # fmt: skip
        run_once()
        assert op.row("status")["mail"] == "off (mail.transport is none)"
        assert op.refusal("test-mail").startswith("mail is off")
        reload(op, sendmail.config)
        run_once()
        until(lambda: len(sendmail.messages()) == 2)
        assert len(op.rows("runs", "--deliveries")) == 2


@pytest.mark.slow
def test_the_next_attempt_may_print_as_much_as_the_file_says(tmp_path: Path) -> None:
    with operated_daemon(tmp_path, f"CRON_NAME=long {NEVER} seq 1000\n") as op:
        reload(op, '[limits]\noutput_bytes = "1K"\n')
        run_id = op.start("long")
        op.daemon.wait_for("attempt_ended", run_id=run_id)
        assert "bytes are not kept here" in op.run("log", run_id).stdout


def test_the_hangup_signal_reloads(tmp_path: Path) -> None:
    with operated_daemon(tmp_path, f"{NEVER} true\n") as op:
        configure(op, "[limits]\nrunning = 7\n")
        assert config_of(op)["at_reload"] == ["limits.running"]
        assert (
            "changed since it was read (pycron reload): limits.running" in op.run("status").stdout
        )
        op.daemon.signal(signal.SIGHUP)
        line = op.daemon.wait_for("reloaded")
        assert (line["changed"], line["by"], line["tables"]) == ("limits.running", "SIGHUP", 1)
        assert config_of(op)["at_reload"] == []
        configure(op, BAD)
        op.daemon.signal(signal.SIGHUP)
        assert op.daemon.wait_for("config_bad")["by"] == "SIGHUP"


def test_the_answer_for_people(tmp_path: Path) -> None:
    with operated_daemon(tmp_path, f"{NEVER} true\n") as op:
        read = "pycron: the configuration and 1 table were read again"
        assert op.run("reload").stderr == f"{read}; no option has changed\n"
        configure(op, "[limits]\nrunning = 7\nwaiting = 9\n")
        done = op.run("reload")
        assert done.stderr == f"{read}; changed: limits.running, limits.waiting\n"
        assert (done.returncode, done.stdout) == (0, "")


# ---- a bad file


def test_a_bad_file_changes_nothing_until_it_is_mended(tmp_path: Path) -> None:
    table = f"CRON_POOL=db\nCRON_NAME=wait {NEVER} {waiting_for_gate(tmp_path)}\n"
    with operated_daemon(tmp_path, table, "[pools]\ndb = 1\n") as op:
        for _ in range(2):
            op.start("wait")
        path = tmp_path / "config"
        configure(op, f"[pools]\ndb = 2\n{BAD}")
        assert op.refusal("reload") == f"{path}: {WHY_BAD} (nothing was reloaded)"
        line = op.daemon.wait_for("config_bad")
        assert (line["level"], line["reason"]) == ("warning", f"{path}: {WHY_BAD}")
        assert running(op) == 1
        assert not op.daemon.log("reloaded")
        assert len(op.daemon.log("table_loaded")) == 1

        assert config_of(op) == {
            "file": str(path), "error": WHY_BAD, "at_reload": [], "at_start": []
        }  # fmt: skip
        assert f"config is bad, and was not read again: {WHY_BAD}" in op.run("status").stdout
        checked = op.run("check")
        said = f"{path}: {WHY_BAD} [bad-configuration]\n"
        assert (checked.returncode, checked.stdout) == (1, said)
        assert op.row("status")["problems"] == 1

        configure(op, "[pools]\ndb = 2\n")
        assert config_of(op)["error"] is None
        assert op.run("check").returncode == 0
        assert op.row("reload")["changed"] == ["pools.db"]
        assert running(op) == 2


@pytest.mark.slow
def test_a_file_that_was_named_and_is_gone(tmp_path: Path) -> None:
    with operated_daemon(tmp_path, f"{NEVER} true\n") as op:
        (tmp_path / "config").unlink()
        assert "no such file" in op.refusal("reload")
        assert op.row("status")["config"]["error"] == "no such file"


# ---- a daemon that differs from ours


@contextmanager
def other_daemon(directory: Path, change: str, config: str) -> Iterator[OperatedDaemon]:
    """A foreground daemon in which a line of Python has changed something before it starts."""
    python = directory / "python"
    code = f"{change}; import sys; from pycron.cli.pycrond import main; sys.exit(main())"
    python.write_text(f'#!/bin/sh\nshift 2\nexec {PYTHON} -c "{code}" "$@"\n')
    python.chmod(0o755)
    (directory / "table").write_text(f"{NEVER} true\n")
    (directory / "config").write_text(config)
    arguments: list[str | Path] = [
        "--foreground", "--table", directory / "table", "--config", directory / "config",
        "--state-dir", directory / "state",
    ]  # fmt: skip
    daemon = RunningDaemon(arguments, directory / "log", python=python)
    try:
        daemon.wait_until_ready()
        yield OperatedDaemon(directory, arguments, daemon)
    finally:
        daemon.stop()


def test_an_option_that_takes_effect_at_the_next_start(tmp_path: Path) -> None:
    change = "from pycron.config import configuration as c; c.AT_START = {'limits.clients'}"
    with other_daemon(tmp_path, change, "[limits]\nclients = 50\n") as op:
        configure(op, "[limits]\nclients = 60\nrunning = 7\n")
        assert op.run("reload").stderr == (
            "pycron: the configuration and 1 table were read again; changed: limits.running;"
            " takes effect at the next start: limits.clients\n"
        )
        line = op.daemon.wait_for("reloaded")
        assert (line["level"], line["at_start"]) == ("warning", "limits.clients")
        assert config_of(op)["at_start"] == ["limits.clients"]
        assert "takes effect at the next start: limits.clients" in op.run("status").stdout
        assert op.row("reload") == {"changed": [], "at_start": ["limits.clients"], "tables": 1}


@pytest.mark.slow
def test_a_daemon_of_another_version(tmp_path: Path) -> None:
    with other_daemon(tmp_path, "import pycron; pycron.__version__ = '0.0.1'", "") as op:
        done = op.run("status")
        assert done.stderr == (
            "pycron: the daemon runs version 0.0.1;"
            f" version {pycron.__version__} is installed: restart pycrond\n"
        )
        row = op.row("status")
        assert (row["version"], row["installed_version"]) == ("0.0.1", pycron.__version__)


@pytest.mark.slow
def test_a_daemon_that_knows_no_reload(tmp_path: Path) -> None:
    """An older daemon neither answers `reload` nor says anything of its configuration."""
    change = (
        "import pycron.control.status as s; s.config_row = None; "
        "from pycron.control.access import Access; Access.sees_all = lambda *_: False; "
        "from pycron.protocol.control_messages import REQUESTS; del REQUESTS['reload']"
    )
    with other_daemon(tmp_path, change, "") as op:
        assert op.row("status")["config"] is None
        assert op.run("status").returncode == 0
        assert op.refusal("reload").startswith('unknown verb: "reload"')


@pytest.mark.parametrize("verb", slow_after(1, ["status", "check", "reload"]))
def test_a_pipe_in_place_of_the_file_is_not_waited_for(tmp_path: Path, verb: str) -> None:
    with operated_daemon(tmp_path, f"{NEVER} true\n") as op:
        (tmp_path / "config").unlink()
        os.mkfifo(tmp_path / "config")
        done = op.run(verb)
        assert "no regular file" in done.stdout + done.stderr
