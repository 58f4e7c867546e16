"""Limits, policies, and CRON_ON_FAILURE, with real commands."""

import os
import random
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.support.operated_daemon import operated_daemon, waiting_for_gate
from tests.support.running_daemon import alive
from tests.support.thoroughness import slow_after
from tests.support.waiting import until

NEVER = "@yearly"  # of the Jobs that are started by hand
POOLS = "[pools]\ndb = 2\n"


def most_at_once(notes: Path) -> int:
    """The highest number of commands that ran at the same time, by their notes."""
    running = most = 0
    for note in notes.read_text().split():
        running += 1 if note == "start" else -1
        most = max(most, running)
    return most


# ---- limits


@pytest.mark.parametrize(
    ("settings", "config"),
    slow_after(
        1,
        [
            ("", "[limits]\nrunning = 2\n"),
            ("", "[limits]\nuser_running = 2\n"),
            ("CRON_POOL=db", POOLS),
        ],
    ),
    ids=["running", "user_running", "pool"],
)
def test_never_more_at_once_than_the_limit(tmp_path: Path, settings: str, config: str) -> None:
    """The limit is reached, too, and a restart of the daemon counts the running commands."""
    notes = tmp_path / "notes"
    command = f"echo start >> {notes}; sleep 0.4; echo end >> {notes}"
    table = "".join(f"CRON_NAME=j{n} {settings} @every 1s {command}\n" for n in range(6))
    with operated_daemon(tmp_path, table, config) as op:
        op.daemon.wait_for("attempt_ended", count=12)
        op.kill_daemon()
        ended = len(op.daemon.log("attempt_ended"))
        op.daemon.wait_for("attempt_ended", count=ended + 8)
        assert most_at_once(notes) == 2


