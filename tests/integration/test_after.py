"""`@after` in a real daemon, which is killed while a command runs that another one waits for."""

import json
from pathlib import Path
from typing import Any

from tests.support.running_daemon import foreground, run
from tests.support.waiting import until

TABLE = (
    "CRON_NAME=first CRON_CONCURRENCY=forbid @every 3s sleep 1\n"
    "CRON_NAME=then @after first echo $CRON_FIRE_TIME >> {log}\n"
)


def runs(state: Path, *more: str) -> list[dict[str, Any]]:
    done = run("pycron", "--state-dir", state, "runs", "--json", "--limit", "500", *more)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_each_success_has_its_follower_once_although_the_daemon_is_killed(tmp_path: Path) -> None:
    log, state = tmp_path / "log.txt", tmp_path / "state"
    log.touch()
    table = TABLE.format(log=log)
    for _ in range(3):
        with foreground(table, tmp_path) as daemon:
            daemon.wait_for("attempt_started", job="first")
            daemon.kill()
    with foreground(table, tmp_path):
        ran = len(log.read_text().split())
        until(lambda: len(log.read_text().split()) > ran + 1)
        found = runs(state)
    fires = log.read_text().split()
    assert len(fires) == len(set(fires)), "a follower ran twice"
    succeeded = {row["fire_time"] for row in found
                 if row["job"] == "first" and row["outcome"] == "succeeded"}  # fmt: skip
    followed = {row["fire_time"] for row in found if row["job"] == "then"}
    assert succeeded <= followed
    assert succeeded


def test_why_names_the_job_that_failed_and_a_redrive_takes_the_run_up(tmp_path: Path) -> None:
    flag, state = tmp_path / "flag", tmp_path / "state"
    table = (
        f"CRON_NAME=a CRON_RETRIES=1 CRON_RETRY_DELAY=1s @reboot test -e {flag}\n"
        "CRON_NAME=b @after a true\nCRON_NAME=c @after b true\n"
    )

    def outcomes() -> dict[str, str | None]:
        return {row["job"]: row["outcome"] for row in runs(state)}

    with foreground(table, tmp_path):
        until(lambda: outcomes() == {"a": "failed", "b": "skipped", "c": "skipped"})
        reasons = {row["job"]: row["reason"] for row in runs(state)}
        assert (reasons["b"], reasons["c"]) == ("a failed", "b was skipped")
        flag.touch()
        (dead,) = [row for row in runs(state) if row["job"] == "a"]
        done = run("pycron", "--state-dir", state, "dead", "redrive", dead["run_id"])
        assert done.returncode == 0, done.stderr
        until(lambda: outcomes() == dict.fromkeys("abc", "succeeded"))
