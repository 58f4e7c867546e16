"""The runner, for real: a process of its own, commands, files, signals, users."""

import contextlib
import os
import resource
import selectors
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pycron.crontab.reader import ReaderContext, parse
from pycron.executor import connection
from pycron.executor.connection import RunnerClient, RunnerGone, RunnerSilent
from pycron.executor.launch import find_runner
from pycron.executor.messages import start_message
from pycron.model.job import Source
from pycron.model.run import AttemptKey, RunKey
from pycron.protocol.framing import encode
from pycron.protocol.runner_messages import PROTOCOL, daemon_message
from pycron.runner.starter import STARTERS
from pycron.system import unix_sockets
from pycron.system.accounts import Account
from pycron.system.paths import paths_in
from tests.support.running_runner import (
    MEGABYTE,
    Host,
    children,
    exists,
    needs_root,
    other_user,
    status_of,
)
from tests.support.waiting import until


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    host = Host(tmp_path)
    yield host
    host.close()


# ---- how a command ends


def test_a_command_that_succeeds(host: Host) -> None:
    before = time.time()
    started = host.start("a.1", "echo said")
    ended = host.ended("a.1")
    assert (ended["exit_status"], ended["signal"], ended["reason"]) == (0, None, None)
    assert before <= started["started"] <= ended["ended"] <= time.time()
    assert ended["started"] == started["started"]
    assert ended["pid"] == started["pid"]
    assert ended["output_bytes"] == 5
    assert ended["cpu_seconds"] >= 0
    assert ended["memory_peak"] > 100_000
    assert host.output("a.1") == "said\n"


def test_a_command_that_fails(host: Host) -> None:
    ended, _ = host.run("exit 3")
    assert (ended["exit_status"], ended["signal"]) == (3, None)


def test_a_command_that_dies_of_a_signal(host: Host) -> None:
    ended, _ = host.run("kill -SEGV $$")
    assert (ended["exit_status"], ended["signal"]) == (None, signal.SIGSEGV)


def test_the_cpu_time_of_its_children_counts(host: Host) -> None:
    count = "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done"
    ended, _ = host.run(f"({count}); true")
    assert ended["cpu_seconds"] > 0.01


# ---- output


def test_stdout_and_stderr_in_their_order(host: Host) -> None:
    _, output = host.run("echo one; echo two >&2; echo three")
    assert output == "one\ntwo\nthree\n"


def test_no_output_no_file(host: Host) -> None:
    ended, _ = host.run("true")
    assert ended["output_bytes"] == 0
    assert not host.output_path("only").exists()


def test_output_is_kept_up_to_the_limit_and_the_rest_counted(host: Host) -> None:
    command = "seq 1500000"
    ended, output = host.run(command, output_limit=100_000)
    printed = "".join(f"{number}\n" for number in range(1, 1_500_001))
    missing = len(printed) - 100_000
    line = f"\n[pycron: {missing} bytes are not kept here]\n"
    assert output == printed[:50_000] + line + printed[-50_000:]
    assert (ended["output_bytes"], ended["output_kept"]) == (len(printed), 100_000)
    assert [path.name for path in host.output_path("only").parent.iterdir()] == ["only.log"]


@pytest.mark.parametrize("limit", [1, 2, 3, 99, 100, 101, 150_001])
def test_how_much_is_kept_of_outputs_around_the_limit(host: Host, limit: int) -> None:
    """Of an output that is too large, only the middle is missing."""
    for size in (1, limit - 1, limit, limit + 1, 3 * limit, 150_000):
        key = f"size{size}.1"
        host.start(key, f"seq -s '' 100000 | head -c {size}", output_limit=limit)
        ended, kept = host.ended(key), host.output(key)
        printed = "".join(map(str, range(1, 100_001)))[:size]
        head, line, tail = kept.partition(f"\n[pycron: {size - limit} bytes are not kept here]\n")
        assert bool(line) == (size > limit)
        assert head == printed[: len(head)]
        assert tail == printed[len(printed) - len(tail) :]
        assert len(head) + len(tail) == ended["output_kept"] == min(size, limit)


def test_a_file_that_cannot_grow_ends_the_recording_only(host: Host) -> None:
    """As on a full disk: what was written stays, and only that is counted as kept."""
    limits = resource.prlimit(host.process.pid, resource.RLIMIT_FSIZE, (100_000, 100_000))
    assert limits[1] == resource.RLIM_INFINITY
    ended, output = host.run("seq 200000; echo done")
    assert ended["exit_status"] == 0
    assert ended["output_bytes"] > 1_000_000
    assert ended["output_kept"] == len(output) == 100_000
    assert output.startswith("1\n2\n3\n")


