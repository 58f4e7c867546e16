"""When the runner is killed, its commands are found and ended before their Attempts are lost.

Otherwise no limit would count them, and a retry would run beside them.
"""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pycron.runner.process_tree import ProcessTree
from pycron.runner.running_file import RunningFile
from tests.support.operated_daemon import operated_daemon
from tests.support.running_runner import RunningRunner, exists, needs_root, other_user, starters_of
from tests.support.waiting import until


@pytest.fixture
def runner(tmp_path: Path) -> Iterator[RunningRunner]:
    runner = RunningRunner(tmp_path)
    yield runner
    runner.close()


def pid_in(path: Path) -> int:
    return int(until(lambda: path.read_text().strip() if path.exists() else ""))


def killed_and_replaced(runner: RunningRunner) -> RunningRunner:
    """Kill a runner, and start the next one in the same directory."""
    os.kill(runner.process.pid, signal.SIGKILL)
    runner.process.wait()
    runner.client.close()
    return RunningRunner(runner.paths.state, again=True)


# ---- the daemon


def test_a_retry_begins_after_the_command_that_a_dead_runner_has_left(tmp_path: Path) -> None:
    """The two would otherwise run at the same time."""
    notes = tmp_path / "notes"
    command = f"echo start >>{notes}; test $CRON_ATTEMPT = 2 && exit; "
    command += f"(setsid sleep 1000 & echo $! >{tmp_path}/pid); sleep 1000"
    settings = "CRON_NAME=long CRON_RETRIES=1 CRON_RETRY_DELAY=1s CRON_RETRY_JITTER=0"
    with operated_daemon(tmp_path, f"{settings} CRON_RETRY_UNTIL=never @reboot {command}\n") as op:
        pid = op.daemon.wait_for("attempt_started", job="long")["pid"]
        below = pid_in(tmp_path / "pid")
        os.kill(op.daemon.wait_for("runner_started")["pid"], signal.SIGKILL)
        op.daemon.wait_for("attempt_lost", job="long")
        assert not exists(pid)
        assert not exists(below)
        op.daemon.wait_for("attempt_ended", job="long", outcome="succeeded")
        assert notes.read_text() == "start\nstart\n"


def test_the_daemon_and_the_runner_are_killed_at_once(tmp_path: Path) -> None:
    """Nobody is there any more; the next daemon finds what is left."""
    command = f"(setsid sleep 1000 & echo $! >{tmp_path}/pid); exec sleep 1000"
    with operated_daemon(tmp_path, f"CRON_NAME=long @yearly {command}\n") as op:
        op.start("long")
        pid = op.daemon.wait_for("attempt_started", job="long")["pid"]
        below = pid_in(tmp_path / "pid")
        op.daemon.process.send_signal(signal.SIGSTOP)
        os.kill(op.daemon.wait_for("runner_started")["pid"], signal.SIGKILL)
        op.kill_daemon()
        op.daemon.wait_for("attempt_lost", job="long")
        assert not exists(pid)
        assert not exists(below)


# ---- the runner


def test_a_command_may_clean_up(runner: RunningRunner) -> None:
    """It gets SIGTERM, and SIGKILL after its own CRON_KILL_AFTER."""
    cleaned, deaf = (runner.paths.state / name for name in ("cleaned", "deaf"))
    runner.start(
        "a.1",
        f"exec >/dev/null 2>&1; trap 'echo yes >{cleaned}; exit' TERM; while :; do sleep 0.1; done",
    )
    loop = f"trap '' TERM; echo $$ >{deaf}; while :; do sleep 0.1; done"
    runner.start("b.1", loop, kill_after=1)
    pid = pid_in(deaf)
    after = killed_and_replaced(runner)
    try:
        assert {m["id"]: m["type"] for m in after.client.known} == {
            "a.1": "starting",
            "b.1": "starting",
        }
        lost = [
            until(lambda: after.received("lost", "a.1")),
            until(lambda: after.received("lost", "b.1")),
        ]
        assert all(message["reason"] for message in lost if message)
        assert not exists(pid)
        assert cleaned.read_text() == "yes\n"
        after.client.send([{"type": "ack", "ids": ["a.1", "b.1"]}])
        after.disconnect()
        assert after.reconnect() == {}
    finally:
        after.close()


