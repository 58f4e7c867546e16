"""start, kill, pause, resume, top and log -f, and which user may do what."""

import base64
import json
import os
import pty
import re
import signal
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from pycron.config import Config
from pycron.control.access import Access, Refusal, user_of
from pycron.control.client import ControlClient, ControlError
from pycron.control.context import Context
from pycron.control.pauses import pause
from pycron.control.server import Peer
from pycron.crontab.reader import ReaderContext, parse
from pycron.engine.cursor import Cursor
from pycron.engine.engine import Engine
from pycron.engine.events import Now, TableLoaded
from pycron.model.job import Source
from pycron.protocol.control_messages import PauseRequest
from pycron.schedule.zone import UTC
from pycron.system import paths
from tests.support.isolated_system import IsolatedSystem, isolated_system
from tests.support.operated_daemon import (
    OWN_NAME,
    OperatedDaemon,
    Row,
    operated_daemon,
    waiting_for_gate,
)
from tests.support.running_daemon import RunningDaemon, alive, program
from tests.support.thoroughness import slow_after
from tests.support.user_accounts import USERS, member_of
from tests.support.waiting import until

NEVER = "@yearly"  # of the Jobs that are started by hand


def outcome_of(operator: OperatedDaemon, run_id: str) -> tuple[str | None, str | None]:
    row = operator.row("show", run_id)
    return row["outcome"], row["reason"]


# ---- requests that pycron(1) does not send


@pytest.mark.parametrize(
    ("verb", "arguments", "said"),
    [
        ("pause", {"scope": "job", "job": "idle", "seconds": 2**61}, "bad seconds"),
        ("pause", {"scope": "job", "job": ["idle"]}, "bad job"),
        ("pause", {"scope": "job", "job": "idle", "reason": "\ud800"}, "bad reason"),
        ("kill", {"run_id": "idle", "kill_after": 2**61}, "bad kill_after"),
        ("start", {"job": "\ud800"}, "bad job"),
        ("runs", {"job": "\ud800"}, "bad job"),
        ("runs", {"user": ["root"]}, "bad user"),
    ],
)
def test_bad_requests_are_refused(
    paused_by_nobody: OperatedDaemon, verb: str, arguments: dict[str, object], said: str
) -> None:
    socket = paused_by_nobody.state / "pycron.sock"
    with closing(ControlClient(socket)) as client, pytest.raises(ControlError, match=f"^{said}"):
        client.ask(verb, **arguments)
    assert not paused_by_nobody.daemon.log("request_broken")
    assert paused_by_nobody.rows("pause") == []


def test_a_uid_without_a_name_is_not_the_user_whose_name_is_that_number() -> None:
    nobody = Peer(os.getpid(), 2**31 - 7, 2**31 - 7)
    rights = Access(Config, print)
    assert not rights.sight(nobody)(str(2**31 - 7))
    assert user_of(nobody) == f"#{2**31 - 7}"


def test_a_user_may_have_a_limited_number_of_pauses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pycron.control.pauses._MOST_PAUSES", 2)
    table = parse("CRON_NAME=a @daily x\nCRON_NAME=b @daily y\nCRON_NAME=c @daily z\n",
                  Source(OWN_NAME, OWN_NAME), ReaderContext())  # fmt: skip
    engine = Engine(lambda _: UTC, Cursor(0, 0))
    engine.handle(TableLoaded(table), Now(0, 0))
    unused: Any = None
    context = Context(
        engine=engine,
        history=unused,
        recorder=unused,
        tables=unused,
        user_tables=None,
        config=Config,
        output=tmp_path,
        access=Access(Config, print),
        feed=lambda event: engine.handle(event, Now(0, 0)),
        log=print,
        info=unused,
        reload=unused,
        runner_reads=unused,
    )
    me = Peer(os.getpid(), os.geteuid(), os.getegid())
    for job in ("a", "b", "a"):
        pause(context, me, PauseRequest(scope="job", job=job))
    with pytest.raises(Refusal, match="has 2 pauses: resume some first"):
        pause(context, me, PauseRequest(scope="job", job="c"))
    assert len(engine.pauses) == 2


def test_a_request_is_recorded_before_it_is_answered(tmp_path: Path) -> None:
    with operated_daemon(tmp_path, f"CRON_NAME=idle {NEVER} true\n") as op:
        with closing(ControlClient(op.state / "pycron.sock")) as client:
            started = client.ask("start", job="idle")
            op.kill_daemon()
        assert [row["run_id"] for row in op.runs("idle")] == [started["run_id"]]
        with closing(ControlClient(op.state / "pycron.sock")) as client:
            client.ask("pause", scope="all")
            op.kill_daemon()
        assert [row["what"] for row in op.rows("pause")] == ["all"]