def test_the_tail_is_not_in_memory(host: Host) -> None:
    """The memory of the runner does not depend on the limit."""
    before = int(status_of(host.process.pid, "VmRSS").split()[0])
    host.run("head -c 67108864 /dev/zero", output_limit=64 * MEGABYTE)
    assert int(status_of(host.process.pid, "VmHWM").split()[0]) < before + 8 * 1024


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
    host: Host, command: str, changes: dict[str, int], short: str | None
) -> None:
    """And then there is no file; of a longer one there is."""
    ended, in_file = host.run(command, **{"short_output": 1000} | changes)
    assert ended["output"] == short
    if short is not None:
        assert (ended["output_bytes"], ended["output_kept"]) == (len(short), len(short))
    else:
        assert len(in_file) >= ended["output_kept"]
    has_file = short is None and ended["output_bytes"] > 0
    assert host.output_path("only").exists() == has_file


def test_a_start_message_without_short_output_gets_a_file(host: Host) -> None:
    """An older daemon does not send this key."""
    start = host.order("only", "echo one")
    del start["short_output"]
    host.client.send([start])
    assert host.ended("only")["output"] is None
    assert host.output("only") == "one\n"


def test_a_short_output_is_in_the_file_while_its_command_goes_on(host: Host) -> None:
    host.start("a.1", "echo one; until [ -e go ]; do sleep 0.01; done; echo two", short_output=1000)
    until(lambda: host.output("a.1") == "one\n")
    (host.paths.state / "go").touch()
    assert host.ended("a.1")["output"] is None
    assert host.output("a.1") == "one\ntwo\n"


def test_what_a_background_child_prints_follows_in_the_file(host: Host) -> None:
    child = "(until [ -e go ]; do sleep 0.01; done; echo two) &"
    ended, output = host.run(f"echo one; {child}", short_output=1000)
    assert (ended["output"], ended["output_kept"], output) == (None, 4, "one\n")
    (host.paths.state / "go").touch()
    until(lambda: host.output("only") == "one\ntwo\n")


def test_a_background_child_that_is_the_first_to_print(host: Host) -> None:
    child = "(until [ -e go ]; do sleep 0.01; done; echo two) &"
    ended, _ = host.run(child, short_output=1000)
    assert (ended["output"], ended["output_kept"]) == (None, 0)
    (host.paths.state / "go").touch()
    until(lambda: host.output("only") == "two\n")


def test_a_short_output_is_in_the_file_where_no_daemon_takes_it(host: Host) -> None:
    host.start("a.1", "until [ -e go ]; do sleep 0.01; done; echo one", short_output=1000)
    host.hang_up()
    (host.paths.state / "go").touch()
    until(lambda: host.output("a.1") == "one\n")
    until(
        lambda: not Path(f"/proc/{host.process.pid}/task/{host.process.pid}/children").read_text()
    )
    assert host.call_again()["a.1"]["output"] is None


def test_a_short_output_is_told_to_the_next_daemon_again(host: Host) -> None:
    host.start("a.1", "echo one", short_output=1000)
    assert host.ended("a.1")["output"] == "one\n"
    host.hang_up()
    assert host.call_again()["a.1"]["output"] == "one\n"


def test_other_users_cannot_read_an_output_file(host: Host) -> None:
    host.run("echo secret")
    assert host.output_path("only").stat().st_mode & 0o777 == 0o600
    assert host.output_path("only").parent.stat().st_mode & 0o777 == 0o700


