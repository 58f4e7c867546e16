"""The runner, for real: a process of its own, commands, files, signals, users."""

import contextlib
import os
import resource
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from pycron.crontab.reader import ReaderContext, parse
from pycron.executor import connection
from pycron.executor.connection import RunnerClient, RunnerGone, RunnerSilent
from pycron.executor.environments import NOTHING_PASSED
from pycron.executor.launch import find_runner
from pycron.executor.messages import start_message
from pycron.model.job import Source
from pycron.model.run import AttemptKey, RunKey
from pycron.protocol.framing import encode
from pycron.protocol.runner_checks import daemon_message
from pycron.protocol.runner_messages import PROTOCOL, WINDOW
from pycron.runner.starter import STARTERS
from pycron.system import unix_sockets
from pycron.system.accounts import Account
from pycron.system.paths import paths_in
from tests.support.running_runner import (
    MEGABYTE,
    RunningRunner,
    children,
    exists,
    needs_root,
    other_user,
    status_of,
)
from tests.support.waiting import until


@pytest.fixture
def runner(tmp_path: Path) -> Iterator[RunningRunner]:
    runner = RunningRunner(tmp_path)
    yield runner
    runner.close()


# ---- how a command ends


def test_a_command_that_succeeds(runner: RunningRunner) -> None:
    before = time.time()
    started = runner.start("a.1", "echo said")
    ended = runner.ended("a.1")
    assert (ended["exit_status"], ended["signal"], ended["reason"]) == (0, None, None)
    assert before <= started["started"] <= ended["ended"] <= time.time()
    assert ended["started"] == started["started"]
    assert ended["pid"] == started["pid"]
    assert ended["output_bytes"] == 5
    assert ended["cpu_seconds"] >= 0
    assert ended["memory_peak"] > 100_000
    assert runner.output("a.1") == "said\n"


def test_a_command_that_fails(runner: RunningRunner) -> None:
    ended, _ = runner.run("exit 3")
    assert (ended["exit_status"], ended["signal"]) == (3, None)


def test_a_command_that_dies_of_a_signal(runner: RunningRunner) -> None:
    ended, _ = runner.run("kill -SEGV $$")
    assert (ended["exit_status"], ended["signal"]) == (None, signal.SIGSEGV)


def test_the_cpu_time_of_its_children_counts(runner: RunningRunner) -> None:
    count = "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done"
    ended, _ = runner.run(f"({count}); true")
    assert ended["cpu_seconds"] > 0.01


# ---- output


def test_stdout_and_stderr_in_their_order(runner: RunningRunner) -> None:
    _, output = runner.run("echo one; echo two >&2; echo three")
    assert output == "one\ntwo\nthree\n"


def test_no_output_no_file(runner: RunningRunner) -> None:
    ended, _ = runner.run("true")
    assert ended["output_bytes"] == 0
    assert not runner.output_path("only").exists()


def test_output_is_kept_up_to_the_limit_and_the_rest_counted(runner: RunningRunner) -> None:
    command = "seq 1500000"
    ended, output = runner.run(command, output_limit=100_000)
    printed = "".join(f"{number}\n" for number in range(1, 1_500_001))
    missing = len(printed) - 100_000
    line = f"\n[pycron: {missing} bytes are not kept here]\n"
    assert output == printed[:50_000] + line + printed[-50_000:]
    assert (ended["output_bytes"], ended["output_kept"]) == (len(printed), 100_000)
    assert [path.name for path in runner.output_path("only").parent.iterdir()] == ["only.log"]


@pytest.mark.parametrize("limit", [1, 2, 3, 99, 100, 101, 150_001])
def test_how_much_is_kept_of_outputs_around_the_limit(runner: RunningRunner, limit: int) -> None:
    """Of an output that is too large, only the middle is missing."""
    for size in (1, limit - 1, limit, limit + 1, 3 * limit, 150_000):
        key = f"size{size}.1"
        runner.start(key, f"seq -s '' 100000 | head -c {size}", output_limit=limit)
        ended, kept = runner.ended(key), runner.output(key)
        printed = "".join(map(str, range(1, 100_001)))[:size]
        head, line, tail = kept.partition(f"\n[pycron: {size - limit} bytes are not kept here]\n")
        assert bool(line) == (size > limit)
        assert head == printed[: len(head)]
        assert tail == printed[len(printed) - len(tail) :]
        assert len(head) + len(tail) == ended["output_kept"] == min(size, limit)


def test_a_file_that_cannot_grow_ends_the_recording_only(runner: RunningRunner) -> None:
    """As on a full disk: what was written stays, and only that is counted as kept."""
    limits = resource.prlimit(runner.process.pid, resource.RLIMIT_FSIZE, (100_000, 100_000))
    assert limits[1] == resource.RLIM_INFINITY
    ended, output = runner.run("seq 200000; echo done")
    assert ended["exit_status"] == 0
    assert ended["output_bytes"] > 1_000_000
    assert ended["output_kept"] == len(output) == 100_000
    assert output.startswith("1\n2\n3\n")


def test_the_tail_is_not_in_memory(runner: RunningRunner) -> None:
    """The memory of the runner does not depend on the limit."""
    before = int(status_of(runner.process.pid, "VmRSS").split()[0])
    runner.run("head -c 67108864 /dev/zero", output_limit=64 * MEGABYTE)
    assert int(status_of(runner.process.pid, "VmHWM").split()[0]) < before + 8 * 1024


@pytest.mark.parametrize(
    ("command", "changes", "short"),
    [
        ("echo one; echo two >&2", {}, "one\ntwo\n"),
        ("true", {}, None),
        ("printf %1000d 7", {}, " " * 999 + "7"),
        ("printf %1001d 7", {}, None),
        ("head -c 600 /dev/zero; sleep 0.1; head -c 600 /dev/zero", {}, None),
        (r"printf '\303\251 \377 \000'", {}, "\xc3\xa9 \xff \0"),
        ("echo one", {"output_limit": 4}, "one\n"),
        ("echo one", {"output_limit": 3}, None),
        ("echo one", {"output_limit": 0}, None),
        ("echo one", {"short_output": 0}, None),
        ("exec >&- 2>&-; sleep 0.1", {}, None),
        ("echo one; exec >&- 2>&-; sleep 0.1", {}, "one\n"),
        ("echo one; kill -9 $$", {}, "one\n"),
    ],
)
def test_a_short_output_comes_with_the_end(
    runner: RunningRunner, command: str, changes: dict[str, int], short: str | None
) -> None:
    """And then there is no file; of a longer one there is."""
    ended, in_file = runner.run(command, **{"short_output": 1000} | changes)
    assert ended["output"] == short
    if short is not None:
        assert (ended["output_bytes"], ended["output_kept"]) == (len(short), len(short))
    else:
        assert len(in_file) >= ended["output_kept"]
    has_file = short is None and ended["output_bytes"] > 0
    assert runner.output_path("only").exists() == has_file