@pytest.mark.slow
def test_a_job_keeps_its_history_when_its_table_changes_around_it(tmp_path: Path) -> None:
    """Two equal lines are two Jobs; a name is another one."""
    twins = f"{NEVER} true\n{NEVER} true\n"
    with operated_daemon(tmp_path, twins) as op:
        names = [row["job"] for row in op.rows("list")]
        first, second = names
        before = {name: op.start(name) for name in names}
        for run_id in before.values():
            op.daemon.wait_for("attempt_ended", run_id=run_id)
        (tmp_path / "table").write_text(f"# moved\nCRON_PRIORITY=7\n@hourly x\n{twins}")
        op.daemon.wait_for("table_loaded", count=2)
        assert [row["job"] for row in op.rows("list")][1:] == names
        assert [row["run_id"] for row in op.runs(first)] == [before[first]]
        again = op.start(second)
        assert [row["run_id"] for row in op.runs(second)] == [before[second], again]
        (tmp_path / "table").write_text(f"CRON_NAME=named {NEVER} true\n{NEVER} true\n")
        op.daemon.wait_for("table_loaded", count=3)
        assert [row["job"] for row in op.rows("list")] == ["named", "true"]  # no twin any more
        assert op.runs("named") == []
        assert len(op.runs("true")) == len(op.runs(second)) == 2  # the name on record is found, too


def test_output_is_read_from_the_requested_offset(tmp_path: Path) -> None:
    table = (
        f"CRON_NAME=short {NEVER} echo 0123456789\n"
        f"CRON_NAME=long {NEVER} seq 1000; echo 0123456789\n"
    )
    with operated_daemon(tmp_path, table) as op:
        for job, length in (("short", 11), ("long", 3904)):
            run_id = op.start(job)
            op.daemon.wait_for("attempt_ended", run_id=run_id)
            with closing(ControlClient(op.state / "pycron.sock")) as client:
                for offset, rest in ((length - 4, b"789\n"), (length, b""), (2**62 - 1, b"")):
                    answer = client.ask("output", run_id=run_id, offset=offset)
                    assert base64.b64decode(answer["data"]) == rest
                    assert answer["ended"]
        assert not op.daemon.log("request_broken")


@pytest.mark.slow
def test_reboot_jobs_in_the_foreground_were_due_when_the_daemon_started(tmp_path: Path) -> None:
    with operated_daemon(tmp_path, "CRON_NAME=boot @reboot true\n") as op:
        since = op.row("status")["since"]
        assert f"The last such start was at {since}." in op.row("why", "boot", "now")["notes"]


# ---- log -f


@pytest.mark.slow
def test_a_run_is_followed_over_its_retries(tmp_path: Path) -> None:
    settings = "CRON_NAME=twice CRON_RETRIES=1 CRON_RETRY_DELAY=1s CRON_RETRY_UNTIL=never"
    command = (
        f"echo begin $CRON_ATTEMPT; {waiting_for_gate(tmp_path)}; echo end; [ $CRON_ATTEMPT = 2 ]"
    )
    with operated_daemon(tmp_path, f"{settings} {NEVER} {command}\n") as op:
        run_id = op.start("twice")
        followed = op.begin("log", "-f", "twice")
        assert followed.stdout
        assert followed.stdout.readline() == "begin 1\n"
        op.open_gate()
        shown, said = followed.communicate(timeout=30)
        assert shown == "end\nbegin 2\nend\n"
        first, waits = said.splitlines()
        assert first == "pycron: attempt 1: failed"
        assert waits.startswith("pycron: it waits: attempt 2 is due at 20")
        assert followed.returncode == 0
        assert op.row("show", run_id)["outcome"] == "succeeded"
        only = op.run("log", "-f", "--attempt", "1", run_id)
        assert (only.stdout, only.stderr) == ("begin 1\nend\n", "")
        assert op.refusal("log", "-f", "--attempt", "3", run_id) == f"{run_id} has 2 attempts"


@pytest.mark.slow
def test_log_waits_for_a_run_that_has_not_started(tmp_path: Path) -> None:
    table = (
        f"CRON_NAME=long {NEVER} {waiting_for_gate(tmp_path)}\n"
        f"CRON_NAME=next {NEVER} echo its turn\n"
        f"CRON_NAME=never {NEVER} true\n"
    )
    with operated_daemon(tmp_path, table, "[limits]\nrunning = 1\n") as op:
        op.start("long")
        run_ids = op.start("next"), op.start("never")
        assert op.refusal("log", run_ids[0]) == f"{run_ids[0]} has 0 attempts"
        next_one, never = (op.begin("log", "-f", run_id) for run_id in run_ids)
        for followed in (next_one, never):
            assert followed.stderr
            assert followed.stderr.readline() == "pycron: it waits: limits.running is 1\n"
        op.run("kill", "never")
        assert never.communicate(timeout=30) == ("", f"pycron: {run_ids[1]} has 0 attempts\n")
        op.open_gate()
        assert next_one.communicate(timeout=30) == ("its turn\n", "")
        assert (next_one.returncode, never.returncode) == (0, 1)