def test_output_does_not_follow_a_link(host: Host, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("kept")
    link = tmp_path / "link.log"
    link.symlink_to(precious)
    ended, _ = host.run("echo gone", output=str(link))
    assert (ended["exit_status"], ended["output_bytes"]) == (0, 5)
    assert precious.read_text() == "kept"


def test_output_that_cannot_be_stored_does_not_harm_the_command(host: Host) -> None:
    ended, _ = host.run("head -c 200000 /dev/zero && echo done", output="/proc/no/such/file")
    assert (ended["exit_status"], ended["output_bytes"]) == (0, 200_005)


def test_growing_output_is_reported_if_the_start_message_says_so(
    host: Host, tmp_path: Path
) -> None:
    host.start("quiet", "echo x; sleep 1000", report_output=False)
    host.start("shown", "echo x; sleep 1000", report_output=True)
    until(lambda: host.heard("output", "shown"))
    assert host.output("shown") == "x\n"
    until(lambda: host.output("quiet"))
    assert not host.heard("output", "quiet")


def test_a_command_that_prints_without_end_does_not_delay_another(host: Host) -> None:
    host.start("flood", "yes")
    started = time.monotonic()
    host.start("other", "echo me, too")
    assert host.ended("other")["exit_status"] == 0
    assert time.monotonic() - started < 5
    until(host.output_path("flood").exists)
    assert host.output_path("flood").stat().st_size <= MEGABYTE


# ---- what a command is given


def test_stdin_larger_than_a_pipe_and_no_text(host: Host) -> None:
    text = "\udcff\udc80é\n" * 100_000
    ended, output = host.run("cat", stdin=text, output_limit=2 * MEGABYTE)
    assert output == text
    assert ended["output_bytes"] == len(text.encode("utf-8", "surrogateescape"))


def test_stdin_is_empty_by_default(host: Host) -> None:
    assert host.run("cat; readlink /proc/self/fd/0")[1] == "/dev/null\n"


def test_the_environment_is_what_was_sent(host: Host) -> None:
    environment = {"A": "1", "EMPTY": "", "BYTES": "\udcff", "PATH": "/nowhere"}
    _, output = host.run("", argv=["/usr/bin/env"], env=environment)
    assert sorted(output.splitlines()) == sorted(f"{k}={v}" for k, v in environment.items())


def test_the_directory(host: Host, tmp_path: Path) -> None:
    directory = tmp_path / "with blank"
    directory.mkdir()
    assert host.run("pwd", cwd=str(directory))[1] == f"{directory}\n"


def test_a_command_runs_in_the_root_if_its_directory_is_missing_and_not_required(
    host: Host,
) -> None:
    ended, output = host.run("pwd", cwd="/no/such", cwd_required=False)
    assert (ended["exit_status"], output) == (0, "/\n")


def test_a_missing_directory_that_is_required(host: Host, tmp_path: Path) -> None:
    ended, _ = host.run(f"touch {tmp_path}/ran", cwd="/no/such", cwd_required=True)
    assert ended["exit_status"] == 126
    assert ended["reason"].startswith("cannot enter /no/such: ")
    assert not (tmp_path / "ran").exists()


def test_a_missing_shell(host: Host) -> None:
    ended, _ = host.run("", argv=["/no/such/shell", "-c", "true"])
    assert ended["exit_status"] == 126
    assert ended["reason"].startswith("cannot run /no/such/shell: ")
    assert "No such file" in ended["reason"]


def test_a_failure_is_reported_for_its_own_attempt_only(host: Host) -> None:
    """The reason contains text of a table; a user must not forge a line for another Attempt."""
    host.start("victim", "while [ ! -e go ]; do sleep 0.01; done")
    for number, end in enumerate("\n\r\v\f\x1c\x85\u2028"):
        host.start(f"liar{number}", "", argv=[f"/no{end}victim made up", "-c", "true"])
        assert host.ended(f"liar{number}")["reason"].startswith("cannot run /no")
    (host.paths.state / "go").touch()
    assert host.ended("victim")["reason"] is None


def test_the_umask(host: Host) -> None:
    assert host.run("umask", umask=0o027)[1] == "0027\n"


def test_the_default_umask(tmp_path: Path) -> None:
    before = os.umask(0o077)
    host = Host(tmp_path)
    os.umask(before)
    try:
        assert host.run("umask")[1] == "0022\n"
    finally:
        host.close()


def test_the_niceness(host: Host) -> None:
    assert host.run("nice", nice=7)[1] == "7\n"


def test_no_descriptor_is_inherited(host: Host) -> None:
    host.start("other", "sleep 1000", stdin="text")
    _, output = host.run("", argv=["/bin/ls", "/proc/self/fd"])
    assert output.split() == ["0", "1", "2", "3"]  # the last one is how ls reads the directory


def test_no_descriptor_of_the_daemon_is_inherited(tmp_path: Path) -> None:
    with (tmp_path / "secret").open("w") as file:
        os.set_inheritable(file.fileno(), True)
        host = Host(tmp_path)
    try:
        targets = [os.readlink(entry) for entry in Path(f"/proc/{host.process.pid}/fd").iterdir()]
        assert str(tmp_path / "secret") not in targets
    finally:
        host.close()


# Signals 32 and 33 are glibc's own; its posix_spawn ignores them, and they have no default.
REAL_SIGNALS = ~(3 << 31)


def signals_of(host: Host) -> dict[str, int]:
    _, output = host.run("", argv=["/bin/cat", "/proc/self/status"])
    lines = (line.split(":\t") for line in output.splitlines() if line.startswith("Sig"))
    masks = {key: value for key, value in lines if key in ("SigIgn", "SigBlk", "SigCgt")}
    return {key: int(mask, 16) & REAL_SIGNALS for key, mask in masks.items()}


def test_signals_are_the_default_ones(host: Host) -> None:
    assert signals_of(host) == {"SigIgn": 0, "SigBlk": 0, "SigCgt": 0}


def test_signals_that_the_parent_ignored_are_the_default_ones(tmp_path: Path) -> None:
    ignored = (signal.SIGTSTP, signal.SIGTTOU, signal.SIGALRM, signal.SIGRTMAX)
    before = {number: signal.signal(number, signal.SIG_IGN) for number in ignored}
    host = Host(tmp_path)
    for number, handler in before.items():
        signal.signal(number, handler)
    try:
        assert signals_of(host) == {"SigIgn": 0, "SigBlk": 0, "SigCgt": 0}
    finally:
        host.close()


def test_signals_that_the_parent_blocked(tmp_path: Path) -> None:
    """A runner that starts with SIGCHLD blocked still has to hear that a command has ended."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD, signal.SIGTERM})
    host = Host(tmp_path)
    signal.pthread_sigmask(signal.SIG_SETMASK, before)
    try:
        assert signals_of(host) == {"SigIgn": 0, "SigBlk": 0, "SigCgt": 0}
    finally:
        host.close()


def test_a_session_of_its_own_without_a_terminal(host: Host) -> None:
    ended, output = host.run("", argv=["/bin/cat", "/proc/self/stat"])
    group, session, terminal = output.rpartition(")")[2].split()[2:5]
    assert int(group) == int(session) == ended["pid"]
    assert terminal == "0"


def test_the_limit_of_open_files_is_as_before(host: Host) -> None:
    _, output = host.run("ulimit -Sn; ulimit -Hn")
    expected = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert output.replace("unlimited", "-1").split() == [str(limit) for limit in expected]


# ---- users


@pytest.mark.root
@needs_root
def test_a_command_becomes_its_user(host: Host) -> None:
    user = other_user(groups=(4711, 4712))
    _, output = host.run(
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
def test_a_user_cannot_touch_files_of_root(host: Host) -> None:
    kill = f"kill -0 {host.process.pid} && echo killed"
    command = f"test -w /etc/passwd && echo writable; cat /etc/shadow; {kill}"
    _, output = host.run(command, user=other_user(), cwd="/")
    assert "writable" not in output
    assert "root:" not in output
    assert "killed" not in output


@pytest.mark.root
@needs_root
def test_a_directory_that_only_root_may_enter(host: Host) -> None:
    """The directory is entered as the user, not as root."""
    host.paths.state.chmod(0o700)
    ended, _ = host.run("pwd", user=other_user(), cwd=str(host.paths.state))
    assert ended["exit_status"] == 126
    assert "Permission denied" in ended["reason"]


@pytest.mark.root
@needs_root
def test_only_root_gets_a_negative_niceness(host: Host) -> None:
    assert host.run("nice", nice=-5)[1] == "-5\n"
    host.start("other", "nice", user=other_user(), nice=-5, cwd="/")
    assert host.ended("other")["exit_status"] == 126
    assert host.ended("other")["reason"].startswith("cannot set the niceness: ")


@pytest.mark.root
@needs_root
def test_a_peer_of_another_user_is_refused() -> None:
    """A second barrier: the mode of the socket keeps other users out as well."""
    directory = Path(tempfile.mkdtemp())
    host = Host(directory)
    try:
        directory.chmod(0o755)
        host.paths.runner_socket.chmod(0o666)
        host.start("running", "sleep 1000")
        host.hang_up()
        child = os.fork()
        if child == 0:
            status = 1
            try:
                os.setresuid(*[other_user()["uid"]] * 3)
                with host.raw_connection() as connection, contextlib.suppress(ConnectionError):
                    status = 2
                    connection.sendall(encode([{"type": "hello", "protocol": PROTOCOL}]))
                    status = 3 if connection.recv(1000) else 0
            except ConnectionError:
                status = 0
            finally:
                os._exit(0 if status == 2 else status)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert set(host.call_again()) == {"running"}
    finally:
        host.close()
        shutil.rmtree(directory)


# ---- starts that are held


def test_a_held_start_waits_for_its_second(host: Host) -> None:
    host.client.send([host.order("a.1", "exit 3", hold=100), host.order("b.1", ":", hold=101)])
    host.client.send([{"type": "go", "until": 100}])
    assert host.ended("a.1")["exit_status"] == 3
    assert host.heard("started", "b.1") is None
    host.client.send([{"type": "go", "until": 101}])
    assert host.ended("b.1")["exit_status"] == 0


@pytest.mark.parametrize("ready", [True, False])
def test_the_go_message_may_come_before_that_second(host: Host, ready: bool) -> None:
    """No command begins before that second, whether a starter is ready or not."""
    second = int(time.time()) + 2
    starts = [host.order(f"a{number}.1", ":", hold=second) for number in range(5)]
    if ready:
        host.client.send(starts)
        starter_of(host)
    until(lambda: time.time() > second - 0.05)
    host.client.send([*(() if ready else starts), {"type": "go", "until": second}])
    for start in starts:
        assert host.ended(start["id"])["started"] >= second


def test_a_start_is_ended_between_the_go_message_and_that_second(host: Host) -> None:
    """The same for a start whose starter is ready and waits for its turn."""
    second = int(time.time()) + 3
    names = [f"a{number}.1" for number in range(2 * STARTERS)]
    end = {"type": "end", "id": names[-1], "cause": "cancelled", "reason": "why", "kill_after": 0}
    host.client.send(  # no two of them fit in one batch
        host.order(name, "echo x >> started", hold=second, processes_max=4096 + number)
        for number, name in enumerate(names)
    )
    until(lambda: len(children(host.process.pid)) == len(names))
    until(lambda: time.time() > second - 0.09)
    host.client.send([{"type": "go", "until": second}, end])
    for name in names[:-1]:
        assert host.ended(name)["exit_status"] == 0
    assert until(lambda: host.heard("refused", names[-1]) or {})["reason"] == "why"
    assert len((host.paths.state / "started").read_text().split()) == len(names) - 1


def test_a_held_start_that_was_dropped_can_come_again(host: Host) -> None:
    host.client.send([host.order("a.1", "exit 3", hold=100), {"type": "drop", "id": "a.1"}])
    host.client.send([{"type": "go", "until": 100}, host.order("a.1", "exit 4")])
    assert host.ended("a.1")["exit_status"] == 4


def test_a_held_start_that_is_ended_is_refused(host: Host) -> None:
    end = {"type": "end", "id": "a.1", "cause": "cancelled", "reason": "why", "kill_after": 0}
    host.client.send([host.order("a.1", ":", hold=100), end, {"type": "go", "until": 100}])
    refused = until(lambda: host.heard("refused", "a.1"))
    assert refused
    assert (refused["cause"], refused["reason"]) == ("cancelled", "why")


def starter_of(host: Host) -> int:
    """The pid of the starter that waits with the first held starts."""
    return until(lambda: children(host.process.pid))[0]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_starter_that_waits_is_killed(host: Host, number: signal.Signals) -> None:
    host.client.send([host.order("a.1", "exit 3", hold=100), host.order("b.1", "exit 4", hold=100)])
    first = starter_of(host)
    os.kill(first, signal.SIGKILL)
    until(lambda: starter_of(host) != first)
    os.kill(starter_of(host), number)  # again, perhaps at the moment of the go message
    host.client.send([{"type": "go", "until": 100}])
    assert host.ended("a.1")["exit_status"] == 3
    assert host.ended("b.1")["exit_status"] == 4


def test_one_of_the_held_starts_of_a_starter_is_dropped(host: Host) -> None:
    host.client.send([host.order("a.1", "exit 3", hold=100), host.order("b.1", "exit 4", hold=100)])
    starter_of(host)
    host.client.send([{"type": "drop", "id": "a.1"}, {"type": "go", "until": 100}])
    assert host.ended("b.1")["exit_status"] == 4
    assert host.heard("started", "a.1") is None


def test_of_many_held_starts_none_is_lost_and_none_starts_twice(host: Host) -> None:
    """Some of the starters that wait are killed, and some of the starts are dropped."""
    ids = [f"h{number}.1" for number in range(100 * STARTERS)]
    host.client.send(host.order(key, "echo x >> started; exit 3", hold=100) for key in ids)
    until(lambda: len(children(host.process.pid)) >= STARTERS)
    for starter in children(host.process.pid)[::2]:
        os.kill(starter, signal.SIGKILL)
    dropped = set(ids[::10])
    host.client.send({"type": "drop", "id": key} for key in dropped)
    assert host.run("exit 5")[0]["exit_status"] == 5  # what is due starts meanwhile
    assert not (host.paths.state / "started").exists()
    host.client.send([{"type": "go", "until": 100}])
    expected = set(ids) - dropped | {"only"}
    until(lambda: sum(m["type"] == "ended" for m in host.hear()) == len(expected))
    assert {m["id"] for m in host.hear() if m["type"] == "ended"} == expected
    assert (host.paths.state / "started").read_text().count("x") == len(ids) - len(dropped)


def test_held_starts_are_forgotten_when_the_daemon_dies_and_the_runner_stays(host: Host) -> None:
    host.client.send([host.order("a.1", ":", hold=100)])
    instance = host.client.instance
    host.hang_up()
    assert host.call_again() == {}
    assert host.client.instance == instance


# ---- many at once


def test_many_are_started_once_and_all_of_them_end(host: Host) -> None:
    ids = [f"b{number}.1" for number in range(300)]
    host.client.send(host.order(key, "echo $$", env={}) for key in ids)
    until(lambda: sum(1 for m in host.hear() if m["type"] == "ended") == len(ids), 60)
    assert sorted(m["id"] for m in host.hear() if m["type"] == "started") == sorted(ids)
    assert all(m["exit_status"] == 0 for m in host.hear() if m["type"] == "ended")
    pids = {m["id"]: m["pid"] for m in host.hear() if m["type"] == "ended"}
    assert all(host.output(key) == f"{pid}\n" for key, pid in pids.items())
    host.client.send([{"type": "ack", "ids": ids}])
    host.say_goodbye()
    until(lambda: not host.alive())  # it has nothing left to tell
    assert host.process.returncode == 0


def test_a_start_message_that_comes_twice_starts_one_command(host: Host) -> None:
    start = host.order("a.1", "echo once; sleep 0.1")
    host.client.send([start, start])
    host.client.send([start])
    host.ended("a.1")
    host.client.send([start])
    host.run("true")
    assert sum(1 for m in host.hear() if m["type"] == "started" and m["id"] == "a.1") == 1
    assert host.output("a.1") == "once\n"


# ---- signals


def test_a_signal_reaches_the_whole_group(host: Host) -> None:
    host.start("a.1", "sleep 1000 & echo $!; sleep 1001 & echo $!; wait")
    children = until(lambda: [int(pid) for pid in host.output("a.1").split()][1:] and [
        int(pid) for pid in host.output("a.1").split()])  # fmt: skip
    host.client.send([{"type": "signal", "id": "a.1", "signal": int(signal.SIGTERM)}])
    assert host.ended("a.1")["signal"] == signal.SIGTERM
    until(lambda: not any(exists(pid) for pid in children))


def test_a_signal_for_an_attempt_that_has_ended_or_is_unknown(host: Host) -> None:
    host.start("a.1", "true")
    host.ended("a.1")
    for key in ("a.1", "unknown"):
        host.client.send([{"type": "signal", "id": key, "signal": int(signal.SIGKILL)}])
    assert host.run("echo fine")[1] == "fine\n"


def test_a_signal_right_behind_the_start_is_not_lost(host: Host) -> None:
    """The command ends, even if it has not been forked or has not reached its exec yet."""
    for number in range(20):
        key = f"s{number}.1"
        kill = {"type": "signal", "id": key, "signal": int(signal.SIGTERM)}
        host.client.send([host.order(key, "sleep 1000"), kill])
    until(lambda: sum(1 for m in host.hear() if m["type"] == "ended") == 20)


def test_a_signal_right_behind_the_fork_is_not_lost(host: Host) -> None:
    """A command that has just been forked has the runner's ignored signals for a moment."""
    for number in range(100):
        key = f"s{number}.1"
        host.start(key, "sleep 1000")
        host.client.send([{"type": "signal", "id": key, "signal": int(signal.SIGTERM)}])
    until(lambda: sum(1 for m in host.hear() if m["type"] == "ended") == 100)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT])
