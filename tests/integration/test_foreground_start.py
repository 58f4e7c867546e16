"""A foreground daemon that can never run anything ends; and what each signal does."""

import os
import signal
import subprocess
import tempfile
from pathlib import Path

import pytest

from tests.support.running_daemon import RunningDaemon, foreground, run
from tests.support.thoroughness import slow_after

TICK = "CRON_NAME=tick @every 1s true\n"
BAD = "61 * * * * true\n"


def start(*arguments: str | Path, **more: str) -> "subprocess.CompletedProcess[str]":
    """Run a foreground daemon to its end; `stdin` and variables of the environment in `more`."""
    stdin = more.pop("stdin", None)
    return run("pycrond", "--foreground", *arguments, stdin=stdin, env=dict(os.environ, **more))


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return tmp_path / "table"


@pytest.mark.parametrize("text", ["", "# nothing\nA=b\n"])
def test_a_daemon_without_a_job_ends(table: Path, text: str) -> None:
    table.write_text(text)
    ended = start("--table", table)
    assert ended.returncode == 1
    reason = "nothing to run: no table has an entry (--allow-empty starts anyway)"
    assert ended.stderr.splitlines()[-1] == f"pycrond: {reason}"


def test_a_daemon_with_errors_only_ends_and_names_the_first(table: Path) -> None:
    table.write_text(BAD + BAD)
    ended = start("--table", table)
    assert ended.returncode == 1
    last = ended.stderr.splitlines()[-1]
    assert last.startswith(f'pycrond: nothing to run: {table}:1: bad minute: "61" (0-59)')
    assert last.endswith("(and 1 more errors) (--allow-empty starts anyway)")


def test_a_failed_start_leaves_nothing_in_memory(table: Path) -> None:
    table.write_text(BAD)
    with tempfile.TemporaryDirectory() as private:
        ended = start("--table", table, "--state-dir", Path(private) / "state")
        assert ended.returncode == 1
        assert not (Path(private) / "state" / "pycron.sock").exists()


def test_allow_empty(table: Path, tmp_path: Path) -> None:
    """The table may get its entries later."""
    table.write_text("")
    arguments: list[str | Path] = ["--foreground", "--allow-empty", "--table", table,
                                   "--state-dir", tmp_path / "state"]  # fmt: skip
    daemon = RunningDaemon(arguments, tmp_path / "log")
    try:
        daemon.wait_for("daemon_started")
        table.write_text(TICK)
        daemon.wait_for("attempt_ended", job="tick")
    finally:
        assert daemon.stop() == 0


def test_strict(table: Path) -> None:
    table.write_text(TICK + BAD)
    ended = start("--strict", "--table", table)
    assert ended.returncode == 1
    last = ended.stderr.splitlines()[-1]
    assert last.startswith(f"pycrond: {table}:2: bad minute")
    assert last.endswith("not started, because of --strict")


def test_one_good_entry_is_enough_without_strict(tmp_path: Path) -> None:
    with foreground(BAD + TICK, tmp_path) as daemon:
        daemon.wait_for("attempt_ended", job="tick")
        assert daemon.log("table_bad")


@pytest.mark.parametrize("option", ["--strict", "--allow-empty"])
def test_the_options_need_the_foreground(option: str) -> None:
    ended = run("pycrond", option)
    assert ended.returncode == 2
    assert f"{option} needs --foreground" in ended.stderr


def test_an_unknown_zone_of_the_machine(table: Path) -> None:
    table.write_text(TICK)
    ended = start("--table", table, TZ="Europe/Berln")
    assert ended.returncode == 1
    expected = 'pycrond: TZ: unknown zone: "Europe/Berln" (a name such as Europe/Berlin)\n'
    assert ended.stderr == expected


# ---- tables that can be read once


@pytest.mark.parametrize("name", slow_after(1, ["-", "/dev/stdin", "pipe"]))
def test_a_table_that_can_be_read_once(tmp_path: Path, name: str) -> None:
    """It stays when the daemon reads its tables again."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    path = str(pipe) if name == "pipe" else name
    # A shell opens the standard input of the daemon, or writes to the pipe beside it.
    feed = f"printf '{TICK}' >{pipe} & exec \"$@\"" + ("" if name == "pipe" else f" <{pipe}")
    arguments: list[str | Path] = ["--foreground", "--table", path,
                                   "--state-dir", tmp_path / "state"]  # fmt: skip
    daemon = RunningDaemon(arguments, tmp_path / "log", prefix=["sh", "-c", feed, "sh"])
    try:
        daemon.wait_for("attempt_ended", job="tick")
        daemon.signal(signal.SIGHUP)
        daemon.wait_for("reloaded")
        seen = len(daemon.log("attempt_ended"))
        daemon.wait_for("attempt_ended", count=seen + 2)
        assert {line["table"] for line in daemon.log("table_loaded")} == {path}
        assert not daemon.log("table_removed")
    finally:
        assert daemon.stop() == 0


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/dev/null", "nothing to run: no table has an entry"),
        ("/dev/zero", "/dev/zero: larger than"),
        ("/none", "/none: no such table"),
    ],
)
def test_devices_and_missing_files(path: str, reason: str) -> None:
    """No message says that a device should be removed."""
    ended = start("--table", path)
    assert ended.returncode == 1
    assert reason in ended.stderr
    assert "remove" not in ended.stderr


# ---- signals


def test_a_summary_of_what_runs_and_waits(tmp_path: Path) -> None:
    table = (
        "CRON_NAME=long @reboot sleep 1000\n"
        "CRON_NAME=again CRON_RETRIES=1 CRON_RETRY_DELAY=1h @reboot exit 1\n"
    )
    with foreground(table, tmp_path) as daemon:
        pid = daemon.wait_for("attempt_started", job="long")["pid"]
        daemon.wait_for("retry_planned", job="again")
        daemon.signal(signal.SIGUSR1)
        summary = daemon.wait_for("summary")
        daemon.signal(signal.SIGTERM)
        daemon.signal(signal.SIGTERM)
    assert (summary["running"], summary["waiting"]) == (1, 1)
    assert summary["commands"].startswith("long of ")
    assert f"(pid {pid})" in summary["commands"]
    assert summary["queue"].startswith("again of ")


def test_signals_that_never_end_the_daemon(tmp_path: Path) -> None:
    harmless = (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGPIPE, signal.SIGALRM)
    with foreground(TICK, tmp_path) as daemon:
        daemon.wait_for("attempt_ended")
        for number in harmless:
            daemon.signal(number)
        assert daemon.wait_for("reloaded", by="SIGHUP")
        assert daemon.wait_for("reloaded", by="SIGUSR2")
        seen = len(daemon.log("attempt_ended"))
        daemon.wait_for("attempt_ended", count=seen + 2)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT])
def test_signals_that_end_the_daemon_say_what_it_waits_for(
    tmp_path: Path, number: signal.Signals
) -> None:
    with foreground("CRON_NAME=long @reboot sleep 1000\n", tmp_path) as daemon:
        daemon.wait_for("attempt_started")
        daemon.signal(number)
        first = daemon.wait_for("daemon_stopping")
        daemon.signal(number)
        second = daemon.wait_for("daemon_stopping", count=2)
        assert daemon.wait() == 0
    assert first["commands"].startswith("long of ")
    assert first["next_signal"] == "the next one sends them SIGTERM, and SIGKILL 10 seconds later"
    assert second["next_signal"] == "the next one sends them SIGKILL at once"