@pytest.mark.slow
def test_a_run_that_is_given_up_before_its_retry_is_followed_to_its_end(tmp_path: Path) -> None:
    settings = "CRON_NAME=once CRON_RETRIES=1 CRON_RETRY_DELAY=1h CRON_RETRY_UNTIL=never"
    with operated_daemon(tmp_path, f"{settings} {NEVER} echo once; exit 1\n") as op:
        followed = op.begin("log", "-f", op.start("once"))
        assert followed.stderr
        assert followed.stderr.readline() == "pycron: attempt 1: failed\n"
        op.run("kill", "once")
        shown, _ = followed.communicate(timeout=30)
        assert (shown, followed.returncode) == ("once\n", 0)


# ---- start


def test_a_job_is_started_by_hand(tmp_path: Path) -> None:
    """The Run is recorded like any other, with the user who started it."""
    table = f"CRON_NAME=now {NEVER} echo now\nCRON_NAME=timed @every 1s true\n"
    with operated_daemon(tmp_path, table) as op:
        started = op.row("start", "now")
        assert (started["state"], started["why"]) == ("recorded", None)
        again = op.start("now")
        assert again != started["run_id"]
        for run_id in (again, started["run_id"]):
            op.daemon.wait_for("attempt_ended", run_id=run_id, outcome="succeeded")
            assert op.row("show", run_id)["started_by"] == OWN_NAME
            assert op.run("log", run_id).stdout == "now\n"
            op.daemon.wait_for("run_by_hand", run_id=run_id, by=OWN_NAME, force=False)
        op.daemon.wait_for("attempt_ended", job="timed")
        assert {row["started_by"] for row in op.runs("timed")} == {None}
        plain = op.run("start", "now")
        assert re.fullmatch(r"\S+\n", plain.stdout)
        assert "started_by" in op.run("show", plain.stdout.strip()).stdout


def test_a_run_is_shown_with_the_end_of_its_output(tmp_path: Path) -> None:
    """Control characters in the output are escaped."""
    table = (
        f"CRON_NAME=many {NEVER} seq 30; printf 'a\\033[2Jb\\377'\nCRON_NAME=silent {NEVER} true\n"
    )
    with operated_daemon(tmp_path, table) as op:
        runs = {name: op.start(name) for name in ("many", "silent")}
        for run_id in runs.values():
            op.daemon.wait_for("attempt_ended", run_id=run_id)
        _, _, output = op.run("show", runs["many"]).stdout.partition("\n\noutput of attempt 1")
        title, *lines = output.splitlines()
        assert title == ", the last 20 of 31 lines:"
        assert lines == [*(f"  {number}" for number in range(12, 31)), "  a\\x1b[2Jb\\xff"]
        assert "output of" not in op.run("show", runs["silent"]).stdout


def test_a_start_is_refused(tmp_path: Path) -> None:
    table = f"CRON_NAME=alone CRON_CONCURRENCY=forbid {NEVER} {waiting_for_gate(tmp_path)}\n"
    with operated_daemon(tmp_path, table) as op:
        assert op.refusal("start", "nobody") == 'no such job: "nobody" (pycron list)'
        first = op.start("alone")
        op.daemon.wait_for("attempt_started", run_id=first)
        said = op.refusal("start", "alone")
        assert said == "alone: skipped: an earlier run still runs (CRON_CONCURRENCY=forbid)"
        assert [row["outcome"] for row in op.runs("alone")] == [None, "skipped"]
        forced = op.start("alone", "--force")
        op.daemon.wait_for("attempt_started", run_id=forced)
        op.daemon.wait_for("run_by_hand", run_id=forced, force=True)
        op.open_gate()
        for run_id in (first, forced):
            op.daemon.wait_for("attempt_ended", run_id=run_id, outcome="succeeded")


def test_a_paused_job_is_started_by_force_only(tmp_path: Path) -> None:
    with operated_daemon(tmp_path, f"CRON_NAME=still {NEVER} true\n") as op:
        op.row("pause", "still", "--reason", "no time")
        assert op.refusal("start", "still") == f"still: skipped: paused by {OWN_NAME}: no time"
        forced = op.start("still", "--force")
        op.daemon.wait_for("attempt_ended", run_id=forced, outcome="succeeded")


@pytest.mark.slow
def test_a_name_that_two_jobs_have(tmp_path: Path) -> None:
    """Two tables may have a Job of the same name; its id says which one is meant."""
    table = f"CRON_NAME=twin {NEVER} {waiting_for_gate(tmp_path)}\n"
    (tmp_path / "other").write_text(table)
    (tmp_path / "table").write_text(table)
    arguments: list[str | Path] = ["--foreground", "--state-dir", tmp_path / "state"]
    for name in ("table", "other"):
        arguments += ["--table", tmp_path / name]
    op = OperatedDaemon(tmp_path, arguments, RunningDaemon(arguments, tmp_path / "log"))
    try:
        op.daemon.wait_until_ready()
        ids = [row["id"] for row in op.rows("list")]
        for verb in ("start", "pause"):
            said = op.refusal(verb, "twin")
            assert said.startswith('several jobs are called "twin": ')
            assert all(f"{each} (" in said for each in ids)
        for each in ids:
            op.daemon.wait_for("attempt_started", run_id=op.start(each))
        assert op.refusal("kill", "twin").startswith('several jobs are called "twin": ')
        op.open_gate()
        op.daemon.wait_for("attempt_ended", job="twin", count=2, outcome="succeeded")
    finally:
        op.open_gate()
        op.daemon.stop()


