"""What the public tests of supercronic and yacron demand, demanded of pycron.

The first line of each test names the test there: of supercronic (integration/*.bats, cron_test.go)
or of yacron (tests/test_cron.py, tests/test_job.py). Nothing of them is copied.
"""

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.support.running_daemon import RunningDaemon, foreground, run
from tests.support.waiting import until

LONG = 200_000  # characters: three buffers of supercronic, and more than yacron reads at once
TABLE = rf"""
CRON_NAME=long-line  @reboot echo one; python3 -c 'print({LONG} * "a")'; echo two
CRON_NAME=image  @reboot echo $VAR
CRON_NAME=both  @reboot echo out; echo err >&2
CRON_RETRY_JITTER=0
CRON_NAME=retried CRON_RETRIES=2 CRON_RETRY_DELAY=1s CRON_RETRY_BACKOFF=1  @reboot exit 2
CRON_NAME=hangs CRON_TIMEOUT=1s CRON_KILL_AFTER=1s  @reboot trap : TERM; echo begins; \
while :; do sleep 0.1; done
CRON_NAME=forbid CRON_CONCURRENCY=forbid  @every 1s sleep 2.5
CRON_NAME=allow CRON_CONCURRENCY=allow CRON_MAX_RUNNING=2  @every 1s sleep 2.5
CRON_NAME=replace CRON_CONCURRENCY=replace  @every 1s sleep 2.5
CRON_NAME=superseded CRON_RETRIES=1 CRON_RETRY_DELAY=1h CRON_CONCURRENCY=allow  @every 2s exit 2
VAR=table
USER=foo
CRON_NAME=table  @reboot echo $VAR $USER
SHELL=/bin/false
CRON_NAME=shell  @reboot true
""".replace("\\\n", "")


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDaemon]:
    """A daemon with all of these Jobs, after some seconds."""
    environment = {**os.environ, "VAR": "image"}
    with foreground(TABLE, tmp_path_factory.mktemp("rivals"), env=environment) as daemon:
        daemon.wait_for("attempt_started", job="forbid", count=2)
        daemon.wait_for("attempt_ended", job="retried", count=3)
        daemon.wait_for("attempt_ended", job="hangs")
        yield daemon
        daemon.signal(signal.SIGTERM)


def output(daemon: RunningDaemon, job: str) -> str:
    """What a Job printed, as the log has it; the pieces of a long line are joined."""
    daemon.wait_for("attempt_ended", job=job)
    return "".join(line["line"] for line in daemon.log("output", job=job))


def most_at_once(daemon: RunningDaemon, job: str) -> int:
    most = running = 0
    for line in daemon.log(job=job):
        running += {"attempt_started": 1, "attempt_ended": -1}.get(line["event"], 0)
        most = max(most, running)
    return most


# ---- a command, its shell, its environment, its output


def test_a_failing_shell(daemon: RunningDaemon) -> None:
    """supercronic, TestRunJob: SHELL=/bin/false fails whatever the command is."""
    ended = daemon.wait_for("attempt_ended", job="shell")
    assert (ended["outcome"], ended["exit_status"]) == ("failed", 1)


def test_a_long_line(daemon: RunningDaemon) -> None:
    """supercronic, TestRunJob, and yacron, test_stream_reader_long_line.

    supercronic shows it in pieces; yacron leaves it out. Nothing may be missing or mixed up.
    """
    assert output(daemon, "long-line") == f"one{LONG * 'a'}two"


def test_the_environment(daemon: RunningDaemon) -> None:
    """supercronic, test.bats: it passes the environment through, and the table overrides it.

    There it warns when USER is set, because the process does not get another user; here the command
    gets the right USER.
    """
    assert output(daemon, "image") == "image"
    variable, user = output(daemon, "table").split()
    assert variable == "table"
    assert user == daemon.wait_for("attempt_ended", job="table")["user"] != "foo"


def test_both_channels_are_shown(daemon: RunningDaemon) -> None:
    """supercronic, TestRunJob: what is printed on stdout and on stderr is logged."""
    daemon.wait_for("attempt_ended", job="both")
    assert {line["line"] for line in daemon.log("output", job="both")} == {"out", "err"}


# ---- failures, time-outs, overlap


def test_retries(daemon: RunningDaemon) -> None:
    """yacron, test_fail_retry: three attempts, and the Run has failed once and for good."""
    attempts = daemon.log("attempt_ended", job="retried")
    assert [(line["attempt"], line["outcome"]) for line in attempts] == [
        (1, "failed"), (2, "failed"), (3, "failed"),
    ]  # fmt: skip
    assert len(daemon.log("retry_planned", job="retried")) == 2


def test_a_new_fire_time_ends_the_wait_for_a_retry(daemon: RunningDaemon) -> None:
    """yacron, test_concurrency_and_backoff: the scheduled start takes the place of the retry."""
    given_up = daemon.wait_for("run_given_up", job="superseded")
    assert given_up["reason"] == "the next fire time came before the retry"
    daemon.wait_for("attempt_started", job="superseded", count=2)


def test_a_time_out_of_a_command_that_ignores_term(daemon: RunningDaemon) -> None:
    """yacron, test_execution_timeout (both): KILL follows, and what it printed is kept."""
    ended = daemon.wait_for("attempt_ended", job="hangs")
    assert (ended["outcome"], ended["signal"]) == ("timed_out", signal.SIGKILL)
    assert output(daemon, "hangs").startswith("begins")