def test_the_runner_itself_is_not_ended_by_a_signal(host: Host, number: int) -> None:
    os.kill(host.process.pid, number)
    assert host.run("echo fine")[1] == "fine\n"


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
                host = Host(directory)
            except PermissionError:  # a Python that is root's alone
                status = 77
            else:
                status = _signal_what_became_root(host, sudo)
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


def _signal_what_became_root(host: Host, sudo: Path) -> int:
    command = f"echo $$ >> pids; exec {sudo} --reuid 0 sleep 1000"
    pid = host.start("a.1", command)["pid"]
    with (host.paths.state / "pids").open("a") as pids:
        pids.write(f"{host.process.pid}\n")
    until(lambda: "sleep" in status_of(pid, "Name") or host.heard("ended", "a.1"))
    if host.heard("ended", "a.1"):
        return 77
    host.client.send([{"type": "signal", "id": "a.1", "signal": int(signal.SIGTERM)}])
    return 0 if host.run("echo fine", user=None)[1] == "fine\n" else 1


# ---- the daemon goes and comes


def test_a_new_daemon_finds_what_runs_and_what_has_ended(host: Host) -> None:
    host.start("before", "exit 4")
    host.ended("before")
    host.start("running", "echo begun; while [ ! -e stop ]; do sleep 0.01; done; exit 6")
    host.start("between", "while [ ! -e go ]; do sleep 0.01; done; exit 5")
    first = host.client.instance
    host.hang_up()
    (host.paths.state / "go").touch()
    until(lambda: len(children(host.process.pid)) == 1)
    known = host.call_again()
    assert host.client.instance == first
    assert host.client.protocol == PROTOCOL
    assert {key: message["type"] for key, message in known.items()} == {
        "before": "ended", "running": "started", "between": "ended",
    }  # fmt: skip
    assert known["before"]["exit_status"] == 4
    assert known["between"]["exit_status"] == 5
    (host.paths.state / "stop").touch()
    assert host.ended("running")["exit_status"] == 6
    assert host.output("running") == "begun\n"