@pytest.mark.slow
def test_a_start_waits_in_the_queue(tmp_path: Path) -> None:
    table = f"CRON_NAME=long {NEVER} {waiting_for_gate(tmp_path)}\nCRON_NAME=next {NEVER} true\n"
    with operated_daemon(tmp_path, table, "[limits]\nrunning = 1\n") as op:
        op.start("long")
        plain = op.run("start", "next")
        assert plain.stderr.startswith("pycron: next waits: limits.running is 1. It starts by")
        queued = op.row("start", "next")
        assert (queued["state"], queued["why"]) == ("queued", "limits.running is 1")
        op.open_gate()
        op.daemon.wait_for("attempt_ended", run_id=queued["run_id"], outcome="succeeded")


@pytest.mark.slow
def test_a_start_finds_the_queue_full(tmp_path: Path) -> None:
    table = f"CRON_NAME=long CRON_MAX_RUNNING=1 {NEVER} {waiting_for_gate(tmp_path)}\n"
    with operated_daemon(tmp_path, table, "[limits]\nwaiting = 1\n") as op:
        op.start("long")
        assert op.row("start", "long")["state"] == "queued"
        said = op.refusal("start", "long")
        assert said == "long: missed: the queue is full (limits.waiting is 1)"


# ---- kill


def test_a_run_is_killed_with_its_children(tmp_path: Path) -> None:
    """The Run is cancelled: not tried again, no dead letter, and its failure hook does not run."""
    pids = tmp_path / "pids"
    command = f"(sleep 600 & echo $! >> {pids}; wait) & echo $! >> {pids}; sleep 600"
    settings = "CRON_NAME=long CRON_RETRIES=3 CRON_ON_FAILURE=true"
    with operated_daemon(tmp_path, f"{settings} {NEVER} {command}\n") as op:
        run_id = op.start("long")
        shell = op.daemon.wait_for("attempt_started", run_id=run_id)["pid"]
        until(lambda: pids.exists() and len(pids.read_text().split()) == 2)
        assert op.row("kill", run_id) == {"run_id": run_id, "state": "running"}
        stopped = op.daemon.wait_for("attempt_stopped", run_id=run_id)
        assert stopped["reason"] == f"cancelled by {OWN_NAME}"
        op.daemon.wait_for("attempt_ended", run_id=run_id, outcome="cancelled")
        until(lambda: not any(map(alive, [shell, *map(int, pids.read_text().split())])))
        assert outcome_of(op, run_id) == ("cancelled", f"cancelled by {OWN_NAME}")
        assert op.rows("dead", "list") == []
        assert not op.daemon.log("retry_planned")
        assert not op.daemon.log("attempt_started", job="long:on-failure")
        assert op.refusal("kill", run_id) == f'nothing runs or waits that is called "{run_id}"'