@pytest.mark.parametrize(("job", "most"), [("allow", 2), ("forbid", 1), ("replace", 1)])
def test_overlap(daemon: RunningDaemon, job: str, most: int) -> None:
    """supercronic, TestStartFuncDoesNotRunOverlappingJobs and test.bats (-overlapping).

    yacron, test_concurrency_policy: Allow, Forbid, Replace.
    """
    daemon.wait_for("attempt_started", job=job, count=2)
    assert most_at_once(daemon, job) == most


def test_what_does_not_run_is_reported_each_time(daemon: RunningDaemon) -> None:
    """supercronic, test.bats: it warns repeatedly when a job is still running."""
    first, second = (daemon.wait_for("run_given_up", job="forbid", count=n) for n in (1, 2))
    assert (first["outcome"], second["outcome"]) == ("skipped", "skipped")
    assert "still" in first["reason"]
    assert first["fire_time"] != second["fire_time"]


# ---- tables


def test_a_table_is_tested(tmp_path: Path) -> None:
    """supercronic, test.bats: it tests a valid and an invalid crontab (-test); nothing runs."""
    for text, status in ((f"@reboot touch {tmp_path}/ran\n", 0), ("oops\n", 1)):
        (tmp_path / "table").write_text(text)
        assert run("pycrond", "--check", "--table", tmp_path / "table").returncode == status
    assert not (tmp_path / "ran").exists()
    assert run("pycrond", "--version").returncode == 0


@pytest.mark.parametrize("schedule", ["*/15 * * * * * *", "5/15 * * * *"])
def test_schedules_of_supercronic_that_are_errors_here(tmp_path: Path, schedule: str) -> None:
    """supercronic, crontab_test.go: fields with seconds. None of them runs at a wrong time here."""
    (tmp_path / "table").write_text(f"{schedule} true\n")
    checked = run("pycrond", "--check", "--table", tmp_path / "table")
    assert checked.returncode == 1
    assert checked.stdout.startswith(f"{tmp_path}/table:1: bad ")


def line_of(name: str) -> str:
    return f"CRON_NAME={name} @every 1s true\n"


def test_reload_by_signal_and_by_a_write(tmp_path: Path) -> None:
    """supercronic, reload.bats: SIGUSR2, and inotify on a WRITE; it does not wait for commands.

    A bad table ends supercronic. Here its last good version runs on, and the next one follows.
    """
    table = tmp_path / "table"
    long = "CRON_NAME=long @reboot sleep 1000\n"
    with foreground(line_of("a") + long, tmp_path) as daemon:
        daemon.wait_for("attempt_started", job="long")
        daemon.signal(signal.SIGUSR2)
        daemon.wait_for("reloaded", by="SIGUSR2")
        table.write_text(line_of("b") + long)
        daemon.wait_for("attempt_started", job="b")
        table.write_text("oops\n")
        daemon.wait_for("table_bad")
        seen = len(daemon.log("attempt_started", job="b"))
        daemon.wait_for("attempt_started", job="b", count=seen + 1)
        table.write_text(line_of("c") + long)
        daemon.wait_for("attempt_started", job="c")
        assert len(daemon.log("attempt_started", job="long")) == 1
        daemon.signal(signal.SIGTERM)
        daemon.wait_for("daemon_stopping")
        daemon.signal(signal.SIGTERM)


def test_a_table_behind_a_link_that_is_exchanged(tmp_path: Path) -> None:
    """supercronic, reload.bats: Kubernetes-like atomic writes; the old directory is deleted."""
    for version in ("a", "b"):
        (tmp_path / version).mkdir()
        (tmp_path / version / "table").write_text(line_of(version))
    link = tmp_path / "mounted" / "table"
    link.parent.mkdir()
    link.symlink_to(tmp_path / "a" / "table")
    arguments: list[str | Path] = ["--foreground", "--table", link]
    daemon = RunningDaemon(arguments, tmp_path / "log")
    try:
        daemon.wait_for("attempt_started", job="a")
        (link.parent / "new").symlink_to(tmp_path / "b" / "table")
        (link.parent / "new").rename(link)
        (tmp_path / "a" / "table").unlink()
        daemon.wait_for("attempt_started", job="b")
    finally:
        daemon.stop()


# ---- the end, and process 1


def test_term_with_running_commands(tmp_path: Path) -> None:
    """supercronic, test.bats: it waits for jobs to exit before terminating."""
    with foreground("CRON_NAME=x @reboot echo begins; sleep 1; echo done\n", tmp_path) as daemon:
        daemon.wait_for("output", line="begins")
        daemon.signal(signal.SIGTERM)
        assert daemon.wait() == 0
        assert daemon.log("output", line="done")
        assert daemon.log("attempt_ended", job="x", outcome="succeeded")


def test_orphans_as_process_1(tmp_path: Path) -> None:
    """supercronic, test.bats: it runs as pid 1 and reaps; no job ends with an error by it."""
    unshare = ["unshare", "-Urpf", "--mount-proc", "--kill-child"]
    if subprocess.run([*unshare, "true"], check=False, capture_output=True).returncode:
        pytest.skip("no user namespaces here")
    with foreground(
        "CRON_NAME=x @every 1s /bin/sleep 0.1 & exec /bin/sleep 0\n", tmp_path, prefix=unshare
    ) as daemon:
        ended = [daemon.wait_for("attempt_ended", job="x", count=count) for count in (1, 2, 3)]
        assert {line["outcome"] for line in ended} == {"succeeded"}
        (init,) = psutil.Process(daemon.process.pid).children()
        until(lambda: not [each for each in init.children() if each.status() == "zombie"])
        init.terminate()
        assert daemon.wait() == 0