def test_start_messages_of_a_daemon_that_died_are_carried_out(host: Host) -> None:
    ids = {f"b{number}.1" for number in range(100)}
    host.client.send(host.order(key, "sleep 1000") for key in sorted(ids))
    host.hang_up()
    known = host.call_again()
    assert set(known) <= ids  # a daemon sends again what did not reach the runner
    assert known
    until(
        lambda: all(
            m["type"] == "started" or host.heard("started", m["id"]) for m in known.values()
        )
    )
    host.pids |= {message["pid"] for message in known.values() if "pid" in message}


def test_the_first_message_to_a_daemon_is_hello(host: Host) -> None:
    """Also if a command ends between the connection and the hello of the daemon."""
    host.start("a.1", "while [ ! -e go ]; do sleep 0.01; done", report_output=True)
    host.hang_up()
    connection = host.raw_connection()
    (host.paths.state / "go").touch()
    until(lambda: not children(host.process.pid))
    client = RunnerClient(connection, host.selector)
    assert [message["type"] for message in client.known] == ["ended"]
    client.close()


def test_what_was_acknowledged_is_forgotten(host: Host) -> None:
    for key in ("a.1", "b.1"):
        host.start(key, "true")
        host.ended(key)
    host.start("running", "sleep 1000")
    host.client.send([{"type": "ack", "ids": ["a.1", "running", "unknown"]}])
    host.hang_up()
    assert set(host.call_again()) == {"b.1", "running"}  # a running Attempt cannot be acknowledged