@pytest.mark.slow
def test_a_command_that_ignores_term_gets_kill(tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    command = f"trap '' TERM; touch {ready}; {waiting_for_gate(tmp_path)}"
    with operated_daemon(tmp_path, f"CRON_NAME=deaf CRON_KILL_AFTER=1h {NEVER} {command}\n") as op:
        run_id = op.start("deaf")
        until(ready.exists)
        op.rows("kill", "deaf", "--kill-after", "1s")
        ended = op.daemon.wait_for("attempt_ended", run_id=run_id, outcome="cancelled")
        assert ended["signal"] == signal.SIGKILL


def test_all_runs_of_a_job_are_killed(tmp_path: Path) -> None:
    table = (
        f"CRON_NAME=many {NEVER} exec sleep 600\n"
        f"CRON_NAME=other {NEVER} {waiting_for_gate(tmp_path)}\n"
    )
    with operated_daemon(tmp_path, table) as op:
        op.start("other")
        run_ids = {op.start("many"), op.start("many")}
        for run_id in run_ids:
            op.daemon.wait_for("attempt_started", run_id=run_id)
        assert {row["run_id"] for row in op.rows("kill", "many")} == run_ids
        for run_id in run_ids:
            op.daemon.wait_for("attempt_ended", run_id=run_id, outcome="cancelled")
        assert [row["job"] for row in op.row("top")["running"]] == ["other"]


def test_a_run_that_waits_is_given_up(tmp_path: Path) -> None:
    table = f"CRON_NAME=long CRON_MAX_RUNNING=1 {NEVER} {waiting_for_gate(tmp_path)}\n"
    with operated_daemon(tmp_path, table) as op:
        op.daemon.wait_for("attempt_started", run_id=op.start("long"))
        waiting = op.start("long")
        assert op.row("kill", waiting) == {"run_id": waiting, "state": "queued"}
        op.daemon.wait_for("run_given_up", run_id=waiting, outcome="cancelled")
        assert outcome_of(op, waiting) == ("cancelled", f"cancelled by {OWN_NAME}")
        assert op.row("show", waiting)["attempts"] == 0


@pytest.mark.slow
def test_a_run_that_waits_for_its_retry_is_given_up(tmp_path: Path) -> None:
    with operated_daemon(tmp_path, f"CRON_NAME=bad CRON_RETRIES=1 {NEVER} exit 3\n") as op:
        run_id = op.start("bad")
        op.daemon.wait_for("retry_planned", run_id=run_id)
        assert op.row("kill", "bad") == {"run_id": run_id, "state": "waiting"}
        assert outcome_of(op, run_id) == ("cancelled", f"cancelled by {OWN_NAME}")
        assert op.rows("dead", "list") == []


def test_kill_finds_no_run(tmp_path: Path) -> None:
    with operated_daemon(tmp_path, f"CRON_NAME=idle {NEVER} true\n") as op:
        assert op.refusal("kill", "idle") == 'nothing runs or waits that is called "idle"'


# ---- pause, resume

POOLS = "[pools]\ndb = 5\n"
SCOPES = {
    "job tick": ["tick"],
    f"user {OWN_NAME}": ["--owner", OWN_NAME],
    "pool db": ["--pool", "db"],
    "all": ["--all"],
}


@pytest.mark.parametrize("what", slow_after(1, SCOPES))
def test_nothing_starts_in_a_pause(tmp_path: Path, what: str) -> None:
    """Fire times in the pause are recorded as skipped; those after it run again."""
    table = "CRON_NAME=tick CRON_POOL=db @every 1s true\nCRON_NAME=free @every 1s true\n"
    scope = SCOPES[what]
    with operated_daemon(tmp_path, table, POOLS) as op:
        op.daemon.wait_for("attempt_started", job="tick")
        pause = op.row("pause", *scope, "--reason", "upgrade")
        assert (pause["what"], pause["by"], pause["until"]) == (what, OWN_NAME, None)
        assert pause["reason"] == "upgrade"
        assert op.rows("pause") == [pause]
        assert op.row("status")["paused"] == 1
        op.daemon.wait_for("paused", by=OWN_NAME, reason="upgrade")
        skipped = op.daemon.wait_for("run_given_up", job="tick", count=3)
        assert (skipped["outcome"], skipped["reason"]) == (
            "skipped",
            f"paused by {OWN_NAME}: upgrade",
        )
        if what in ("job tick", "pool db"):
            op.daemon.wait_for("attempt_started", job="free", fire_time=skipped["fire_time"])
        else:
            op.daemon.wait_for("run_given_up", job="free", fire_time=skipped["fire_time"])
        assert op.row("resume", *scope)["what"] == what
        op.daemon.wait_for("resumed")
        begun = len(op.daemon.log("attempt_ended", job="tick"))
        op.daemon.wait_for("attempt_ended", job="tick", count=begun + 1)
        assert op.rows("pause") == []
        runs = [row for row in op.runs("tick") if row["outcome"] is not None]
        pattern = "".join(row["outcome"][1] for row in runs)
        assert re.fullmatch("u+k{3,}u+", pattern), runs  # succeeded, skipped, succeeded
        assert all(not row["attempts"] for row in runs if row["outcome"] == "skipped")


@pytest.mark.slow
def test_a_pause_ends_by_itself(tmp_path: Path) -> None:
    with operated_daemon(tmp_path, "CRON_NAME=tick @every 1s true\n") as op:
        op.daemon.wait_for("attempt_started", job="tick")
        pause = op.row("pause", "--all", "--for", "3s")
        assert pause["until"] is not None
        op.daemon.wait_for("run_given_up", job="tick", outcome="skipped")
        op.daemon.wait_for("resumed", scope="all")
        begun = len(op.daemon.log("attempt_started", job="tick"))
        op.daemon.wait_for("attempt_started", job="tick", count=begun + 1)
        assert op.rows("pause") == []


@pytest.mark.slow
def test_a_pause_is_listed_from_its_first_moment_on(tmp_path: Path) -> None:
    """Not only from the next full second on."""
    with operated_daemon(tmp_path, f"CRON_NAME=idle {NEVER} true\n") as op:
        for paused in (True, False) * 4:
            op.row("pause" if paused else "resume", "idle")
            assert (op.row("list")["paused"] is not None) is paused


def test_a_pause_survives_the_daemon(tmp_path: Path) -> None:
    with operated_daemon(tmp_path, "CRON_NAME=tick @every 1s true\n") as op:
        pause = op.row("pause", "tick", "--reason", "long")
        op.row("pause", "--all", "--for", "1h")
        op.row("resume", "--all")
        op.kill_daemon()
        assert op.rows("pause") == [pause]
        given_up = len(op.daemon.log("run_given_up"))
        op.daemon.wait_for("run_given_up", job="tick", count=given_up + 2, outcome="skipped")
        op.row("resume", "tick")
        begun = len(op.daemon.log("attempt_started"))
        op.daemon.wait_for("attempt_started", job="tick", count=begun + 1)


@pytest.mark.slow
def test_a_retry_waits_until_the_pause_is_over(tmp_path: Path) -> None:
    """Also across a SIGKILL of the daemon."""
    settings = "CRON_NAME=twice CRON_RETRIES=1 CRON_RETRY_DELAY=1s CRON_RETRY_UNTIL=never"
    table = f"{settings} {NEVER} {waiting_for_gate(tmp_path)}; [ $CRON_ATTEMPT = 2 ]\n"
    with operated_daemon(tmp_path, table) as op:
        run_id = op.start("twice")
        op.daemon.wait_for("attempt_started", run_id=run_id)
        op.row("pause", "twice")
        op.open_gate()
        op.daemon.wait_for("retry_planned", run_id=run_id)
        op.kill_daemon()

        (waiting,) = op.row("top")["waiting"]
        planned = datetime.fromisoformat(waiting["planned"]).timestamp()
        until(lambda: time.time() > planned)
        op.row("top")  # it has looked at the clock since
        (waiting,) = op.row("top")["waiting"]
        assert (waiting["run_id"], waiting["why"]) == (run_id, f"paused by {OWN_NAME}")
        assert not op.daemon.log("attempt_started", attempt=2)
        op.row("resume", "twice")
        op.daemon.wait_for("attempt_ended", run_id=run_id, attempt=2, outcome="succeeded")


def test_a_run_in_the_queue_waits_for_the_end_of_a_pause(tmp_path: Path) -> None:
    table = f"CRON_NAME=long CRON_MAX_RUNNING=1 {NEVER} {waiting_for_gate(tmp_path)}\n"
    with operated_daemon(tmp_path, table) as op:
        op.start("long")
        waiting = op.start("long")
        op.row("pause", "long")
        op.open_gate()
        op.daemon.wait_for("attempt_ended", job="long")
        (row,) = op.row("top")["waiting"]
        assert (row["run_id"], row["why"]) == (waiting, f"paused by {OWN_NAME}")
        op.row("resume", "long")
        op.daemon.wait_for("attempt_ended", run_id=waiting, outcome="succeeded")


@pytest.mark.slow
def test_a_pause_of_a_job_outlives_its_entry(tmp_path: Path) -> None:
    with operated_daemon(tmp_path, f"CRON_NAME=gone {NEVER} true\n") as op:
        scope = op.row("pause", "gone")["scope"]
        (tmp_path / "table").write_text("")
        op.daemon.signal(signal.SIGHUP)
        op.daemon.wait_for("reloaded")
        assert [row["scope"] for row in op.rows("pause")] == [scope]
        op.row("resume", scope.removeprefix("job:"))
        assert op.rows("pause") == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["pause", "nobody"], 'no such job: "nobody" (pycron list)'),
        (["pause", "--pool", "none"], 'no such pool: "none" (the configuration names them)'),
        (["resume", "idle"], "job idle is not paused"),
        (["resume", "--all"], "all is not paused"),
        (["resume", "--pool", "db"], "pool db is not paused"),
    ],
)
def test_a_pause_or_resume_is_refused(paused_by_nobody: OperatedDaemon, words: list[str], said: str
) -> None:  # fmt: skip
    assert paused_by_nobody.refusal(*words) == said