def test_a_start_message_without_short_output_gets_a_file(runner: RunningRunner) -> None:
    """An older daemon does not send this key."""
    start = runner.start_message("only", "echo one")
    del start["short_output"]
    runner.client.send([start])
    assert runner.ended("only")["output"] is None
    assert runner.output("only") == "one\n"


def test_a_short_output_is_in_the_file_while_its_command_goes_on(runner: RunningRunner) -> None:
    runner.start(
        "a.1", "echo one; until [ -e go ]; do sleep 0.01; done; echo two", short_output=1000
    )
    until(lambda: runner.output("a.1") == "one\n")
    (runner.paths.state / "go").touch()
    assert runner.ended("a.1")["output"] is None
    assert runner.output("a.1") == "one\ntwo\n"


def test_a_short_output_is_told_to_the_next_daemon_again(runner: RunningRunner) -> None:
    runner.start("a.1", "echo one", short_output=1000)
    assert runner.ended("a.1")["output"] == "one\n"
    runner.disconnect()
    assert runner.reconnect()["a.1"]["output"] == "one\n"


def test_other_users_cannot_read_an_output_file(runner: RunningRunner) -> None:
    runner.run("echo secret")
    assert runner.output_path("only").stat().st_mode & 0o777 == 0o600
    assert runner.output_path("only").parent.stat().st_mode & 0o777 == 0o700


def test_a_short_output_is_in_the_file_where_no_daemon_takes_it(runner: RunningRunner) -> None:
    runner.start("a.1", "until [ -e go ]; do sleep 0.01; done; echo one", short_output=1000)
    runner.disconnect()
    (runner.paths.state / "go").touch()
    until(lambda: runner.output("a.1") == "one\n")
    until(
        lambda: (
            not Path(f"/proc/{runner.process.pid}/task/{runner.process.pid}/children").read_text()
        )
    )
    assert runner.reconnect()["a.1"]["output"] is None


def test_a_short_output_is_told_to_the_next_daemon_once_more(runner: RunningRunner) -> None:
    runner.start("a.1", "echo one", short_output=1000)
    assert runner.ended("a.1")["output"] == "one\n"
    runner.disconnect()
    assert runner.reconnect()["a.1"]["output"] == "one\n"


def test_output_is_nobody_elses_to_read(runner: RunningRunner) -> None:
    runner.run("echo secret")
    assert runner.output_path("only").stat().st_mode & 0o777 == 0o600
    assert runner.output_path("only").parent.stat().st_mode & 0o777 == 0o700