def test_background_children_of_an_attempt_that_has_ended_go_on(runner: RunningRunner) -> None:
    """A command may start a daemon."""
    note = runner.paths.state / "pid"
    runner.run(f"setsid sleep 1000 >/dev/null 2>&1 & echo $! >{note}")
    after = killed_and_replaced(runner)
    try:
        assert after.client.known == []
        assert after.run("echo fine")[1] == "fine\n"
        assert exists(pid_in(note))
    finally:
        os.kill(pid_in(note), signal.SIGKILL)
        after.close()


def test_a_starter_of_a_dead_runner_starts_nothing(runner: RunningRunner) -> None:
    """Otherwise a command would begin after its Attempt was recorded as lost."""
    notes = runner.paths.state / "notes"
    count = 100
    runner.client.send(
        runner.start_message(f"c{n}.1", f"echo x >>{notes}; exec sleep 1000") for n in range(count)
    )
    runner.client.flush()
    until(lambda: starters_of(runner.process.pid))
    after = killed_and_replaced(runner)
    try:
        known = [m["id"] for m in after.client.known if m["type"] != "lost"]
        until(lambda: all(after.received("lost", key) for key in known), 30)
        begun = notes.read_text() if notes.exists() else ""
        time.sleep(0.5)
        assert (notes.read_text() if notes.exists() else "") == begun
        assert not sleepers(runner.paths.state)
    finally:
        after.close()


def sleepers(directory: Path) -> list[int]:
    """The processes whose working directory is this one."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if os.readlink(process / "cwd") == str(directory) and int(process.name) != os.getpid():
                found.append(int(process.name))
    return found


def test_a_third_runner_finds_what_the_second_had_to_end(runner: RunningRunner) -> None:
    deaf = runner.paths.state / "deaf"
    runner.start("a.1", f"trap '' TERM; echo $$ >{deaf}; while :; do sleep 0.1; done", kill_after=2)
    pid = pid_in(deaf)
    third = killed_and_replaced(killed_and_replaced(runner))
    try:
        until(lambda: third.received("lost", "a.1"))
        assert not exists(pid)
    finally:
        third.close()


@pytest.mark.root
@needs_root
def test_a_process_of_another_user_with_the_mark_is_left_alone(runner: RunningRunner) -> None:
    runner.start("a.1", "exec sleep 1000")
    mark = int(runner.paths.running.read_text().split()[0])
    forger = subprocess.Popen(
        ["prlimit", f"--rttime={mark}:{mark}", "sleep", "1000"], user=other_user()["uid"]
    )
    until(lambda: Path(f"/proc/{forger.pid}/comm").read_text() == "sleep\n")
    after = killed_and_replaced(runner)
    try:
        until(lambda: after.received("lost", "a.1"))
        assert forger.poll() is None
    finally:
        forger.kill()
        forger.wait()
        after.close()


# ---- the file


def test_the_file_stays_short(tmp_path: Path) -> None:
    file = RunningFile(str(tmp_path / "running"))
    assert file.take_over() == []
    kept = ProcessTree(7)
    file.begin(file.lines([("kept.1", kept, 5)]))
    for number in range(30_000):
        tree = ProcessTree(7)
        file.begin(file.lines([(f"a{number}.1", tree, 10)]))
        file.over(tree)
    assert (tmp_path / "running").stat().st_size < 1_500_000
    assert left_in(tmp_path / "running") == [("kept.1", kept.mark, 7, 5)]


def left_in(path: Path) -> list[tuple[str, int, int, int]]:
    """What the next runner would find; this process holds the lock, but that does not bind it."""
    left = RunningFile(str(path)).take_over()
    return [(each.id, each.tree.mark, each.tree.owner, each.kill_after) for each in left]


@pytest.mark.parametrize("end", ["+12", "+12 0 10 a.1 -", "-5", "nonsense\n", "+x y\n", "\0\n"])
def test_a_file_that_was_cut_short_or_is_bad(tmp_path: Path, end: str) -> None:
    (tmp_path / "running").write_text("+5 0 10 five.1 -\n+6 0 10 six.1 -\n-6\n" + end)
    assert left_in(tmp_path / "running") == [("five.1", 5, 0, 10)]


def test_a_second_runner_beside_a_live_one_leaves_its_commands_alone(runner: RunningRunner) -> None:
    """Somebody has removed the socket of the first."""
    started = runner.start("a.1", "exec sleep 1000")
    runner.paths.runner_socket.unlink()
    second = RunningRunner(runner.paths.state, again=True)
    try:
        assert second.client.known == []
        assert second.run("echo fine")[1] == "fine\n"
        assert exists(started["pid"])
        assert "commands may outlive this runner" in runner.paths.runner_log.read_text()
    finally:
        second.close()