@pytest.mark.parametrize(
    "words",
    slow_after(3, [
        ["pause", "idle", "--all"],
        ["pause", "--for", "1h"],  # of what?
        ["pause", "--reason", "x"],
        ["pause", "idle", "--for", "soon"],
        ["resume"],
        ["resume", "--all", "--pool", "db"],
        ["start"],
        ["kill", "idle", "--kill-after", "later"],
    ]),
)  # fmt: skip
def test_wrong_use(paused_by_nobody: OperatedDaemon, words: list[str]) -> None:
    done = paused_by_nobody.run(*words)
    assert (done.returncode, done.stdout) == (2, "")
    assert paused_by_nobody.rows("pause") == []


@pytest.fixture(scope="module")
def paused_by_nobody(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OperatedDaemon]:
    directory = tmp_path_factory.mktemp("operators")
    with operated_daemon(directory, f"CRON_NAME=idle {NEVER} true\n", POOLS) as op:
        yield op


# ---- top


def test_top_shows_what_runs_waits_and_comes(tmp_path: Path) -> None:
    table = (
        f"CRON_NAME=long CRON_POOL=db {NEVER} {waiting_for_gate(tmp_path)}\n"
        f"CRON_NAME=next CRON_POOL=db CRON_PRIORITY=7 {NEVER} true\n"
        "CRON_NAME=soon @every 1h true\n"
    )
    with operated_daemon(tmp_path, table, "[limits]\nrunning = 9\n[pools]\ndb = 1\n") as op:
        pid = op.daemon.wait_for("attempt_started", run_id=op.start("long"))["pid"]
        queued = op.start("next")
        top = op.row("top")
        (running,), (waiting,) = top["running"], top["waiting"]
        assert (running["job"], running["pid"], running["state"]) == ("long", pid, "running")
        assert running["memory_bytes"] > 0
        assert (waiting["run_id"], waiting["state"], waiting["why"], waiting["priority"]) == (
            queued, "queued", "pools.db is 1", 7,
        )  # fmt: skip
        assert top["next"][0]["job"] == "soon"
        assert top["counts"] == {"running": 1, "waiting": 1}
        assert top["limits"]["pools.db"] == [1, 1]
        assert top["limits"]["limits.running"] == [1, 9]
        assert top["limits"]["closed"] is None
        assert len(op.row("top", "--limit", "1")["next"]) == 1
        text = op.run("top").stdout
        assert text.startswith("1 running, 1 waiting, ")
        assert "pools.db 1/1" in text.splitlines()[0]
        assert "pools.db is 1" in text