def test_output_does_not_follow_a_link(runner: RunningRunner, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("kept")
    link = tmp_path / "link.log"
    link.symlink_to(precious)
    ended, _ = runner.run("echo gone", output=str(link))
    assert (ended["exit_status"], ended["output_bytes"]) == (0, 5)
    assert precious.read_text() == "kept"


def test_output_that_cannot_be_stored_does_not_harm_the_command(runner: RunningRunner) -> None:
    ended, _ = runner.run("head -c 200000 /dev/zero && echo done", output="/proc/no/such/file")
    assert (ended["exit_status"], ended["output_bytes"]) == (0, 200_005)


def shown(runner: RunningRunner, id: str) -> dict[str, str]:
    """What the runner has reported of an Attempt, by stream; an ended stream ends with `$`."""
    streams: dict[str, str] = {}
    for message in runner.receive():
        if message["type"] == "output" and message["id"] == id:
            stream = message["stream"]
            streams[stream] = streams.get(stream, "") + (message["data"] or "$")
    return streams


def test_output_is_reported_if_the_start_message_says_so(runner: RunningRunner) -> None:
    printing = "echo ä; echo no >&2; exec >&-; sleep 1000"
    runner.start("quiet", printing, report_output=False)
    runner.start("shown", printing, report_output=True)
    until(lambda: shown(runner, "shown").get("stdout", "").endswith("$"))
    assert shown(runner, "shown") == {"stdout": "ä\n$".encode().decode("latin-1"), "stderr": "no\n"}
    until(lambda: runner.output("quiet"))
    assert not shown(runner, "quiet")
    order = [m["type"] for m in runner.messages if m["id"] == "shown"]
    assert order[:2] == ["started", "output"]


def test_reported_output_comes_before_the_end_of_its_command(runner: RunningRunner) -> None:
    runner.start("a.1", "echo x; (sleep 0.3; echo late) &", report_output=True)
    runner.ended("a.1")
    until(lambda: shown(runner, "a.1") == {"stdout": "x\nlate\n$", "stderr": "$"})
    order = [m.get("data", m["type"]) for m in runner.messages if m.get("stream") != "stderr"]
    assert order == ["started", "x\n", "ended", "late\n", ""]


def test_a_command_waits_when_the_daemon_takes_no_output(runner: RunningRunner) -> None:
    """And everything is reported, and kept, when it takes output again."""
    total = 3 * WINDOW
    runner.start("a.1", f"head -c {total} /dev/zero", report_output=True)
    runner.start("b.1", "echo me, too", report_output=False)
    runner.ended("b.1")

    def untaken() -> int:
        return sum(map(len, shown(runner, "a.1").values()))

    until(lambda: untaken() >= WINDOW)
    assert untaken() <= WINDOW + 65_536
    for _ in range(100):
        runner.receive()
    assert not runner.received("ended", "a.1")
    while not runner.received("ended", "a.1"):
        runner.client.send([{"type": "taken", "bytes": WINDOW // 4}])
    assert runner.ended("a.1")["output_bytes"] == total
    until(lambda: shown(runner, "a.1")["stdout"] == "\0" * total + "$")
    assert len(runner.output("a.1")) == total


def test_a_daemon_that_goes_away_leaves_no_command_waiting(runner: RunningRunner) -> None:
    runner.start("a.1", f"head -c {3 * WINDOW} /dev/zero; touch done", report_output=True)
    until(lambda: sum(map(len, shown(runner, "a.1").values())) >= WINDOW)
    runner.disconnect()
    until((runner.paths.state / "done").exists)


def test_a_command_that_prints_without_end_does_not_delay_another(runner: RunningRunner) -> None:
    runner.start("flood", "yes")
    started = time.monotonic()
    runner.start("other", "echo me, too")
    assert runner.ended("other")["exit_status"] == 0
    assert time.monotonic() - started < 5
    until(runner.output_path("flood").exists)
    assert runner.output_path("flood").stat().st_size <= MEGABYTE


# ---- what a command is given


def test_stdin_larger_than_a_pipe_and_no_text(runner: RunningRunner) -> None:
    text = "\udcff\udc80é\n" * 100_000
    ended, output = runner.run("cat", stdin=text, output_limit=2 * MEGABYTE)
    assert output == text
    assert ended["output_bytes"] == len(text.encode("utf-8", "surrogateescape"))


def test_stdin_is_empty_by_default(runner: RunningRunner) -> None:
    assert runner.run("cat; readlink /proc/self/fd/0")[1] == "/dev/null\n"


def test_the_environment_is_what_was_sent(runner: RunningRunner) -> None:
    environment = {"A": "1", "EMPTY": "", "BYTES": "\udcff", "PATH": "/nowhere"}
    _, output = runner.run("", argv=["/usr/bin/env"], env=environment)
    assert sorted(output.splitlines()) == sorted(f"{k}={v}" for k, v in environment.items())


def test_the_directory(runner: RunningRunner, tmp_path: Path) -> None:
    directory = tmp_path / "with blank"
    directory.mkdir()
    assert runner.run("pwd", cwd=str(directory))[1] == f"{directory}\n"


def test_a_command_runs_in_the_root_if_its_directory_is_missing_and_not_required(
    runner: RunningRunner,
) -> None:
    ended, output = runner.run("pwd", cwd="/no/such", cwd_required=False)
    assert (ended["exit_status"], output) == (0, "/\n")


def test_a_missing_directory_that_is_required(runner: RunningRunner, tmp_path: Path) -> None:
    ended, _ = runner.run(f"touch {tmp_path}/ran", cwd="/no/such", cwd_required=True)
    assert ended["exit_status"] == 126
    assert ended["reason"].startswith("cannot enter /no/such: ")
    assert not (tmp_path / "ran").exists()


def test_a_missing_shell(runner: RunningRunner) -> None:
    ended, _ = runner.run("", argv=["/no/such/shell", "-c", "true"])
    assert ended["exit_status"] == 126
    assert ended["reason"].startswith("cannot run /no/such/shell: ")
    assert "No such file" in ended["reason"]


def test_a_failure_is_reported_for_its_own_attempt_only(runner: RunningRunner) -> None:
    """The reason contains text of a table; a user must not forge a line for another Attempt."""
    runner.start("victim", "while [ ! -e go ]; do sleep 0.01; done")
    for number, end in enumerate("\n\r\v\f\x1c\x85\u2028"):
        runner.start(f"liar{number}", "", argv=[f"/no{end}victim made up", "-c", "true"])
        assert runner.ended(f"liar{number}")["reason"].startswith("cannot run /no")
    (runner.paths.state / "go").touch()
    assert runner.ended("victim")["reason"] is None


def test_the_umask(runner: RunningRunner) -> None:
    assert runner.run("umask", umask=0o027)[1] == "0027\n"


def test_the_default_umask(tmp_path: Path) -> None:
    before = os.umask(0o077)
    runner = RunningRunner(tmp_path)
    os.umask(before)
    try:
        assert runner.run("umask")[1] == "0022\n"
    finally:
        runner.close()


def test_the_niceness(runner: RunningRunner) -> None:
    nice = os.nice(0) + 7  # not below that of the tests: only root may lower it
    assert runner.run("nice", nice=nice)[1] == f"{nice}\n"


def test_no_descriptor_is_inherited(runner: RunningRunner) -> None:
    runner.start("other", "sleep 1000", stdin="text")
    _, output = runner.run("", argv=["/bin/ls", "/proc/self/fd"])
    assert output.split() == ["0", "1", "2", "3"]  # the last one is how ls reads the directory


def test_no_descriptor_of_the_daemon_is_inherited(tmp_path: Path) -> None:
    with (tmp_path / "secret").open("w") as file:
        os.set_inheritable(file.fileno(), True)
        runner = RunningRunner(tmp_path)
    try:
        targets = [os.readlink(entry) for entry in Path(f"/proc/{runner.process.pid}/fd").iterdir()]
        assert str(tmp_path / "secret") not in targets
    finally:
        runner.close()


# Signals 32 and 33 are glibc's own; its posix_spawn ignores them, and they have no default.
REAL_SIGNALS = ~(3 << 31)


def signals_of(runner: RunningRunner) -> dict[str, int]:
    _, output = runner.run("", argv=["/bin/cat", "/proc/self/status"])
    lines = (line.split(":\t") for line in output.splitlines() if line.startswith("Sig"))
    masks = {key: value for key, value in lines if key in ("SigIgn", "SigBlk", "SigCgt")}
    return {key: int(mask, 16) & REAL_SIGNALS for key, mask in masks.items()}


def test_signals_are_the_default_ones(runner: RunningRunner) -> None:
    assert signals_of(runner) == {"SigIgn": 0, "SigBlk": 0, "SigCgt": 0}


def test_signals_that_the_parent_ignored_are_the_default_ones(tmp_path: Path) -> None:
    ignored = (signal.SIGTSTP, signal.SIGTTOU, signal.SIGALRM, signal.SIGRTMAX)
    before = {number: signal.signal(number, signal.SIG_IGN) for number in ignored}
    runner = RunningRunner(tmp_path)
    for number, handler in before.items():
        signal.signal(number, handler)
    try:
        assert signals_of(runner) == {"SigIgn": 0, "SigBlk": 0, "SigCgt": 0}
    finally:
        runner.close()


def test_signals_that_the_parent_blocked(tmp_path: Path) -> None:
    """A runner that starts with SIGCHLD blocked still has to hear that a command has ended."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD, signal.SIGTERM})
    runner = RunningRunner(tmp_path)
    signal.pthread_sigmask(signal.SIG_SETMASK, before)
    try:
        assert signals_of(runner) == {"SigIgn": 0, "SigBlk": 0, "SigCgt": 0}
    finally:
        runner.close()


def test_a_session_of_its_own_without_a_terminal(runner: RunningRunner) -> None:
    ended, output = runner.run("", argv=["/bin/cat", "/proc/self/stat"])
    group, session, terminal = output.rpartition(")")[2].split()[2:5]
    assert int(group) == int(session) == ended["pid"]
    assert terminal == "0"


def test_the_limit_of_open_files_is_as_before(runner: RunningRunner) -> None:
    _, output = runner.run("ulimit -Sn; ulimit -Hn")
    expected = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert output.replace("unlimited", "-1").split() == [str(limit) for limit in expected]


# ---- users


@pytest.mark.root
@needs_root
def test_a_command_becomes_its_user(runner: RunningRunner) -> None:
    user = other_user(groups=(4711, 4712))
    _, output = runner.run(
        "id -u; id -ru; id -g; id -rg; id -G; grep Cap... /proc/self/status", user=user, cwd="/"
    )
    uid, real_uid, gid, real_gid, groups, *capabilities = output.splitlines()
    assert int(uid) == int(real_uid) == user["uid"]
    assert int(gid) == int(real_gid) == user["gid"]
    assert {int(group) for group in groups.split()} == set(user["groups"])
    effective = [line for line in capabilities if line.startswith(("CapEff", "CapPrm"))]
    assert len(effective) == 2
    assert all(int(line.split()[1], 16) == 0 for line in effective)


@pytest.mark.root
@needs_root
def test_a_user_cannot_touch_files_of_root(runner: RunningRunner) -> None:
    kill = f"kill -0 {runner.process.pid} && echo killed"
    command = f"test -w /etc/passwd && echo writable; cat /etc/shadow; {kill}"
    _, output = runner.run(command, user=other_user(), cwd="/")
    assert "writable" not in output
    assert "root:" not in output
    assert "killed" not in output


@pytest.mark.root
@needs_root
def test_a_directory_that_only_root_may_enter(runner: RunningRunner) -> None:
    """The directory is entered as the user, not as root."""
    runner.paths.state.chmod(0o700)
    ended, _ = runner.run("pwd", user=other_user(), cwd=str(runner.paths.state))
    assert ended["exit_status"] == 126
    assert "Permission denied" in ended["reason"]


@pytest.mark.root
@needs_root
def test_a_niceness_that_is_higher_already_stays(tmp_path: Path) -> None:
    """Only root may lower it, and the daemon may have been started with more than is wanted."""
    before = os.getpriority(os.PRIO_PROCESS, 0)
    os.setpriority(os.PRIO_PROCESS, 0, before + 5)
    try:
        runner = RunningRunner(tmp_path)
    finally:
        os.setpriority(os.PRIO_PROCESS, 0, before)
    try:
        for niceness, found in ((before + 2, before + 5), (before + 7, before + 7)):
            name = str(niceness)
            runner.start(name, "nice", user=other_user(), nice=niceness, cwd="/")
            assert runner.ended(name)["exit_status"] == 0
            assert runner.output(name) == f"{found}\n"
    finally:
        runner.close()


@pytest.mark.root
@needs_root
def test_only_root_gets_a_negative_niceness(runner: RunningRunner) -> None:
    assert runner.run("nice", nice=-5)[1] == "-5\n"
    runner.start("other", "nice", user=other_user(), nice=-5, cwd="/")
    assert runner.ended("other")["exit_status"] == 126
    assert runner.ended("other")["reason"].startswith("cannot set the niceness: ")


@pytest.mark.root
@needs_root
def test_a_peer_of_another_user_is_refused() -> None:
    """A second barrier: the mode of the socket keeps other users out as well."""
    directory = Path(tempfile.mkdtemp())
    runner = RunningRunner(directory)
    try:
        directory.chmod(0o755)
        runner.paths.runner_socket.chmod(0o666)
        runner.start("running", "sleep 1000")
        runner.disconnect()
        child = os.fork()
        if child == 0:
            status = 1
            try:
                os.setresuid(*[other_user()["uid"]] * 3)
                with runner.raw_connection() as connection, contextlib.suppress(ConnectionError):
                    status = 2
                    connection.sendall(encode([{"type": "hello", "protocol": PROTOCOL}]))
                    status = 3 if connection.recv(1000) else 0
            except ConnectionError:
                status = 0
            finally:
                os._exit(0 if status == 2 else status)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert set(runner.reconnect()) == {"running"}
    finally:
        runner.close()
        shutil.rmtree(directory)


# ---- starts that are held


def test_a_held_start_waits_for_its_second(runner: RunningRunner) -> None:
    runner.client.send(
        [
            runner.start_message("a.1", "exit 3", hold=100),
            runner.start_message("b.1", ":", hold=101),
        ]
    )
    runner.client.send([{"type": "go", "until": 100}])
    assert runner.ended("a.1")["exit_status"] == 3
    assert runner.received("started", "b.1") is None
    runner.client.send([{"type": "go", "until": 101}])
    assert runner.ended("b.1")["exit_status"] == 0


@pytest.mark.parametrize("ready", [True, False])
def test_the_go_message_may_come_before_that_second(runner: RunningRunner, ready: bool) -> None:
    """No command begins before that second, whether a starter is ready or not."""
    second = int(time.time()) + 2
    starts = [runner.start_message(f"a{number}.1", ":", hold=second) for number in range(5)]
    if ready:
        runner.client.send(starts)
        starter_of(runner)
    until(lambda: time.time() > second - 0.05)
    runner.client.send([*(() if ready else starts), {"type": "go", "until": second}])
    for start in starts:
        assert runner.ended(start["id"])["started"] >= second


def test_a_start_is_ended_between_the_go_message_and_that_second(runner: RunningRunner) -> None:
    """The same for a start whose starter is ready and waits for its turn."""
    second = int(time.time()) + 3
    names = [f"a{number}.1" for number in range(2 * STARTERS)]
    end = {"type": "end", "id": names[-1], "cause": "cancelled", "reason": "why", "kill_after": 0}
    runner.client.send(  # no two of them fit in one batch
        runner.start_message(name, "echo x >> started", hold=second, processes_max=4096 + number)
        for number, name in enumerate(names)
    )
    until(lambda: len(children(runner.process.pid)) == len(names))
    until(lambda: time.time() > second - 0.09)
    runner.client.send([{"type": "go", "until": second}, end])
    for name in names[:-1]:
        assert runner.ended(name)["exit_status"] == 0
    assert until(lambda: runner.received("refused", names[-1]) or {})["reason"] == "why"
    assert len((runner.paths.state / "started").read_text().split()) == len(names) - 1


def test_a_held_start_that_was_dropped_can_come_again(runner: RunningRunner) -> None:
    runner.client.send(
        [runner.start_message("a.1", "exit 3", hold=100), {"type": "drop", "id": "a.1"}]
    )
    runner.client.send([{"type": "go", "until": 100}, runner.start_message("a.1", "exit 4")])
    assert runner.ended("a.1")["exit_status"] == 4


def test_a_held_start_that_is_ended_is_refused(runner: RunningRunner) -> None:
    end = {"type": "end", "id": "a.1", "cause": "cancelled", "reason": "why", "kill_after": 0}
    runner.client.send(
        [runner.start_message("a.1", ":", hold=100), end, {"type": "go", "until": 100}]
    )
    refused = until(lambda: runner.received("refused", "a.1"))
    assert refused
    assert (refused["cause"], refused["reason"]) == ("cancelled", "why")


def starter_of(runner: RunningRunner) -> int:
    """The pid of the starter that waits with the first held starts."""
    return until(lambda: children(runner.process.pid))[0]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_starter_that_waits_is_killed(runner: RunningRunner, number: signal.Signals) -> None:
    runner.client.send(
        [
            runner.start_message("a.1", "exit 3", hold=100),
            runner.start_message("b.1", "exit 4", hold=100),
        ]
    )
    first = starter_of(runner)
    os.kill(first, signal.SIGKILL)
    until(lambda: starter_of(runner) != first)
    os.kill(starter_of(runner), number)  # again, perhaps at the moment of the go message
    runner.client.send([{"type": "go", "until": 100}])
    assert runner.ended("a.1")["exit_status"] == 3
    assert runner.ended("b.1")["exit_status"] == 4


def test_one_of_the_held_starts_of_a_starter_is_dropped(runner: RunningRunner) -> None:
    runner.client.send(
        [
            runner.start_message("a.1", "exit 3", hold=100),
            runner.start_message("b.1", "exit 4", hold=100),
        ]
    )
    starter_of(runner)
    runner.client.send([{"type": "drop", "id": "a.1"}, {"type": "go", "until": 100}])
    assert runner.ended("b.1")["exit_status"] == 4
    assert runner.received("started", "a.1") is None


def test_of_many_held_starts_none_is_lost_and_none_starts_twice(runner: RunningRunner) -> None:
    """Some of the starters that wait are killed, and some of the starts are dropped."""
    ids = [f"h{number}.1" for number in range(100 * STARTERS)]
    runner.client.send(
        runner.start_message(key, "echo x >> started; exit 3", hold=100) for key in ids
    )
    until(lambda: len(children(runner.process.pid)) >= STARTERS)
    for starter in children(runner.process.pid)[::2]:
        os.kill(starter, signal.SIGKILL)
    dropped = set(ids[::10])
    runner.client.send({"type": "drop", "id": key} for key in dropped)
    assert runner.run("exit 5")[0]["exit_status"] == 5  # what is due starts meanwhile
    assert not (runner.paths.state / "started").exists()
    runner.client.send([{"type": "go", "until": 100}])
    expected = set(ids) - dropped | {"only"}
    until(lambda: sum(m["type"] == "ended" for m in runner.receive()) == len(expected))
    assert {m["id"] for m in runner.receive() if m["type"] == "ended"} == expected
    assert (runner.paths.state / "started").read_text().count("x") == len(ids) - len(dropped)


def test_held_starts_are_forgotten_when_the_daemon_dies_and_the_runner_stays(
    runner: RunningRunner,
) -> None:
    runner.client.send([runner.start_message("a.1", ":", hold=100)])
    instance = runner.client.instance
    runner.disconnect()
    assert runner.reconnect() == {}
    assert runner.client.instance == instance


# ---- many at once


def test_many_are_started_once_and_all_of_them_end(runner: RunningRunner) -> None:
    ids = [f"b{number}.1" for number in range(300)]
    runner.client.send(runner.start_message(key, "echo $$", env={}) for key in ids)
    until(lambda: sum(1 for m in runner.receive() if m["type"] == "ended") == len(ids), 60)
    assert sorted(m["id"] for m in runner.receive() if m["type"] == "started") == sorted(ids)
    assert all(m["exit_status"] == 0 for m in runner.receive() if m["type"] == "ended")
    pids = {m["id"]: m["pid"] for m in runner.receive() if m["type"] == "ended"}
    assert all(runner.output(key) == f"{pid}\n" for key, pid in pids.items())
    runner.client.send([{"type": "ack", "ids": ids}])
    runner.disconnect_in_good_order()
    until(lambda: not runner.alive())  # it has nothing left to tell
    assert runner.process.returncode == 0


def test_a_start_message_that_comes_twice_starts_one_command(runner: RunningRunner) -> None:
    start = runner.start_message("a.1", "echo once; sleep 0.1")
    runner.client.send([start, start])
    runner.client.send([start])
    runner.ended("a.1")
    runner.client.send([start])
    runner.run("true")
    assert sum(1 for m in runner.receive() if m["type"] == "started" and m["id"] == "a.1") == 1
    assert runner.output("a.1") == "once\n"


# ---- signals


def test_a_signal_reaches_the_whole_group(runner: RunningRunner) -> None:
    runner.start("a.1", "sleep 1000 & echo $!; sleep 1001 & echo $!; wait")
    children = until(lambda: [int(pid) for pid in runner.output("a.1").split()][1:] and [
        int(pid) for pid in runner.output("a.1").split()])  # fmt: skip
    runner.client.send([{"type": "signal", "id": "a.1", "signal": int(signal.SIGTERM)}])
    assert runner.ended("a.1")["signal"] == signal.SIGTERM
    until(lambda: not any(exists(pid) for pid in children))


def test_a_signal_for_an_attempt_that_has_ended_or_is_unknown(runner: RunningRunner) -> None:
    runner.start("a.1", "true")
    runner.ended("a.1")
    for key in ("a.1", "unknown"):
        runner.client.send([{"type": "signal", "id": key, "signal": int(signal.SIGKILL)}])
    assert runner.run("echo fine")[1] == "fine\n"


def test_a_signal_right_behind_the_start_is_not_lost(runner: RunningRunner) -> None:
    """The command ends, even if it has not been forked or has not reached its exec yet."""
    for number in range(20):
        key = f"s{number}.1"
        kill = {"type": "signal", "id": key, "signal": int(signal.SIGTERM)}
        runner.client.send([runner.start_message(key, "sleep 1000"), kill])
    until(lambda: sum(1 for m in runner.receive() if m["type"] == "ended") == 20)


def test_a_signal_right_behind_the_fork_is_not_lost(runner: RunningRunner) -> None:
    """A command that has just been forked has the runner's ignored signals for a moment."""
    for number in range(100):
        key = f"s{number}.1"
        runner.start(key, "sleep 1000")
        runner.client.send([{"type": "signal", "id": key, "signal": int(signal.SIGTERM)}])
    until(lambda: sum(1 for m in runner.receive() if m["type"] == "ended") == 100)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP, signal.SIGQUIT])
def test_the_runner_itself_is_not_ended_by_a_signal(runner: RunningRunner, number: int) -> None:
    os.kill(runner.process.pid, number)
    assert runner.run("echo fine")[1] == "fine\n"


def test_a_runner_without_a_command_ends_on_sigterm(runner: RunningRunner) -> None:
    runner.process.terminate()
    assert runner.process.wait(10) == 0


def test_a_runner_that_got_sigterm_ends_with_its_last_command(runner: RunningRunner) -> None:
    """When no daemon is connected; with a daemon, the runner goes on."""
    runner.start("a.1", "while [ ! -e go ]; do sleep 0.01; done")
    runner.process.terminate()
    (runner.paths.state / "go").touch()
    assert runner.ended("a.1")["exit_status"] == 0
    runner.start("b.1", "while [ -e go ]; do sleep 0.01; done")
    runner.process.terminate()
    runner.disconnect()
    (runner.paths.state / "go").unlink()
    assert runner.process.wait(10) == 0


def test_a_new_daemon_keeps_a_runner_that_got_sigterm(runner: RunningRunner) -> None:
    runner.start("a.1", "while [ ! -e go ]; do sleep 0.01; done")
    runner.process.terminate()
    runner.disconnect()
    assert set(runner.reconnect()) == {"a.1"}
    (runner.paths.state / "go").touch()
    assert runner.ended("a.1")["exit_status"] == 0
    assert runner.alive()


@pytest.mark.root
@needs_root
def test_a_signal_that_is_not_permitted_does_no_harm() -> None:
    """A command that has become root through sudo cannot be signalled by its user."""
    if not shutil.which("setpriv"):
        pytest.skip("needs setpriv, in place of sudo")
    directory = Path(tempfile.mkdtemp())
    directory.chmod(0o777)
    sudo = directory / "sudo"
    shutil.copy(shutil.which("setpriv") or "", sudo)
    sudo.chmod(0o4755)
    child = os.fork()
    if child == 0:
        status = 1
        try:
            user = other_user()
            os.setgroups([])
            os.setresgid(user["gid"], user["gid"], user["gid"])
            os.setresuid(user["uid"], user["uid"], user["uid"])
            try:
                runner = RunningRunner(directory)
            except PermissionError:  # a Python that is root's alone
                status = 77
            else:
                status = _signal_what_became_root(runner, sudo)
        finally:
            os._exit(status)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    pids = directory / "pids"
    for pid in pids.read_text().split() if pids.exists() else []:
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(pid), signal.SIGKILL)
    shutil.rmtree(directory)
    if status == 77:
        pytest.skip("no setuid programs in the temporary directory, or no Python for others")
    assert status == 0


def _signal_what_became_root(runner: RunningRunner, sudo: Path) -> int:
    command = f"echo $$ >> pids; exec {sudo} --reuid 0 sleep 1000"
    pid = runner.start("a.1", command)["pid"]
    with (runner.paths.state / "pids").open("a") as pids:
        pids.write(f"{runner.process.pid}\n")
    until(lambda: "sleep" in status_of(pid, "Name") or runner.received("ended", "a.1"))
    if runner.received("ended", "a.1"):
        return 77
    runner.client.send([{"type": "signal", "id": "a.1", "signal": int(signal.SIGTERM)}])
    return 0 if runner.run("echo fine", user=None)[1] == "fine\n" else 1


# ---- the daemon goes and comes


def test_a_new_daemon_finds_what_runs_and_what_has_ended(runner: RunningRunner) -> None:
    runner.start("before", "exit 4")
    runner.ended("before")
    runner.start("running", "echo begun; while [ ! -e stop ]; do sleep 0.01; done; exit 6")
    runner.start("between", "while [ ! -e go ]; do sleep 0.01; done; exit 5")
    first = runner.client.instance
    runner.disconnect()
    (runner.paths.state / "go").touch()
    until(lambda: len(children(runner.process.pid)) == 1)
    known = runner.reconnect()
    assert runner.client.instance == first
    assert runner.client.protocol == PROTOCOL
    assert {key: message["type"] for key, message in known.items()} == {
        "before": "ended", "running": "started", "between": "ended",
    }  # fmt: skip
    assert known["before"]["exit_status"] == 4
    assert known["between"]["exit_status"] == 5
    (runner.paths.state / "stop").touch()
    assert runner.ended("running")["exit_status"] == 6
    assert runner.output("running") == "begun\n"


def test_start_messages_of_a_daemon_that_died_are_carried_out(runner: RunningRunner) -> None:
    ids = {f"b{number}.1" for number in range(100)}
    runner.client.send(runner.start_message(key, "sleep 1000") for key in sorted(ids))
    runner.disconnect()
    known = runner.reconnect()
    assert set(known) <= ids  # a daemon sends again what did not reach the runner
    assert known
    until(
        lambda: all(
            m["type"] == "started" or runner.received("started", m["id"]) for m in known.values()
        )
    )
    runner.pids |= {message["pid"] for message in known.values() if "pid" in message}


def test_the_first_message_to_a_daemon_is_hello(runner: RunningRunner) -> None:
    """Also if a command ends between the connection and the hello of the daemon."""
    runner.start("a.1", "while [ ! -e go ]; do sleep 0.01; done", report_output=True)
    runner.disconnect()
    connection = runner.raw_connection()
    (runner.paths.state / "go").touch()
    until(lambda: not children(runner.process.pid))
    client = RunnerClient(connection, runner.selector)
    assert [message["type"] for message in client.known] == ["ended"]
    client.close()


def test_what_was_acknowledged_is_forgotten(runner: RunningRunner) -> None:
    for key in ("a.1", "b.1"):
        runner.start(key, "true")
        runner.ended(key)
    runner.start("running", "sleep 1000")
    runner.client.send([{"type": "ack", "ids": ["a.1", "running", "unknown"]}])
    runner.disconnect()
    assert set(runner.reconnect()) == {"b.1", "running"}  # a running Attempt cannot be acknowledged


def test_a_second_daemon_is_refused(runner: RunningRunner) -> None:
    assert find_runner(runner.paths, runner.selector) is None
    with runner.raw_connection() as connection:
        assert connection.recv(1000) == b""
    assert runner.run("echo fine")[1] == "fine\n"


def test_a_runner_that_accepts_no_connection_is_not_taken_for_dead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second runner in its place would not know the commands of the first one."""
    monkeypatch.setattr(connection, "_PATIENCE", 1.0)
    path = str(paths_in(tmp_path).runner_socket)
    with (
        unix_sockets.listen(path, 0o600, 0),
        unix_sockets.connect(path, 1),
        selectors.DefaultSelector() as selector,
        pytest.raises(RunnerSilent, match="no answer within 1 seconds"),
    ):
        find_runner(paths_in(tmp_path), selector)


@contextlib.contextmanager
def runner_that_says(path: str, first: bytes, later: bytes = b"") -> Iterator[Callable[[], int]]:
    """A process that answers a hello on this socket. The function that it yields sends the rest."""
    receiver, sender = os.pipe()
    with unix_sockets.listen(path, 0o600, 1) as listener:
        pid = os.fork()
        if pid == 0:
            peer, _ = listener.accept()
            peer.recv(1000)
            peer.send(first)
            os.read(receiver, 1)
            peer.send(later)
            signal.pause()
        try:
            yield partial(os.write, sender, b".")
        finally:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            os.close(receiver)
            os.close(sender)


HELLO = encode([
    {"type": "hello", "protocol": 2, "instance": "1-1", "cgroup": None, "attempts": []}
])  # fmt: skip


@pytest.mark.parametrize("said", [b"{}\n", b"no JSON\n", HELLO.replace(b'"1-1"', b"7")])
def test_a_runner_with_a_wrong_hello_is_not_taken_for_dead(tmp_path: Path, said: bytes) -> None:
    path = str(paths_in(tmp_path).runner_socket)
    with (
        runner_that_says(path, said),
        selectors.DefaultSelector() as selector,
        pytest.raises(RunnerSilent),
    ):
        find_runner(paths_in(tmp_path), selector)


@pytest.mark.parametrize(
    "said", [b"no JSON\n", b"[]\n", b'{"type":"ended"}\n', b'{"type":"output","id":7}\n']
)
def test_a_wrong_message_of_the_runner_ends_the_connection(tmp_path: Path, said: bytes) -> None:
    """The daemon connects again; the hello then repeats what the runner knows."""
    path = str(paths_in(tmp_path).runner_socket)
    with runner_that_says(path, HELLO, said) as go_on, selectors.DefaultSelector() as selector:
        client = find_runner(paths_in(tmp_path), selector)
        assert client
        go_on()
        with pytest.raises(RunnerGone, match=r"message|bad|Expecting"):
            until(client.receive)
        client.close()


def test_the_runner_exits_after_a_leave_message(runner: RunningRunner) -> None:
    runner.client.send([{"type": "leave"}])
    assert runner.process.wait(10) == 0
    with pytest.raises(RunnerGone):
        until(runner.receive)


def test_the_runner_does_not_exit_before_all_ends_are_acknowledged(runner: RunningRunner) -> None:
    runner.start("a.1", "while [ ! -e go ]; do sleep 0.01; done")
    runner.client.send([{"type": "leave"}])
    assert runner.run("echo fine")[1] == "fine\n"
    (runner.paths.state / "go").touch()
    runner.ended("a.1")
    assert runner.alive()
    runner.client.send([{"type": "ack", "ids": ["a.1", "only"]}])
    assert runner.process.wait(10) == 0


def test_after_a_leave_message_the_runner_waits_for_no_other_daemon(runner: RunningRunner) -> None:
    """A foreground daemon removes its directory, so no other daemon can find the runner."""
    runner.start("a.1", "while [ ! -e go ]; do sleep 0.01; done")
    runner.client.send([{"type": "leave"}])
    runner.disconnect()
    (runner.paths.state / "go").touch()
    assert runner.process.wait(10) == 0


def test_the_runner_exits_without_a_daemon_and_without_attempts(runner: RunningRunner) -> None:
    runner.disconnect_in_good_order()
    assert runner.process.wait(10) == 0


def test_the_runner_stays_while_a_command_runs_or_an_end_is_not_acknowledged(
    runner: RunningRunner,
) -> None:
    runner.start("a.1", "while [ ! -e go ]; do sleep 0.01; done; exit 9")
    runner.disconnect()
    (runner.paths.state / "go").touch()
    until(lambda: not children(runner.process.pid))
    assert runner.reconnect()["a.1"]["exit_status"] == 9
    runner.client.send([{"type": "ack", "ids": ["a.1"]}])
    runner.disconnect_in_good_order()
    assert runner.process.wait(10) == 0


def test_the_runner_waits_for_another_daemon_after_one_that_was_killed(
    runner: RunningRunner,
) -> None:
    """Only this runner can tell the next daemon which Attempts were never started."""
    instance = runner.client.instance
    runner.disconnect()
    assert runner.reconnect() == {}
    assert runner.client.instance == instance


# ---- children of commands

KEEPS_THE_PIPE = "(while [ ! -e go ]; do sleep 0.01; done; echo later; touch alive) & echo now"


def test_a_background_child_does_not_delay_the_end(runner: RunningRunner) -> None:
    ended, output = runner.run(KEEPS_THE_PIPE)
    assert (ended["exit_status"], output) == (0, "now\n")
    runner.client.send([{"type": "ack", "ids": ["only"]}])
    (runner.paths.state / "go").touch()
    until((runner.paths.state / "alive").exists)  # SIGPIPE would have ended it at its echo
    until(lambda: runner.output("only") == "now\nlater\n")


def test_a_background_child_survives_a_restart_of_the_daemon(runner: RunningRunner) -> None:
    """A server that a command has started must not die of SIGPIPE when the daemon is upgraded."""
    runner.run(KEEPS_THE_PIPE)
    runner.client.send([{"type": "ack", "ids": ["only"]}])
    runner.disconnect()
    with contextlib.suppress(subprocess.TimeoutExpired):
        runner.process.wait(0.5)  # time to exit, if it wrongly would
    (runner.paths.state / "go").touch()
    until((runner.paths.state / "alive").exists, patience=3)


def test_orphans_are_adopted_and_reaped(runner: RunningRunner) -> None:
    # Its parent and the command end at once; the runner becomes the parent of the orphan.
    orphan = "while [ ! -e go ]; do sleep 0.01; done"
    _, output = runner.run(f"sh -c '({orphan}) >/dev/null 2>&1 & echo $!'")
    pid = int(output)
    until(lambda: status_of(pid, "PPid") == str(runner.process.pid))
    (runner.paths.state / "go").touch()
    until(lambda: not exists(pid))
    assert runner.alive()


def test_the_runner_keeps_no_descriptor_of_a_command(runner: RunningRunner) -> None:
    def descriptors() -> int:
        return len(list(Path(f"/proc/{runner.process.pid}/fd").iterdir()))

    runner.run("true")
    before = descriptors()
    for number in range(20):
        runner.start(f"n{number}.1", "echo x; echo y >&2", stdin="text")
        runner.ended(f"n{number}.1")
    until(lambda: descriptors() <= before)


# ---- harm


GARBAGE = {
    "no JSON": b"{no json\n",
    "no object": b"[]\n",
    "no UTF-8": b"\xff\xff\n",
    "a start without anything": b'{"type":"start"}\n',
    "a start of nonsense": b'{"type":"start","id":"x","argv":1,"env":2,"stdin":3}\n',
    "a text that is none": encode([{"type": "start", "id": "x", "stdin": "\ud800", "argv": ["x"],
                                    "output": "", "output_limit": 0, "report_output": False,
                                    "timeout": None, "kill_after": 1, "memory_max": None,
                                    "processes_max": 1}]),
    "an ack of nothing": b'{"type":"ack"}\n',
    "a signal that is none": b'{"type":"signal","id":"running","signal":9999}\n',
    "an end of nothing": b'{"type":"end"}\n',
    "an end for no cause": encode([{"type": "end", "id": "running", "cause": "mood", "reason": "",
                                    "kill_after": 0}]),
    "an end that never comes": encode([{"type": "end", "id": "running", "cause": "cancelled",
                                        "reason": "", "kill_after": float("nan")}]),
    "deeply nested": b"[" * 100_000 + b"\n",
    "oversized": b"x" * (65 * MEGABYTE),
}  # fmt: skip


@pytest.mark.parametrize("garbage", GARBAGE.values(), ids=GARBAGE.keys())
def test_garbage_does_no_harm_to_the_commands(runner: RunningRunner, garbage: bytes) -> None:
    """The sender may lose its connection; the runner and its commands go on."""
    runner.start("running", "while [ ! -e go ]; do sleep 0.01; done; echo alive")
    runner.disconnect()
    with runner.raw_connection() as connection, contextlib.suppress(OSError):
        connection.sendall(encode([{"type": "hello", "protocol": PROTOCOL}]) + garbage)
        connection.settimeout(0.3)  # it is dropped, or nothing more is said
        while connection.recv(MEGABYTE):
            pass
    assert "running" in runner.reconnect()
    (runner.paths.state / "go").touch()
    runner.ended("running")
    assert runner.output("running") == "alive\n"


def test_running_out_of_descriptors_does_no_harm(runner: RunningRunner) -> None:
    runner.start("running", "while [ ! -e go ]; do sleep 0.01; done; exit 7")
    pid, limits = runner.process.pid, resource.prlimit(runner.process.pid, resource.RLIMIT_NOFILE)
    runner.client.send([{"type": "ack", "ids": []}])
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (3, limits[1]))
    refused = runner.start("refused", "true")
    assert refused["type"] == "refused"
    assert refused["reason"].startswith("cannot fork: ")
    runner.disconnect()
    with runner.raw_connection() as connection, contextlib.suppress(OSError):
        connection.settimeout(0.3)
        connection.recv(1000)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, limits)
    assert set(runner.reconnect()) == {"running", "refused"}
    (runner.paths.state / "go").touch()
    assert runner.ended("running")["exit_status"] == 7


@pytest.mark.parametrize("left", range(10))
def test_running_out_of_descriptors_while_getting_ready_does_no_harm(
    runner: RunningRunner, left: int
) -> None:
    """`left` descriptors are free, for the pipes of two held starts and for their starter."""
    runner.start("running", "while [ ! -e go ]; do sleep 0.01; done; exit 7")
    pid = runner.process.pid
    limits = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    highest = max(int(entry.name) for entry in Path(f"/proc/{pid}/fd").iterdir())
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (highest + 1 + left, limits[1]))
    held = {"a.1": "exit 3", "b.1": "exit 4"}
    runner.client.send(
        runner.start_message(key, command, hold=100) for key, command in held.items()
    )
    until(lambda: any(runner.received("refused", key) for key in held) or len(children(pid)) == 2)
    runner.client.send([{"type": "go", "until": 100}])
    until(
        lambda: all(
            runner.received("refused", key) or runner.received("ended", key) for key in held
        )
    )
    resource.prlimit(pid, resource.RLIMIT_NOFILE, limits)
    for key, command in held.items():
        ended = runner.received("ended", key)
        assert ended is None or f"exit {ended['exit_status']}" == command
    (runner.paths.state / "go").touch()
    assert runner.ended("running")["exit_status"] == 7
    assert runner.run("exit 5")[0]["exit_status"] == 5


@pytest.mark.parametrize("hold", [None, 100])
@pytest.mark.parametrize("user", [{}, {"uid": "root", "gid": 0, "groups": []}, {"uid": 1}])
def test_a_start_message_with_a_wrong_user_is_refused(
    runner: RunningRunner, user: dict[str, Any], hold: int | None
) -> None:
    refused = runner.start("a.1", "true", user=user, hold=hold)
    assert refused["type"] == "refused"
    assert refused["reason"].startswith("start: bad ")


def test_only_the_wrong_start_message_is_refused(runner: RunningRunner) -> None:
    """The daemon's other Attempts go on, and the refused one may be started again."""
    runner.client.send(
        [
            runner.start_message("huge", "true", memory_max=2**63),
            runner.start_message("good", "exit 3"),
        ]
    )
    assert runner.ended("good")["exit_status"] == 3
    refused = runner.received("refused", "huge")
    assert refused
    assert refused["reason"] == f"start: bad memory_max: {2**63}"
    runner.client.send([runner.start_message("huge", "exit 4", memory_max=2**62)])
    assert runner.ended("huge")["exit_status"] == 4


def test_the_largest_values_that_a_table_may_have_are_accepted() -> None:
    most = "CRON_MEMORY_MAX=1048576T CRON_TIMEOUT=3650d CRON_KILL_AFTER=3650d CRON_NICE=19"
    table = parse(
        f"{most} CRON_UMASK=0777 * * * * * a\n", Source("alice", "alice"), ReaderContext()
    )
    assert not table.errors
    account = Account("alice", 2**32 - 2, 2**32 - 2, (2**32 - 2,), "/")
    message = start_message(
        AttemptKey(RunKey("job", 0), 1), table.jobs[0], account, become=True, output="",
        output_limit=2**62, report_output=False, processes_max=2**62, hold=2**33,
        passed=NOTHING_PASSED,
    )  # fmt: skip
    assert daemon_message(dict(message)) == message


def test_a_log_that_cannot_be_written_does_not_end_the_runner(tmp_path: Path) -> None:
    (tmp_path / "runner.log").symlink_to("/dev/full")
    runner = RunningRunner(tmp_path)
    try:
        runner.start("running", "while [ ! -e go ]; do sleep 0.01; done; exit 7")
        runner.client.send([{"type": "ack"}])
        with pytest.raises(RunnerGone):
            until(lambda: runner.receive() and False)
        runner.disconnect()
        assert set(runner.reconnect()) == {"running"}
        (runner.paths.state / "go").touch()
        assert runner.ended("running")["exit_status"] == 7
    finally:
        runner.close()


def test_the_log_has_a_bound_and_counts_what_could_not_be_written(tmp_path: Path) -> None:
    """The kernel refuses to write to a file beyond RLIMIT_FSIZE, as it does on a full disk."""
    log = tmp_path / "runner.log"
    script = (
        "import os, resource, sys; from pycron.runner.log import say\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (50, 2 * 2**20))\n"
        "for number in range(20): say(f'number {number}')\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (2 * 2**20, 2 * 2**20))\n"
        "say('again')\n"
        "os.write(2, b'x' * 2**20)\n"
        "say('last'); say('very last')\n"
        "sys.stdout.write(open(sys.argv[1]).read())"
    )
    with log.open("ab") as file:
        done = subprocess.run([sys.executable, "-c", script, log], stderr=file, check=True,
                              stdout=subprocess.PIPE, text=True)  # fmt: skip
    assert done.stdout == "runner: last\nrunner: very last\n"


def test_a_small_process_forks_cheaply(runner: RunningRunner) -> None:
    for number in range(50):
        runner.start(f"m{number}.1", "echo x", env={"A": "x" * 10_000})
        runner.ended(f"m{number}.1")
    rollup = Path(f"/proc/{runner.process.pid}/smaps_rollup").read_text()
    proportional = next(line for line in rollup.splitlines() if line.startswith("Pss:"))
    assert int(proportional.split()[1]) < 16 * 1024  # kB
    assert int(status_of(runner.process.pid, "VmRSS").split()[0]) < 16 * 1024