@pytest.mark.slow
def test_never_more_of_a_job_at_once_than_its_limit(tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    command = f"echo start >> {notes}; sleep 2.5; echo end >> {notes}"
    table = f"CRON_NAME=slow CRON_MAX_RUNNING=2 @every 1s {command}\n"
    with operated_daemon(tmp_path, table) as op:
        op.daemon.wait_for("attempt_ended", count=4)
        assert most_at_once(notes) == 2
        assert op.row("top")["waiting"][0]["why"] == "as many of this job run as may (2)"


@pytest.mark.slow
def test_a_command_whose_entry_was_removed_still_counts(tmp_path: Path) -> None:
    """The entry is removed while no daemon runs."""
    gone = (
        f"CRON_NAME=gone CRON_POOL=db CRON_RETRIES=1 {NEVER} {waiting_for_gate(tmp_path)}; exit 3\n"
    )
    with operated_daemon(tmp_path, gone, "[pools]\ndb = 1\n") as op:
        run_id = op.start("gone")
        op.daemon.wait_for("attempt_started", job="gone")
        op.daemon.kill()
        (tmp_path / "table").write_text(f"CRON_NAME=next CRON_POOL=db {NEVER} true\n")
        op.kill_daemon()
        waits = op.row("start", "next")
        assert (waits["state"], waits["why"]) == ("queued", "pools.db is 1")
        op.open_gate()
        op.daemon.wait_for("attempt_ended", job="next", outcome="succeeded")
        assert [row["run_id"] for row in op.rows("dead", "list")] == [run_id]


def test_the_starts_of_a_second_are_limited(tmp_path: Path) -> None:
    """Four Jobs are due at once: one begins at once, the others a second apart."""
    table = "".join(f"CRON_NAME=j{n} @reboot true\n" for n in range(4))
    with operated_daemon(tmp_path, table, "[limits]\nstarts_per_second = 1\n") as op:
        op.daemon.wait_for("attempt_ended", count=4)
        assert {row["outcome"] for row in op.rows("runs")} <= {"succeeded", None}
        lateness = sorted(line["lateness_ms"] for line in op.daemon.log("attempt_started")[:4])
        assert all(lateness[n] >= 1000 * n - 1000 for n in range(4)), lateness


def test_the_highest_priority_goes_first(tmp_path: Path) -> None:
    table = f"CRON_NAME=long {NEVER} {waiting_for_gate(tmp_path)}\n" + "".join(
        f"CRON_NAME=p{number} CRON_PRIORITY={number} {NEVER} true\n" for number in (-5, 0, 7)
    )
    with operated_daemon(tmp_path, table.replace("p-5", "low"), "[limits]\nrunning = 1\n") as op:
        op.start("long")
        for job in ("low", "p0", "p7"):
            assert op.row("start", job)["state"] == "queued"
        op.open_gate()
        op.daemon.wait_for("attempt_started", count=4)
        begun = [line["job"] for line in op.daemon.log("attempt_started")]
        assert begun == ["long", "p7", "p0", "low"]


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_users_take_turns(tmp_path: Path) -> None:
    """Three Runs of one user came first, and still one of another user begins in between."""
    jobs = [("n1", "nobody"), ("n2", "nobody"), ("n3", "nobody"), ("d1", "daemon")]
    table = f"CRON_NAME=long {NEVER} root {waiting_for_gate(tmp_path)}\n" + "".join(
        f"CRON_NAME={name} {NEVER} {user} true\n" for name, user in jobs
    )
    with operated_daemon(tmp_path, table, "[limits]\nrunning = 1\n", system=True) as op:
        op.start("long")
        for name, _ in jobs:
            assert op.row("start", name)["state"] == "queued"
        op.open_gate()
        op.daemon.wait_for("attempt_started", count=5)
        begun = [line["job"] for line in op.daemon.log("attempt_started")]
        assert begun == ["long", "n1", "d1", "n2", "n3"]


def test_a_run_in_the_queue_waits_across_a_crash(tmp_path: Path) -> None:
    table = f"CRON_NAME=long {NEVER} {waiting_for_gate(tmp_path)}\nCRON_NAME=next {NEVER} true\n"
    with operated_daemon(tmp_path, table, "[limits]\nrunning = 1\n") as op:
        op.daemon.wait_for("attempt_started", run_id=op.start("long"))
        waiting = op.start("next")
        op.kill_daemon()
        until(lambda: [row["run_id"] for row in op.row("top")["waiting"]] == [waiting])
        op.open_gate()
        op.daemon.wait_for("attempt_ended", run_id=waiting, outcome="succeeded")


def test_a_run_that_waits_too_long_is_missed(tmp_path: Path) -> None:
    table = (
        f"CRON_NAME=long {NEVER} {waiting_for_gate(tmp_path)}\n"
        f"CRON_NAME=late CRON_START_DEADLINE=1s {NEVER} true\n"
    )
    with operated_daemon(tmp_path, table, "[limits]\nrunning = 1\n") as op:
        op.start("long")
        late = op.start("late")
        op.daemon.wait_for("run_given_up", run_id=late, outcome="missed")
        assert "CRON_START_DEADLINE is 1" in op.row("show", late)["reason"]


def test_nothing_begins_on_a_machine_without_enough_memory(tmp_path: Path) -> None:
    table = "CRON_NAME=a CRON_CONCURRENCY=queue @every 1s true\n"
    with operated_daemon(tmp_path, table, f"[limits]\nfree_memory = {2**61}\n") as op:
        op.daemon.wait_for("run_given_up", job="a")  # one waits already
        shown = op.row("top")
        assert shown["counts"] == {"running": 0, "waiting": 1}
        assert "MiB of memory are free (limits.free_memory is" in shown["waiting"][0]["why"]
        assert op.daemon.log("attempt_started") == []


# ---- policies


@pytest.mark.parametrize("entry", slow_after(1, [
    "CRON_CONCURRENCY=forbid @every 1s", "@every 1s -s", "CRON_RETRIES=1 @every 1s",
]))  # fmt: skip
def test_a_run_is_forbidden_beside_another(tmp_path: Path, entry: str) -> None:
    with operated_daemon(tmp_path, f"CRON_NAME=alone {entry} {waiting_for_gate(tmp_path)}\n") as op:
        first = op.daemon.wait_for("attempt_started", job="alone")
        skipped = op.daemon.wait_for("run_given_up", job="alone", count=2)
        assert skipped["outcome"] == "skipped"
        assert skipped["reason"] == "an earlier run still runs (CRON_CONCURRENCY=forbid)"
        assert len(op.daemon.log("attempt_started")) == 1
        op.open_gate()
        op.daemon.wait_for("attempt_ended", run_id=first["run_id"])
        op.daemon.wait_for("attempt_started", count=2)


def test_one_run_waits_in_the_queue(tmp_path: Path) -> None:
    table = f"CRON_NAME=one CRON_CONCURRENCY=queue @every 1s {waiting_for_gate(tmp_path)}\n"
    with operated_daemon(tmp_path, table) as op:
        skipped = op.daemon.wait_for("run_given_up", job="one", count=2)
        assert skipped["reason"] == "one waits already (CRON_CONCURRENCY=queue)"
        (waiting,) = op.row("top")["waiting"]
        op.row("pause", "one")  # what is due from now on
        op.open_gate()
        op.daemon.wait_for("attempt_ended", count=1)
        op.row("resume", "one")
        op.daemon.wait_for("attempt_ended", run_id=waiting["run_id"], outcome="succeeded")


def test_a_run_replaces_another(tmp_path: Path) -> None:
    """All processes of the old Run end, and then the new Run begins."""
    pids = tmp_path / "pids"
    command = f"sleep 600 & echo $! >> {pids}; wait"
    table = f"CRON_NAME=fresh CRON_CONCURRENCY=replace @every 2s {command}\n"
    with operated_daemon(tmp_path, table) as op:
        stopped = op.daemon.wait_for("attempt_stopped", job="fresh")
        assert stopped["reason"] == "replaced by the next fire time"
        op.daemon.wait_for("attempt_ended", run_id=stopped["run_id"], outcome="cancelled")
        second = op.daemon.wait_for("attempt_started", job="fresh", count=2)
        old = int(pids.read_text().split()[0])
        until(lambda: not alive(old))
        op.row("pause", "fresh")
        op.rows("kill", "fresh")
        op.daemon.wait_for("attempt_ended", run_id=second["run_id"], outcome="cancelled")


# ---- CRON_ON_FAILURE

TELL = "env | grep ^CRON_ | sort"


def test_a_failure_hook_gets_the_facts_in_variables(tmp_path: Path) -> None:
    niceness = os.nice(0) + 3  # not below that of the tests: only root may lower it
    settings = f"CRON_RETRIES=1 CRON_RETRY_DELAY=1s CRON_RETRY_JITTER=0 CRON_NICE={niceness}"
    table = f"CRON_ON_FAILURE='{TELL}; nice'\nCRON_NAME=bad {settings} {NEVER} exit 3\n"
    with operated_daemon(tmp_path, table) as op:
        run_id = op.start("bad")
        op.daemon.wait_for("attempt_ended", job="bad", attempt=2)
        told = op.daemon.wait_for("attempt_ended", job="bad:on-failure")
        assert (told["outcome"], told["attempt"]) == ("succeeded", 1)
        assert told["fire_time"] == op.row("show", run_id)["fire_time"]
        *variables, nice = op.run("log", told["run_id"]).stdout.splitlines()
        assert dict(line.split("=", 1) for line in variables) == {
            "CRON_ATTEMPT": "1",
            "CRON_EXIT_STATUS": "3",
            "CRON_FAILED_JOB": "bad",
            "CRON_FAILED_RUN_ID": run_id,
            "CRON_FIRE_TIME": told["fire_time"],
            "CRON_JOB": "bad:on-failure",
            "CRON_OUTCOME": "failed",
            "CRON_RUN_ID": told["run_id"],
        }
        assert int(nice) == niceness
        assert len(op.runs("bad:on-failure")) == 1


@pytest.mark.slow
def test_no_failure_hook_runs_after_a_successful_retry(tmp_path: Path) -> None:
    settings = "CRON_RETRIES=1 CRON_RETRY_DELAY=1s CRON_ON_FAILURE=true"
    table = f"CRON_NAME=twice {settings} {NEVER} [ $CRON_ATTEMPT = 2 ]\n"
    with operated_daemon(tmp_path, table) as op:
        run_id = op.start("twice")
        op.daemon.wait_for("attempt_ended", run_id=run_id, attempt=2, outcome="succeeded")
        assert op.row("top")["counts"] == {"running": 0, "waiting": 0}
        assert len(op.rows("runs")) == 1


def test_the_failure_hook_runs_if_the_next_fire_time_ends_the_retries(tmp_path: Path) -> None:
    tell = "echo $CRON_FAILED_RUN_ID $CRON_EXIT_STATUS"
    settings = f"CRON_RETRIES=1 CRON_RETRY_DELAY=1h CRON_ON_FAILURE='{tell}'"
    with operated_daemon(tmp_path, f"CRON_NAME=bad {settings} @every 2s exit 3\n") as op:
        given_up = op.daemon.wait_for("run_given_up", job="bad", outcome="failed")
        told = op.daemon.wait_for("attempt_ended", job="bad:on-failure")
        assert op.run("log", told["run_id"]).stdout == f"{given_up['run_id']} 3\n"


@pytest.mark.slow
def test_the_failure_hook_runs_if_the_entry_was_removed_before_the_retry(tmp_path: Path) -> None:
    """The daemon that starts the hook has never read the entry."""
    settings = "CRON_RETRIES=1 CRON_RETRY_DELAY=1h CRON_ON_FAILURE='echo $CRON_EXIT_STATUS'"
    with operated_daemon(tmp_path, f"CRON_NAME=bad {settings} {NEVER} exit 3\n") as op:
        op.start("bad")
        op.daemon.wait_for("retry_planned", job="bad")
        op.kill_daemon()
        (tmp_path / "table").write_text(f"{NEVER} another\n")
        told = op.daemon.wait_for("attempt_ended", job="bad:on-failure")
        assert op.run("log", told["run_id"]).stdout == "3\n"


@pytest.mark.slow
def test_a_failed_failure_hook_starts_no_further_hook(tmp_path: Path) -> None:
    table = f"CRON_NAME=bad CRON_ON_FAILURE='exit 4' {NEVER} exit 3\n"
    with operated_daemon(tmp_path, table) as op:
        op.start("bad")
        told = op.daemon.wait_for("attempt_ended", job="bad:on-failure")
        assert told["exit_status"] == 4
        assert op.row("top")["counts"] == {"running": 0, "waiting": 0}
        assert [row["job"] for row in op.rows("runs")] == ["bad"]
        assert [row["job"] for row in op.rows("runs", "--deliveries")] == ["bad:on-failure"]


@pytest.mark.slow
def test_each_failure_hook_runs_once_although_the_daemon_is_killed(tmp_path: Path) -> None:
    marks = tmp_path / "marks"
    tell = f"echo $CRON_FAILED_RUN_ID >> {marks}"
    table = f"CRON_NAME=bad CRON_ON_FAILURE='{tell}' @every 1s exit 3\n"
    chance = random.Random("told once")
    with operated_daemon(tmp_path, table) as op:
        op.daemon.wait_for("attempt_ended", job="bad:on-failure")
        for _ in range(8):
            time.sleep(chance.uniform(0.02, 1.0))  # a random moment is the point
            op.kill_daemon()
        op.row("pause", "bad")
        until(lambda: op.row("top")["counts"] == {"running": 0, "waiting": 0}, patience=30)
        bad = [row["run_id"] for row in op.runs("bad") if row["outcome"] in ("failed", "lost")]
        assert len(bad) > 3
        assert Counter(marks.read_text().split()) == Counter(bad)
        assert not op.daemon.log("store_failed")


@pytest.mark.slow
def test_a_dead_letter_that_fails_again_starts_no_second_hook(tmp_path: Path) -> None:
    """The hook has run for this Run; a second one would have the same identity."""
    marks = tmp_path / "marks"
    settings = "CRON_RETRIES=1 CRON_RETRY_DELAY=1s"
    tell = f"echo $CRON_FAILED_RUN_ID >> {marks}"
    table = f"CRON_NAME=bad {settings} CRON_ON_FAILURE='{tell}' {NEVER} exit 3\n"
    with operated_daemon(tmp_path, table) as op:
        run_id = op.start("bad")
        op.daemon.wait_for("attempt_ended", job="bad:on-failure")
        op.rows("dead", "redrive", run_id)
        op.daemon.wait_for("attempt_ended", run_id=run_id, attempt=4)
        until(lambda: op.row("top")["counts"] == {"running": 0, "waiting": 0})
        assert marks.read_text() == f"{run_id}\n"
        assert not op.daemon.log("store_failed")


@pytest.mark.slow
def test_the_dead_letters_of_a_job_are_redriven_and_dropped_by_its_name(tmp_path: Path) -> None:
    table = (
        f"CRON_NAME=flaky CRON_RETRIES=1 CRON_RETRY_DELAY=1s @yearly test -e {tmp_path}/cured\n"
        "CRON_NAME=other CRON_RETRIES=1 CRON_RETRY_DELAY=1s @yearly false\n"
    )
    with operated_daemon(tmp_path, table) as op:
        runs = [op.start("flaky"), op.start("other")]
        until(lambda: {row["run_id"] for row in op.rows("dead", "list")} == set(runs))
        runs.append(op.start("flaky"))
        until(lambda: {row["run_id"] for row in op.rows("dead", "list")} == set(runs))
        (tmp_path / "cured").touch()
        redriven = op.rows("dead", "redrive", "flaky")
        assert [row["run_id"] for row in redriven] == [runs[0], runs[2]]
        until(lambda: op.row("show", runs[2])["outcome"] == "succeeded")
        assert [row["run_id"] for row in op.rows("dead", "drop", "other")] == [runs[1]]
        refusal = op.refusal("dead", "redrive", "flaky")
        assert refusal == "flaky: no dead letters (pycron dead list)"


@pytest.mark.slow
def test_a_redriven_run_and_its_hook_are_found_by_the_next_daemon(tmp_path: Path) -> None:
    settings = f"CRON_RETRIES=1 CRON_RETRY_DELAY=1s CRON_ON_FAILURE='{waiting_for_gate(tmp_path)}'"
    command = f"[ $CRON_ATTEMPT -lt 3 ] && exit 3; {waiting_for_gate(tmp_path)}"
    with operated_daemon(tmp_path, f"CRON_NAME=bad {settings} {NEVER} {command}\n") as op:
        run_id = op.start("bad")
        hook = op.daemon.wait_for("attempt_started", job="bad:on-failure")
        op.rows("dead", "redrive", run_id)
        op.daemon.wait_for("attempt_started", run_id=run_id, attempt=3)
        op.kill_daemon()
        op.open_gate()
        op.daemon.wait_for("attempt_ended", run_id=run_id, outcome="succeeded")
        op.daemon.wait_for("attempt_ended", run_id=hook["run_id"], outcome="succeeded")