@pytest.mark.slow
def test_top_says_when_a_retry_is_due(tmp_path: Path) -> None:
    settings = "CRON_NAME=twice CRON_RETRIES=1 CRON_RETRY_DELAY=1h CRON_RETRY_UNTIL=never"
    with operated_daemon(tmp_path, f"{settings} {NEVER} false\n") as op:
        op.daemon.wait_for("retry_planned", run_id=op.start("twice"))
        (waiting,) = op.row("top")["waiting"]
        assert waiting["why"] == f"attempt 2 is due at {waiting['planned'][:19]}Z"
        assert waiting["why"] in op.run("top").stdout


@pytest.mark.slow
def test_top_says_why_nothing_starts(tmp_path: Path) -> None:
    """The limit asks for more free memory than any machine has."""
    config = f"[limits]\nfree_memory = {2**60}\n"
    with operated_daemon(tmp_path, "CRON_NAME=soon @every 1s true\n", config) as op:

        def closed() -> Row | None:
            top = op.row("top")
            return top if top["limits"]["closed"] and top["waiting"] else None

        top = until(closed)
        assert top
        assert f"(limits.free_memory is {2**60})" in top["limits"]["closed"]
        assert top["waiting"][0]["why"] == top["limits"]["closed"]
        assert not op.daemon.log("attempt_started")


@pytest.mark.slow
def test_top_on_a_terminal_goes_on_until_it_is_interrupted(tmp_path: Path) -> None:
    with operated_daemon(tmp_path, f"CRON_NAME=long {NEVER} {waiting_for_gate(tmp_path)}\n") as op:
        op.start("long")
        command = program("pycron", "--state-dir", op.state, "top")
        pid, terminal = pty.fork()
        if pid == 0:
            signal.signal(signal.SIGINT, signal.SIG_DFL)  # whatever the tests were started with
            os.execv(command[0], command)
        shown = b""
        while shown.count(b"1 running, 0 waiting") < 2:
            shown += os.read(terminal, 4096)
        assert shown.count(b"\x1b[H") >= 2
        os.write(terminal, b"\x03")
        _, status = os.waitpid(pid, 0)
        os.close(terminal)
        assert os.waitstatus_to_exitcode(status) == 0


# ---- what each user may do


@pytest.fixture
def system(tmp_path: Path) -> Iterator[IsolatedSystem]:
    with isolated_system(tmp_path) as system:
        system.write(paths.SYSTEM_CONFIG, POOLS)
        system.daemon.stop()
        system.daemon = system.start()
        yield system
        system.shell(f"touch {GATE}")
        until(lambda: rows(system, "root", "status")[0]["running"] == 0)


GATE = paths.SYSTEM_CONFIG.parent / "gate"  # where every user can see it
ALICE, BOB, OPERATOR = USERS


def refusal(system: IsolatedSystem, user: str, *words: str) -> str:
    done = system.run("pycron", *words, user=user)
    assert (done.returncode, done.stdout) == (1, ""), words
    return done.stderr.removeprefix("pycron: ").removesuffix("\n")


def rows(system: IsolatedSystem, user: str, verb: str, *words: str) -> list[Row]:
    done = system.run("pycron", verb, "--json", *words, user=user)
    assert (done.returncode, done.stderr) == (0, ""), words
    return [json.loads(line) for line in done.stdout.splitlines()]


def install_tables(system: IsolatedSystem) -> dict[str, str]:
    """The same table for alice and bob; the ids of their Jobs."""
    command = f"while [ ! -e {GATE} ]; do sleep 0.1; done"
    table = f"CRON_NAME=mine CRON_POOL=db {NEVER} {command}\n"
    for user in (ALICE, BOB):
        assert system.run("pycrontab", "-", user=user, stdin=table).returncode == 0
    return {user: rows(system, user, "list")[0]["id"] for user in (ALICE, BOB)}


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