def test_a_second_daemon_is_refused(host: Host) -> None:
    assert find_runner(host.paths, host.selector) is None
    with host.raw_connection() as connection:
        assert connection.recv(1000) == b""
    assert host.run("echo fine")[1] == "fine\n"


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
def runner_that_says(path: str, *said: bytes) -> Iterator[None]:
    """A process that answers a hello on this socket with these bytes, and then waits."""
    with unix_sockets.listen(path, 0o600, 1) as listener:
        pid = os.fork()
        if pid == 0:
            peer, _ = listener.accept()
            peer.recv(1000)
            for part in said:
                peer.send(part)
            signal.pause()
        yield
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


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
    with runner_that_says(path, HELLO, said), selectors.DefaultSelector() as selector:
        client = find_runner(paths_in(tmp_path), selector)
        assert client
        with pytest.raises(RunnerGone, match=r"message|bad|Expecting"):
            until(client.receive)
        client.close()


def test_the_runner_exits_after_a_leave_message(host: Host) -> None:
    host.client.send([{"type": "leave"}])
    assert host.process.wait(10) == 0
    with pytest.raises(RunnerGone):
        until(host.hear)


def test_the_runner_does_not_exit_before_all_ends_are_acknowledged(host: Host) -> None:
    host.start("a.1", "while [ ! -e go ]; do sleep 0.01; done")
    host.client.send([{"type": "leave"}])
    assert host.run("echo fine")[1] == "fine\n"
    (host.paths.state / "go").touch()
    host.ended("a.1")
    assert host.alive()
    host.client.send([{"type": "ack", "ids": ["a.1", "only"]}])
    assert host.process.wait(10) == 0


