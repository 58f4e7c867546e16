"""pycrond --foreground, for real: commands start, print and end; signals; restarts."""

import getpass
import json
import os
import signal
import subprocess
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pycron.crontab.reader import ReaderContext, parse
from pycron.daemon.other_crons import stopped_at
from pycron.engine.actions import RecordCursor, RecordNotStarted, RecordRun
from pycron.engine.cursor import Cursor
from pycron.model.job import Source
from pycron.model.run import Outcome, RunKey
from pycron.storage.store import Store
from tests.support.running_daemon import RunningDaemon, alive, foreground, program, run
from tests.support.user_accounts import USERS, real_user, user_account
from tests.support.waiting import until


def test_a_command_starts_prints_and_ends(tmp_path: Path) -> None:
    table = 'GREETING=hello\nCRON_NAME=greet @every 1s echo "$GREETING $CRON_JOB"; exit 3\n'
    with foreground(table, tmp_path) as daemon:
        started = daemon.wait_for("attempt_started", job="greet")
        ended = daemon.wait_for("attempt_ended", run_id=started["run_id"])
        (output,) = daemon.log("output", run_id=started["run_id"])
    assert output["line"] == "hello greet"
    assert (ended["outcome"], ended["exit_status"]) == ("failed", 3)
    assert 0 <= started["lateness_ms"] < 1000
    assert 0 <= ended["duration"] < 10
    order = [line["event"] for line in daemon.log(run_id=started["run_id"])]
    assert order == ["attempt_started", "output", "attempt_ended"]


def test_output_cannot_pass_for_a_log_line(tmp_path: Path) -> None:
    forged = '{"event": "attempt_ended", "outcome": "succeeded"}'
    with foreground(f"CRON_NAME=x @every 1s echo '{forged}'\n", tmp_path) as d:
        line = d.wait_for("output")
    assert line["job"] == "x"
    assert line["line"] == forged


def test_the_first_signal_waits_for_running_commands(tmp_path: Path) -> None:
    """What is due after the signal does not start; a start asked for before it may be told late."""
    table = f"@reboot sleep 2; touch {tmp_path}/done\n@every 1s true\n"
    with foreground(table, tmp_path) as daemon:
        daemon.wait_for("attempt_started", user=_me())
        daemon.signal(signal.SIGINT)
        assert daemon.wait() == 0
        assert (tmp_path / "done").exists()
        stopping = datetime.fromisoformat(daemon.log("daemon_stopping")[0]["timestamp"])
        started = daemon.log("attempt_started")
        assert max(datetime.fromisoformat(s["fire_time"]) for s in started) <= stopping


def test_the_second_signal_ends_the_commands(tmp_path: Path) -> None:
    with foreground("@reboot sleep 1000\n", tmp_path) as daemon:
        pid = daemon.wait_for("attempt_started")["pid"]
        daemon.signal(signal.SIGINT)
        daemon.wait_for("daemon_stopping")
        daemon.signal(signal.SIGINT)
        assert daemon.wait() == 0
        assert daemon.log("attempt_ended")[0]["signal"] == signal.SIGTERM
    until(lambda: not alive(pid))


def test_a_killed_daemon_finds_its_commands_again(tmp_path: Path) -> None:
    """The daemon gets SIGKILL twice: one command ends in between, the other one goes on."""
    table = (
        f"CRON_NAME=short @reboot sleep 1; echo over; exit 7\n"
        f"CRON_NAME=long @reboot while [ ! -e {tmp_path}/stop ]; do sleep 0.1; done; exit 8\n"
    )
    with foreground(table, tmp_path) as daemon:
        daemon.wait_for("attempt_started", count=2)
        daemon.kill()
        (tmp_path / "empty").touch()
        again = RunningDaemon(
            ["--foreground", "--table", tmp_path / "empty", "--state-dir", tmp_path / "state"],
            tmp_path / "log2",
        )
        try:
            assert again.wait_for("runner_found")["attempts"] == 2
            assert again.wait_for("attempt_ended", job="short")["exit_status"] == 7
            (tmp_path / "stop").touch()
            assert again.wait_for("attempt_ended", job="long")["exit_status"] == 8
            rows = _runs(tmp_path / "state")
            assert {row["job"]: row["exit_status"] for row in rows} == {"short": 7, "long": 8}
            assert all(row["attempts"] == 1 for row in rows)
        finally:
            again.stop()