@pytest.mark.root
@needs_root
def test_users_start_and_kill_their_own_jobs(system: IsolatedSystem) -> None:
    ids = install_tables(system)
    (run_id,) = (row["run_id"] for row in rows(system, BOB, "start", "mine"))
    pid = system.daemon.wait_for("attempt_started", run_id=run_id)["pid"]
    assert Path(f"/proc/{pid}").owner() == BOB
    assert system.runs(user=ALICE) == []
    assert refusal(system, ALICE, "start", ids[BOB]) == f'no such job: "{ids[BOB]}" (pycron list)'
    for name in (run_id, "mine", ids[BOB]):
        said = refusal(system, ALICE, "kill", name)
        assert said == f'nothing runs or waits that is called "{name}"'
    (top,) = rows(system, ALICE, "top")
    assert (top["running"], top["counts"]["running"]) == ([], 0)
    assert refusal(system, "root", "start", "mine").startswith("several jobs are called")
    (by_root,) = rows(system, "root", "start", ids[ALICE])
    started = system.daemon.wait_for("attempt_started", run_id=by_root["run_id"])
    assert Path(f"/proc/{started['pid']}").owner() == ALICE
    (shown,) = rows(system, ALICE, "show", by_root["run_id"])
    assert shown["started_by"] == "root"


@pytest.mark.slow
@pytest.mark.root
@needs_root
def test_users_cannot_pass_limits_and_pauses_of_root(system: IsolatedSystem) -> None:
    install_tables(system)
    said = refusal(system, BOB, "start", "mine", "--force")
    assert said.startswith("only root may use --force")
    rows(system, "root", "pause", "--owner", BOB)
    said = refusal(system, BOB, "pause", "--owner", BOB)  # so that he could resume it
    assert said == "root has paused it; only that user and root may resume it"
    assert [row["by"] for row in rows(system, BOB, "pause")] == ["root"]


@pytest.mark.slow
@pytest.mark.root
@needs_root
def test_users_end_their_own_runs(system: IsolatedSystem) -> None:
    install_tables(system)
    for user, other in ((ALICE, ALICE), (BOB, "root")):
        (started,) = rows(system, user, "start", "mine")
        system.daemon.wait_for("attempt_started", run_id=started["run_id"])
        rows(system, other, "kill", started["run_id"])
        system.daemon.wait_for("attempt_ended", run_id=started["run_id"], outcome="cancelled")
        (shown,) = rows(system, user, "show", started["run_id"])
        assert shown["reason"] == f"cancelled by {other}"


@pytest.mark.slow
@pytest.mark.root
@needs_root
def test_operators_see_and_do_not_change(system: IsolatedSystem) -> None:
    with member_of(OPERATOR, "pycron"):
        ids = install_tables(system)
        (started,) = rows(system, BOB, "start", "mine")
        system.daemon.wait_for("attempt_started", run_id=started["run_id"])
        (top,) = rows(system, OPERATOR, "top")
        assert [row["run_id"] for row in top["running"]] == [started["run_id"]]
        rows(system, BOB, "pause", "mine")
        assert [row["by"] for row in rows(system, OPERATOR, "pause")] == [BOB]
        for words in (["start", ids[BOB]], ["kill", started["run_id"]], ["pause", ids[BOB]],
                      ["pause", "--owner", BOB], ["resume", "--owner", BOB]):  # fmt: skip
            assert refusal(system, OPERATOR, *words) == "only its owner and root may do that"
        for words in (["pause", "--all"], ["pause", "--pool", "db"], ["resume", "--all"]):
            assert refusal(system, OPERATOR, *words) == "only root may do that"


@pytest.mark.slow
@pytest.mark.root
@needs_root
def test_users_pause_their_own_jobs(system: IsolatedSystem) -> None:
    ids = install_tables(system)
    owners_only = "only its owner and root may do that"
    assert refusal(system, ALICE, "pause", ids[BOB]) == f'no such job: "{ids[BOB]}" (pycron list)'
    assert refusal(system, ALICE, "pause", "--owner", BOB) == owners_only
    for words in (["--all"], ["--pool", "db"]):
        assert refusal(system, ALICE, "pause", *words) == "only root may do that"
    rows(system, ALICE, "pause", "mine", "--reason", "secret")
    rows(system, ALICE, "pause", "--owner", ALICE)
    assert rows(system, BOB, "pause") == []  # none of his business
    assert rows(system, BOB, "status")[0]["paused"] == 0
    (started,) = rows(system, BOB, "start", "mine")
    system.daemon.wait_for("attempt_started", run_id=started["run_id"])
    assert refusal(system, BOB, "resume", "--owner", ALICE) == owners_only
    rows(system, "root", "pause", "--pool", "db")
    rows(system, "root", "pause", "--owner", BOB)
    assert [row["what"] for row in rows(system, BOB, "pause")] == ["pool db", f"user {BOB}"]
    assert refusal(system, BOB, "resume", "--pool", "db") == "only root may do that"
    said = refusal(system, BOB, "resume", "--owner", BOB)
    assert said == "root has paused it; only that user and root may resume it"
    rows(system, "root", "resume", "--owner", ALICE)
    rows(system, ALICE, "resume", "mine")
    rows(system, "root", "resume", "--pool", "db")
    assert [row["what"] for row in rows(system, "root", "pause")] == [f"user {BOB}"]