def test_after_a_leave_message_the_runner_waits_for_no_other_daemon(host: Host) -> None:
    """A foreground daemon removes its directory, so no other daemon can find the runner."""
    host.start("a.1", "while [ ! -e go ]; do sleep 0.01; done")
    host.client.send([{"type": "leave"}])
    host.hang_up()
    (host.paths.state / "go").touch()
    assert host.process.wait(10) == 0


def test_the_runner_exits_without_a_daemon_and_without_attempts(host: Host) -> None:
    host.say_goodbye()
    assert host.process.wait(10) == 0


def test_the_runner_stays_while_a_command_runs_or_an_end_is_not_acknowledged(host: Host) -> None:
    host.start("a.1", "while [ ! -e go ]; do sleep 0.01; done; exit 9")
    host.hang_up()
    (host.paths.state / "go").touch()
    until(lambda: not children(host.process.pid))
    assert host.call_again()["a.1"]["exit_status"] == 9
    host.client.send([{"type": "ack", "ids": ["a.1"]}])
    host.say_goodbye()
    assert host.process.wait(10) == 0


def test_the_runner_waits_for_another_daemon_after_one_that_was_killed(host: Host) -> None:
    """Only this runner can tell the next daemon which Attempts were never started."""
    instance = host.client.instance
    host.hang_up()
    assert host.call_again() == {}
    assert host.client.instance == instance


# ---- children of commands

KEEPS_THE_PIPE = "(while [ ! -e go ]; do sleep 0.01; done; echo later; touch alive) & echo now"


def test_a_background_child_does_not_delay_the_end(host: Host) -> None:
    ended, output = host.run(KEEPS_THE_PIPE)
    assert (ended["exit_status"], output) == (0, "now\n")
    host.client.send([{"type": "ack", "ids": ["only"]}])
    (host.paths.state / "go").touch()
    until((host.paths.state / "alive").exists)  # SIGPIPE would have ended it at its echo
    until(lambda: host.output("only") == "now\nlater\n")


def test_a_background_child_survives_a_restart_of_the_daemon(host: Host) -> None:
    """A server that a command has started must not die of SIGPIPE when the daemon is upgraded."""
    host.run(KEEPS_THE_PIPE)
    host.client.send([{"type": "ack", "ids": ["only"]}])
    host.hang_up()
    with contextlib.suppress(subprocess.TimeoutExpired):
        host.process.wait(0.5)  # time to exit, if it wrongly would
    (host.paths.state / "go").touch()
    until((host.paths.state / "alive").exists, patience=3)


def test_orphans_are_adopted_and_reaped(host: Host) -> None:
    # Its parent and the command end at once; the runner becomes the parent of the orphan.
    orphan = "while [ ! -e go ]; do sleep 0.01; done"
    _, output = host.run(f"sh -c '({orphan}) >/dev/null 2>&1 & echo $!'")
    pid = int(output)
    until(lambda: status_of(pid, "PPid") == str(host.process.pid))
    (host.paths.state / "go").touch()
    until(lambda: not exists(pid))
    assert host.alive()