def test_a_run_that_ended_before_its_fire_time_is_not_caught_up(tmp_path: Path) -> None:
    """The last daemon was killed a moment before that time; then there was none for ten minutes."""
    text = "CRON_NAME=ahead CRON_CATCHUP=all * * * * * true\n"
    source = Source(str(tmp_path / "table"), getpass.getuser())
    (job,) = parse(text, source, ReaderContext()).jobs
    fire = int(time.time()) // 60 * 60 - 600
    run = RunKey(job.id, fire)
    (tmp_path / "state").mkdir(mode=0o700)
    store = Store(tmp_path / "state/pycron.db")
    store.write([RecordRun(run, job), RecordNotStarted(run, Outcome.SKIPPED, "paused")])
    store.write([RecordCursor(Cursor(fire - 1, fire - 1))])
    store.close()
    with foreground(text, tmp_path) as daemon:
        daemon.wait_for("attempt_ended", count=10)
        assert not daemon.log("attempt_started", run_id=str(run))
        assert not daemon.log("store_failed")
        outcomes = [row["outcome"] for row in _runs(tmp_path / "state")]
    assert outcomes.count("skipped") == 1
    assert outcomes.count("succeeded") >= 10


def test_a_runner_that_dies_loses_its_attempts_and_is_replaced(tmp_path: Path) -> None:
    with foreground("CRON_NAME=long @reboot exec sleep 1000\nCRON_NAME=tick @every 1s true\n",
                    tmp_path) as daemon:  # fmt: skip
        command = daemon.wait_for("attempt_started", job="long")["pid"]
        runner = daemon.wait_for("runner_started")["pid"]
        os.kill(runner, signal.SIGKILL)
        daemon.wait_for("attempt_lost", job="long")
        assert not alive(command)
        daemon.wait_for("runner_started", count=2)
        last = len(daemon.log("attempt_ended", job="tick", outcome="succeeded"))
        daemon.wait_for("attempt_ended", job="tick", outcome="succeeded", count=last + 1)


def test_hangup_rereads_and_a_bad_table_keeps_the_good_jobs(tmp_path: Path) -> None:
    table = tmp_path / "table"
    with foreground("CRON_NAME=good @every 1s true\n", tmp_path) as daemon:
        daemon.wait_for("table_loaded")
        table.write_text("CRON_NAME=good @every 1s true\n61 * * * * false\n")
        bad = daemon.wait_for("table_bad")
        assert bad["running"] == "its last good version"
        problem = daemon.wait_for("table_problem")
        assert problem["problem"] == f'{table}:2: bad minute: "61" (0-59)'
        seen = len(daemon.log("attempt_started", job="good"))
        daemon.wait_for("attempt_started", job="good", count=seen + 1)
        daemon.signal(signal.SIGHUP)
        daemon.wait_for("reloaded")
        table.write_text("CRON_NAME=better @every 1s true\n")
        daemon.wait_for("attempt_started", job="better")


def test_without_a_state_directory_nothing_is_left(tmp_path: Path) -> None:
    table = tmp_path / "table"
    table.write_text("@reboot true\n")
    daemon = RunningDaemon(["--foreground", "--table", table], tmp_path / "log")
    state = Path(daemon.wait_for("daemon_started")["state"])
    daemon.wait_for("attempt_ended")
    assert len(_runs(state)) == 1
    daemon.signal(signal.SIGTERM)
    assert daemon.wait() == 0
    assert not state.exists()


def test_a_table_that_does_not_exist(tmp_path: Path) -> None:
    refused = run("pycrond", "--foreground", "--table", tmp_path / "typo")
    assert (refused.returncode, refused.stderr) == (1, f"pycrond: {tmp_path}/typo: no such table\n")


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_a_uid_without_a_name(tmp_path: Path) -> None:
    """As in a container that was started with an arbitrary user id."""
    real_user(USERS[0])  # or skip: others must be able to run this interpreter
    home = user_account(USERS[0], tmp_path / "home").home
    os.chown(home, 54_321, 54_321)
    prefix = ["setpriv", "--reuid=54321", "--regid=54321", "--clear-groups", "env", f"HOME={home}"]
    (home / "table").write_text("@reboot id -u\n")
    daemon = RunningDaemon(
        ["--foreground", "--table", home / "table", "--state-dir", home / "state"],
        tmp_path / "log",
        prefix=prefix,
    )
    try:
        daemon.wait_for("attempt_ended", outcome="succeeded")
        assert daemon.log("output")[0]["line"] == "54321"
    finally:
        daemon.stop()


