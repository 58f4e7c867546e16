"""pycrond --foreground --once: what is due in a minute runs once; the worst status."""

import json
import os
import signal
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.support.running_daemon import RunningDaemon, run

HALF_PAST_TWO = "2026-03-10T02:30:00Z"


def once(
    directory: Path, table: str, *arguments: str, minute: str = HALF_PAST_TWO
) -> tuple[int, list[dict[str, Any]]]:
    """The exit status, and the events of the log."""
    path = directory / "table"
    path.write_text(table)
    ended: subprocess.CompletedProcess[str] = run(
        "pycrond", "--foreground", "--log-format", "json", "--once", minute, "--table", path,
        *arguments, env={**os.environ, "TZ": "UTC"},
    )  # fmt: skip
    return ended.returncode, [json.loads(line) for line in ended.stderr.splitlines()]


def of(log: list[dict[str, Any]], event: str) -> list[dict[str, Any]]:
    return [line for line in log if line["event"] == event]


def test_what_is_due_in_the_minute_runs_once_and_nothing_else(tmp_path: Path) -> None:
    table = (
        "CRON_NAME=due 30 2 * * * echo $CRON_FIRE_TIME\n"
        "CRON_NAME=late CRON_START_DEADLINE=1m CRON_JITTER=1h 30 2 * * * true\n"
        "CRON_NAME=often @every 1s true\n"
        "CRON_NAME=not-due 31 2 * * * true\n"
        "CRON_NAME=boot @reboot true\n"
        "CRON_NAME=missed CRON_CATCHUP=latest 29 2 * * * true\n"
    )
    status, log = once(tmp_path, table)
    assert status == 0
    assert sorted(line["job"] for line in of(log, "attempt_started")) == ["due", "late", "often"]
    assert [line["line"] for line in of(log, "output")] == [HALF_PAST_TWO]
    (begun,) = of(log, "once")
    assert (begun["minute"], begun["due"]) == (HALF_PAST_TWO, 3)


@pytest.mark.parametrize("minute", ["now", "2099-01-01T00:00:17Z"])
def test_now_and_a_minute_that_is_still_to_come(tmp_path: Path, minute: str) -> None:
    status, log = once(tmp_path, "* * * * * exit 4\n", minute=minute)
    (ended,) = of(log, "attempt_ended")
    assert (status, ended["exit_status"]) == (4, 4)
    if minute != "now":
        assert ended["fire_time"] == "2099-01-01T00:00:00Z"


@pytest.mark.parametrize(
    ("commands", "expected"),
    [
        (["exit 3", "exit 7", "true"], 7),
        (["kill -KILL $$"], 128 + signal.SIGKILL),
        (["exec /none"], 127),
        (["true"], 0),
    ],
)
def test_the_worst_status(tmp_path: Path, commands: list[str], expected: int) -> None:
    status, _ = once(tmp_path, "".join(f"30 2 * * * {command}\n" for command in commands))
    assert status == expected


def test_a_time_out(tmp_path: Path) -> None:
    assert once(tmp_path, "CRON_TIMEOUT=1s 30 2 * * * exec sleep 60\n")[0] == 124


def test_nothing_is_due(tmp_path: Path) -> None:
    status, log = once(tmp_path, "31 2 * * * false\n")
    assert (status, of(log, "once")[0]["due"]) == (0, 0)


def test_a_retry_may_still_succeed(tmp_path: Path) -> None:
    """Also where retries are limited in time: that counts from now."""
    settings = "CRON_RETRIES=2 CRON_RETRY_DELAY=1s CRON_RETRY_JITTER=0 CRON_RETRY_UNTIL=10m"
    status, log = once(tmp_path, f'{settings} 30 2 * * * [ "$CRON_ATTEMPT" = 2 ]\n')
    assert status == 0
    assert [line["outcome"] for line in of(log, "attempt_ended")] == ["failed", "succeeded"]


def test_a_failure_hook_is_waited_for(tmp_path: Path) -> None:
    told = tmp_path / "told"
    hook = tmp_path / "hook"
    hook.write_text(f"#!/bin/sh\nsleep 0.3; touch {told}\n")
    hook.chmod(0o755)
    assert once(tmp_path, f"CRON_ON_FAILURE={hook} 30 2 * * * exit 6\n")[0] == 6
    assert told.exists()


def test_what_is_due_after_others(tmp_path: Path) -> None:
    """Also in a minute that is still to come, and when it runs again on a state directory."""
    table = (
        "CRON_NAME=second @after first echo second $CRON_FIRE_TIME\n"
        "CRON_NAME=first 30 2 * * * sleep 0.3; echo first\n"
        "CRON_NAME=fails 30 2 * * * exit 4\n"
        "CRON_NAME=never @after fails,first true\n"
    )
    for minute in (HALF_PAST_TWO, "2099-01-01T02:30:00Z", "2099-01-01T02:30:00Z"):
        state = str(tmp_path / "state")
        status, log = once(tmp_path, table, "--state-dir", state, minute=minute)
        assert [line["line"] for line in of(log, "output")] == ["first", f"second {minute}"]
        assert [line["job"] for line in of(log, "run_given_up")] == ["never"]
        assert status == 4


def test_on_a_state_directory_it_runs_again_each_time(tmp_path: Path) -> None:
    """It is on record, and no daemon that follows the clock misses a fire time by it."""
    state = ("--state-dir", str(tmp_path / "state"))
    yesterday = datetime.now(UTC).date() - timedelta(days=1)
    minute = f"{yesterday}T02:30:00Z"
    for status in (5, 5):
        ended, _ = once(tmp_path, "CRON_NAME=x 30 2 * * * exit 5\n", *state, minute=minute)
        assert ended == status
    listed = run("pycron", *state, "status")
    assert listed.returncode == 1
    daemon = RunningDaemon(["--foreground", "--table", tmp_path / "table", *state],
                           tmp_path / "log")  # fmt: skip
    try:
        daemon.wait_until_ready()
        rows = [json.loads(r) for r in run("pycron", *state, "runs", "--json").stdout.splitlines()]
    finally:
        daemon.stop()
    assert [row["fire_time"] for row in rows] == [minute] * 2
    assert len({row["run_id"] for row in rows}) == 2


def test_a_signal_leaves_the_rest_and_the_status_says_so(tmp_path: Path) -> None:
    table = tmp_path / "table"
    table.write_text("CRON_NAME=again CRON_RETRIES=1 CRON_RETRY_DELAY=1h 30 2 * * * exit 1\n")
    arguments: list[str | Path] = ["--foreground", "--once", HALF_PAST_TWO, "--table", table]
    daemon = RunningDaemon(arguments, tmp_path / "log", env={**os.environ, "TZ": "UTC"})
    daemon.wait_for("retry_planned")
    daemon.signal(signal.SIGTERM)
    assert daemon.wait() == 1


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--once", "now"], "--once needs --foreground"),
        (["--foreground", "--table", "/none", "--once", "soon"], 'bad time: "soon"'),
    ],
)
def test_wrong_use(arguments: list[str], reason: str) -> None:
    refused = run("pycrond", *arguments)
    assert refused.returncode == 2
    assert reason in refused.stderr