def test_the_runner_keeps_no_descriptor_of_a_command(host: Host) -> None:
    def descriptors() -> int:
        return len(list(Path(f"/proc/{host.process.pid}/fd").iterdir()))

    host.run("true")
    before = descriptors()
    for number in range(20):
        host.start(f"n{number}.1", "echo x; echo y >&2", stdin="text")
        host.ended(f"n{number}.1")
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
def test_garbage_does_no_harm_to_the_commands(host: Host, garbage: bytes) -> None:
    """The sender may lose its connection; the runner and its commands go on."""
    host.start("running", "while [ ! -e go ]; do sleep 0.01; done; echo alive")
    host.hang_up()
    with host.raw_connection() as connection, contextlib.suppress(OSError):
        connection.sendall(encode([{"type": "hello", "protocol": PROTOCOL}]) + garbage)
        connection.settimeout(0.3)  # it is dropped, or nothing more is said
        while connection.recv(MEGABYTE):
            pass
    assert "running" in host.call_again()
    (host.paths.state / "go").touch()
    host.ended("running")
    assert host.output("running") == "alive\n"


def test_running_out_of_descriptors_does_no_harm(host: Host) -> None:
    host.start("running", "while [ ! -e go ]; do sleep 0.01; done; exit 7")
    pid, limits = host.process.pid, resource.prlimit(host.process.pid, resource.RLIMIT_NOFILE)
    host.client.send([{"type": "ack", "ids": []}])
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (3, limits[1]))
    refused = host.start("refused", "true")
    assert refused["type"] == "refused"
    assert refused["reason"].startswith("cannot fork: ")
    host.hang_up()
    with host.raw_connection() as connection, contextlib.suppress(OSError):
        connection.settimeout(0.3)
        connection.recv(1000)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, limits)
    assert set(host.call_again()) == {"running", "refused"}
    (host.paths.state / "go").touch()
    assert host.ended("running")["exit_status"] == 7


@pytest.mark.parametrize("left", range(10))
def test_running_out_of_descriptors_while_getting_ready_does_no_harm(host: Host, left: int) -> None:
    """`left` descriptors are free, for the pipes of two held starts and for their starter."""
    host.start("running", "while [ ! -e go ]; do sleep 0.01; done; exit 7")
    pid = host.process.pid
    limits = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    highest = max(int(entry.name) for entry in Path(f"/proc/{pid}/fd").iterdir())
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (highest + 1 + left, limits[1]))
    held = {"a.1": "exit 3", "b.1": "exit 4"}
    host.client.send(host.order(key, command, hold=100) for key, command in held.items())
    until(lambda: any(host.heard("refused", key) for key in held) or len(children(pid)) == 2)
    host.client.send([{"type": "go", "until": 100}])
    until(lambda: all(host.heard("refused", key) or host.heard("ended", key) for key in held))
    resource.prlimit(pid, resource.RLIMIT_NOFILE, limits)
    for key, command in held.items():
        ended = host.heard("ended", key)
        assert ended is None or f"exit {ended['exit_status']}" == command
    (host.paths.state / "go").touch()
    assert host.ended("running")["exit_status"] == 7
    assert host.run("exit 5")[0]["exit_status"] == 5


@pytest.mark.parametrize("hold", [None, 100])
@pytest.mark.parametrize("user", [{}, {"uid": "root", "gid": 0, "groups": []}, {"uid": 1}])
def test_a_start_message_with_a_wrong_user_is_refused(
    host: Host, user: dict[str, Any], hold: int | None
) -> None:
    refused = host.start("a.1", "true", user=user, hold=hold)
    assert refused["type"] == "refused"
    assert refused["reason"].startswith("start: bad ")


def test_only_the_wrong_start_message_is_refused(host: Host) -> None:
    """The daemon's other Attempts go on, and the refused one may be started again."""
    host.client.send([host.order("huge", "true", memory_max=2**63), host.order("good", "exit 3")])
    assert host.ended("good")["exit_status"] == 3
    refused = host.heard("refused", "huge")
    assert refused
    assert refused["reason"] == f"start: bad memory_max: {2**63}"
    host.client.send([host.order("huge", "exit 4", memory_max=2**62)])
    assert host.ended("huge")["exit_status"] == 4


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
    )  # fmt: skip
    assert daemon_message(dict(message)) == message


def test_a_log_that_cannot_be_written_does_not_end_the_runner(tmp_path: Path) -> None:
    (tmp_path / "runner.log").symlink_to("/dev/full")
    host = Host(tmp_path)
    try:
        host.start("running", "while [ ! -e go ]; do sleep 0.01; done; exit 7")
        host.client.send([{"type": "ack"}])
        with pytest.raises(RunnerGone):
            until(lambda: host.hear() and False)
        host.hang_up()
        assert set(host.call_again()) == {"running"}
        (host.paths.state / "go").touch()
        assert host.ended("running")["exit_status"] == 7
    finally:
        host.close()


def test_a_small_process_forks_cheaply(host: Host) -> None:
    for number in range(50):
        host.start(f"m{number}.1", "echo x", env={"A": "x" * 10_000})
        host.ended(f"m{number}.1")
    rollup = Path(f"/proc/{host.process.pid}/smaps_rollup").read_text()
    proportional = next(line for line in rollup.splitlines() if line.startswith("Pss:"))
    assert int(proportional.split()[1]) < 16 * 1024  # kB
    assert int(status_of(host.process.pid, "VmRSS").split()[0]) < 16 * 1024