def test_one_daemon_for_a_state_directory(tmp_path: Path) -> None:
    with foreground("@reboot true\n", tmp_path) as daemon:
        second = run("pycrond", "--foreground", "--table", tmp_path / "table",
                     "--state-dir", tmp_path / "state")  # fmt: skip
    assert second.returncode == 1
    assert f"another pycrond (pid {daemon.process.pid}) runs on" in second.stderr


def test_a_directory_that_others_can_write_to_is_refused(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    (tmp_path / "table").write_text("@reboot true\n")
    refused = run("pycrond", "--foreground", "--table", tmp_path / "table",
                  "--state-dir", tmp_path / "open")  # fmt: skip
    assert refused.returncode == os.EX_CONFIG
    assert "not a safe directory" in refused.stderr


def test_as_pid_1_the_daemon_reaps_orphans_and_forwards_signals(tmp_path: Path) -> None:
    """In its own pid namespace, as in a container."""
    if run_unshared(["true"]) != 0:
        pytest.skip("no pid namespace can be had here")
    table = tmp_path / "table"
    table.write_text(
        "CRON_NAME=orphans @reboot (sleep 0.2 &) ; exit 0\n"
        "CRON_NAME=trap @reboot trap 'echo told; exit 5' TERM; echo ready;"
        " while :; do sleep 0.1; done\n"
    )
    log = tmp_path / "log"
    state = tmp_path / "state"
    arguments: list[str | Path] = [
        "--log-format",
        "json",
        "--foreground",
        "--table",
        table,
        "--state-dir",
        state,
    ]
    with log.open("w") as file:
        command = [*_UNSHARE, *program("pycrond", *arguments)]
        process = subprocess.Popen(command, stdout=file, stderr=file)
    try:
        until(lambda: '"line": "ready"' in log.read_text(), patience=30)
        init = int(Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text())
        until(lambda: not _zombies_below(init))
        os.kill(init, signal.SIGTERM)
        process.wait(30)
    finally:
        process.kill()
        process.wait()
    assert '"line": "told"' in log.read_text()
    assert '"event": "daemon_stopped"' in log.read_text()


@pytest.mark.slow
def test_a_minute_starts_at_its_boundary(tmp_path: Path) -> None:
    """Nothing starts before a real minute. bench/boundary.py measures how late the starts are."""
    lines = "".join(f"CRON_NAME=j{i} * * * * * true\n" for i in range(20))
    with foreground(lines, tmp_path) as daemon:
        until(lambda: len(daemon.log("attempt_ended")) >= 20, patience=90)
        started = daemon.log("attempt_started")
    assert [line["fire_time"][-4:] for line in started] == [":00Z"] * len(started)
    assert min(line["lateness_ms"] for line in started) >= 0


_UNSHARE = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--mount-proc",
            "--kill-child"]  # fmt: skip


def run_unshared(command: list[str]) -> int:
    try:
        return subprocess.run([*_UNSHARE, *command], check=False, capture_output=True).returncode
    except FileNotFoundError:
        return 1


def _zombies_below(pid: int) -> list[int]:
    found = []
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        status = Path(f"/proc/{child}/status").read_text()
        if "State:\tZ" in status:
            found.append(int(child))
    return found


def _runs(state: Path) -> list[dict[str, object]]:
    listed = run("pycron", "--state-dir", state, "runs", "--json")
    assert listed.returncode == 0, listed.stderr
    return [json.loads(line) for line in listed.stdout.splitlines()]


def _me() -> str:
    return getpass.getuser()


def test_what_was_due_since_another_cron_stopped_runs(tmp_path: Path) -> None:
    """Once: a second start, which finds the same file, runs nothing of it again."""
    stopped = (int(time.time()) // 60 - 2) * 60 + 1  # two full minutes have begun since
    marker = tmp_path / "state" / "other-cron-stopped"
    marker.parent.mkdir(mode=0o700)
    marker.touch()
    os.utime(marker, (stopped, stopped))
    for _ in range(2):
        with foreground("* * * * * true\n", tmp_path) as daemon:
            daemon.wait_for("attempt_ended", count=2)
    started = [line["fire_time"] for line in daemon.log("attempt_started")]
    due = [datetime.fromtimestamp(stopped + after, UTC) for after in (59, 119)]
    assert [datetime.fromisoformat(time) for time in sorted(started)][:2] == due
    assert len(set(started)) == len(started)


def test_a_symlink_does_not_say_when_another_cron_stopped(tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    assert stopped_at(marker) is None
    marker.symlink_to("/etc/passwd")
    assert stopped_at(marker) is None
