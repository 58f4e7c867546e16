"""The processes between the runner and the commands, and what their users may do to them.

A starter runs as the user whose commands it starts, so that user can kill and stop it.
"""

import contextlib
import fcntl
import os
import resource
import shutil
import signal
import tempfile
from collections import Counter
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

import pytest

from pycron.executor.connection import RunnerGone
from pycron.executor.launch import find_runner
from pycron.protocol.framing import Message
from pycron.runner.progress import BEGUN, STARTED, BatchProgress
from pycron.runner.starter import STARTERS
from pycron.runner.starters import BATCH
from tests.support.running_runner import (
    RunningRunner,
    children,
    exists,
    needs_root,
    starters_of,
    status_of,
)
from tests.support.waiting import until

_uids = count(100_000 + 10 * os.getpid())  # of users that do not exist


@pytest.fixture
def directory() -> Iterator[Path]:
    """A directory that every user may enter."""
    directory = Path(tempfile.mkdtemp())
    directory.chmod(0o755)
    yield directory
    shutil.rmtree(directory)


@pytest.fixture
def runner(directory: Path) -> Iterator[RunningRunner]:
    runner = RunningRunner(directory)
    runner.paths.state.chmod(0o777)
    yield runner
    runner.close()


class Slow:
    """A program whose exec waits until let_go() is called."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "slow"
        shutil.copy("/bin/sh", self.path)
        self._file = self.path.open("rb")
        fcntl.fcntl(self._file, fcntl.F_SETLEASE, fcntl.F_WRLCK)

    def let_go(self) -> None:
        self._file.close()

    def argv(self, command: str) -> list[str]:
        return [str(self.path), "-c", command]


@pytest.fixture
def slow(directory: Path) -> Iterator[Slow]:
    before = signal.signal(signal.SIGIO, signal.SIG_IGN)  # sent when the file is opened
    slow = Slow(directory)
    yield slow
    slow.let_go()
    signal.signal(signal.SIGIO, before)


@pytest.fixture
def alice() -> Iterator[dict[str, Any]]:
    user = somebody()
    yield user
    for pid in processes_of(user["uid"]):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def somebody() -> dict[str, Any]:
    """A user without a name who has no processes."""
    uid = next(_uids)
    return {"uid": uid, "gid": uid, "groups": [uid]}


def processes_of(uid: int) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with contextlib.suppress(OSError):
                if entry.stat().st_uid == uid and status_of(entry.name, "State")[0] != "Z":
                    found.append(int(entry.name))
    return found


def starters(runner: RunningRunner) -> list[int]:
    return starters_of(runner.process.pid)


def waiting_for_slow(runner: RunningRunner) -> tuple[int, int]:
    """A starter that waits for the slow program, and the process that is to become it."""
    for starter in starters(runner):
        for child in children(starter):
            if "slow" not in Path(f"/proc/{child}/cmdline").read_text() and (
                Path(f"/proc/{child}/cmdline").read_bytes().count(b"pycron.runner")
            ):
                return starter, child
    return 0, 0


def outcomes(runner: RunningRunner) -> dict[str, Message]:
    """The ends and refusals so far by id; checks that each Attempt has only one."""
    told = [message for message in runner.receive() if message["type"] in ("ended", "refused")]
    assert max(Counter(message["id"] for message in told).values(), default=1) == 1
    return {message["id"]: message for message in told}


def all_of(runner: RunningRunner, ids: list[str], patience: float = 30) -> dict[str, Message]:
    until(lambda: set(ids) <= outcomes(runner).keys(), patience)
    return outcomes(runner)


def three(runner: RunningRunner, slow: Slow, command: str = "exit 4", **changes: Any) -> list[str]:
    """Start a batch of three, with the slow command in the middle, and commands behind it."""
    names = ["first", "slow", "last", *(f"more{n}" for n in range(3 * STARTERS - 3))]
    starts = [
        runner.start_message(name, f"echo {name} >> ran; exit 3", **changes) for name in names
    ]
    starts[1]["argv"] = slow.argv(f"echo slow >> ran; {command}")
    runner.client.send(starts)
    until(lambda: waiting_for_slow(runner)[0] and runner.received("started", "first"))
    return names


def ran(runner: RunningRunner) -> Counter[str]:
    """How often each of these commands ran."""
    path = runner.paths.state / "ran"
    return Counter(path.read_text().split() if path.exists() else [])


# ---- killed


def test_a_starter_is_killed_while_it_starts_a_command(runner: RunningRunner, slow: Slow) -> None:
    """The started command goes on, the one being started is killed, the rest is started."""
    names = three(runner, slow)
    starter, child = waiting_for_slow(runner)
    os.kill(starter, signal.SIGKILL)
    ended = all_of(runner, names)
    assert (ended["slow"]["signal"], ended["slow"]["exit_status"]) == (signal.SIGKILL, None)
    assert ended["slow"]["reason"] == "killed while it was being started"
    assert ended["slow"]["cause"] is None
    assert {ended[name]["exit_status"] for name in set(names) - {"slow"}} == {3}
    until(lambda: not exists(child))
    slow.let_go()
    assert ran(runner) == Counter(set(names) - {"slow"})


@pytest.mark.slow
def test_starters_are_killed_at_any_time(runner: RunningRunner) -> None:
    """No command is lost, none runs twice, and each one reported as killed is dead."""
    random = Random(9)
    killed = 0
    ids: list[str] = []
    for turn in range(12):
        ids += (names := [f"t{turn}-{number}" for number in range(40)])
        runner.client.send(
            runner.start_message(name, f"echo {name} >> ran; exec sleep 0.01") for name in names
        )
        while not set(names) <= outcomes(runner).keys():
            for pid in starters(runner):
                if random.random() < 0.05:  # so that a starter can start something
                    killed += 1
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
    assert killed > 10
    commands = ran(runner)
    for name, message in outcomes(runner).items():
        assert message["type"] == "ended"
        assert message["exit_status"] == 0 or message["signal"] == signal.SIGKILL
        assert commands[name] == 1 or message["signal"] == signal.SIGKILL
    assert max(commands.values()) == 1
    until(lambda: not children(runner.process.pid))


def restless(runner: RunningRunner, user: dict[str, Any], what: str) -> None:
    """A command that does this all the time, once its own starter has come to its end."""
    runner.start("restless", f"while [ ! -e go ]; do :; done; while :; do {what}; done", user=user)
    until(lambda: not starters(runner))
    (runner.paths.state / "go").touch()


@pytest.mark.root
@needs_root
def test_a_user_who_kills_everything_all_the_time(
    runner: RunningRunner, alice: dict[str, Any]
) -> None:
    """Other users are not delayed; afterwards the rest of that user's commands run."""
    restless(runner, alice, "kill -KILL -1")
    ids = [f"a{number}" for number in range(100)]
    runner.client.send(
        runner.start_message(name, "echo alive", user=alice, cwd="/") for name in ids
    )
    bob = somebody()
    for number in range(30):
        runner.start(f"b{number}", "exit 7", user=bob, cwd="/")
        assert runner.ended(f"b{number}")["exit_status"] == 7
    runner.client.send([{"type": "signal", "id": "restless", "signal": int(signal.SIGKILL)}])
    for name, ended in all_of(runner, ids).items():
        assert ended["signal"] == signal.SIGKILL or ended["exit_status"] in (0, 7), name
        assert ended["exit_status"] != 0 or runner.output(name) == "alive\n"
    until(lambda: not processes_of(alice["uid"]))


# ---- left behind


def test_a_starter_that_outlives_the_runner(runner: RunningRunner, slow: Slow) -> None:
    """Neither the connected daemon nor a later one takes the starter for the runner."""
    three(runner, slow)
    starter, child = waiting_for_slow(runner)
    runner.process.kill()
    runner.process.wait()
    with pytest.raises(RunnerGone):
        until(runner.client.receive)
    assert find_runner(runner.paths, runner.selector) is None
    for pid in (starter, child):
        os.kill(pid, signal.SIGKILL)


def test_a_starter_has_nothing_open_but_what_its_commands_get(runner: RunningRunner) -> None:
    """Otherwise a command would cost the more, the more commands run."""
    for number in range(20):
        runner.start(f"running{number}", "exec sleep 1000")
    runner.client.send([runner.start_message("held", "true", hold=100)])
    (starter,) = until(lambda: starters(runner))
    # The pipes for failures, for the go message and for output; and the stdin of the command.
    until(lambda: open_files(starter) == ["/dev/null", "pipe", "pipe", "pipe"])


def owners_of_starters(runner: RunningRunner) -> list[str]:
    """Their real uids, once the runner has all messages that were sent."""
    runner.client.flush()
    return [status_of(pid, "Uid").split()[0] for pid in starters(runner)]


def open_files(pid: int) -> list[str]:
    """The kinds of the open files, except the three standard ones."""
    found = []
    for file in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            if int(file.name) > 2:
                found.append(os.readlink(file).partition(":")[0])
    return sorted(found)


# ---- stopped


@pytest.mark.root
@needs_root
def test_a_starter_that_is_stopped(
    runner: RunningRunner, slow: Slow, alice: dict[str, Any]
) -> None:
    """Other users' commands are started; its own are started when it is not stopped again."""
    names = three(runner, slow, user=alice)
    for pid in waiting_for_slow(runner):
        os.kill(pid, signal.SIGSTOP)
    slow.let_go()
    for number in range(2 * STARTERS):
        runner.start(f"other{number}", "exit 5", user=somebody(), cwd="/")
        assert runner.ended(f"other{number}")["exit_status"] == 5
    ended = all_of(runner, names)
    assert {name: ended[name]["exit_status"] for name in names} == dict.fromkeys(names, 3) | {
        "slow": 4
    }
    assert ran(runner) == Counter(names)


def more_than_may_start(runner: RunningRunner, slow: Slow, user: dict[str, Any]) -> list[str]:
    """Slow commands of a user, of which most wait for a starter; their ids."""
    ids = [f"a{number}" for number in range(3 * BATCH * STARTERS)]
    command = {"argv": slow.argv("exit 4"), "user": user, "cwd": "/"}
    runner.client.send(runner.start_message(name, "", **command) for name in ids)
    until(lambda: waiting_for_slow(runner)[0])
    return ids


@pytest.mark.root
@needs_root
def test_one_user_never_has_all_starters(
    runner: RunningRunner, slow: Slow, alice: dict[str, Any]
) -> None:
    ids = more_than_may_start(runner, slow, alice)
    for number in range(5):
        runner.start(f"b{number}", "exit 5", user=somebody(), cwd="/")
    assert not any(runner.received("started", name) for name in ids)
    slow.let_go()
    assert {ended["exit_status"] for ended in all_of(runner, ids).values()} <= {4, 5}


@pytest.mark.root
@needs_root
def test_a_user_gets_a_starter_ahead_of_time_while_commands_of_another_user_wait(
    runner: RunningRunner, slow: Slow, alice: dict[str, Any]
) -> None:
    ids = more_than_may_start(runner, slow, alice)
    bob = somebody()
    runner.client.send([runner.start_message("held", "exit 5", user=bob, cwd="/", hold=100)])
    until(lambda: str(bob["uid"]) in owners_of_starters(runner))
    assert BATCH * owners_of_starters(runner).count(str(alice["uid"])) < len(ids)  # some wait
    runner.client.send([{"type": "go", "until": 100}])
    assert runner.ended("held")["exit_status"] == 5
    slow.let_go()
    assert {ended["exit_status"] for ended in all_of(runner, ids).values()} <= {4, 5}


@pytest.mark.slow
@pytest.mark.root
@needs_root
def test_a_user_gets_a_starter_ahead_of_time_while_another_user_has_all(
    runner: RunningRunner, alice: dict[str, Any]
) -> None:
    ids = [f"a{number}" for number in range(5 * BATCH * STARTERS)]
    runner.client.send(
        runner.start_message(name, "", argv=["/bin/true"], user=alice, cwd="/", hold=100)
        for name in ids
    )
    until(lambda: owners_of_starters(runner) == [str(alice["uid"])] * 4 * STARTERS, patience=30)
    bob = somebody()
    runner.client.send([runner.start_message("held", "exit 5", user=bob, cwd="/", hold=101)])
    until(lambda: str(bob["uid"]) in owners_of_starters(runner))
    runner.client.send([{"type": "go", "until": 101}])
    assert runner.ended("held")["exit_status"] == 5
    assert {ended["exit_status"] for ended in all_of(runner, ids).values()} <= {0, 5}


@pytest.mark.slow
@pytest.mark.root
@needs_root
def test_a_user_who_stops_everything_all_the_time(
    runner: RunningRunner, alice: dict[str, Any]
) -> None:
    restless(runner, alice, "kill -STOP -1")
    ids = [f"a{number}" for number in range(100)]
    runner.client.send(runner.start_message(name, "exit 4", user=alice, cwd="/") for name in ids)
    for number in range(30):
        runner.start(f"b{number}", "exit 7", user=somebody(), cwd="/")
    kill = [
        {"type": "end", "id": name, "cause": "cancelled", "reason": "enough", "kill_after": 0}
        for name in ("restless", *ids)
    ]
    runner.client.send(kill)
    for name, ended in all_of(runner, ["restless", *ids]).items():
        assert name.startswith("b") or ended["cause"] == "cancelled" or ended["exit_status"] == 4
    until(lambda: not processes_of(alice["uid"]))


# ---- ended before it has begun


def end_of(name: str) -> Message:
    return {"type": "end", "id": name, "cause": "cancelled", "reason": "enough", "kill_after": 0}


def test_a_command_that_ends_before_its_starter(runner: RunningRunner, slow: Slow) -> None:
    names = three(runner, slow)
    pid = runner.start("first", "")["pid"]  # a second start message has no effect
    until(lambda: status_of(pid, "State")[0] == "Z")
    slow.let_go()
    ended = all_of(runner, names)
    assert [ended[name]["exit_status"] for name in ("first", "slow", "last")] == [3, 4, 3]


def test_an_end_message_for_a_command_that_is_being_started(
    runner: RunningRunner, slow: Slow
) -> None:
    names = three(runner, slow, "exec sleep 1000")
    runner.client.send([end_of("slow")])
    slow.let_go()
    ended = all_of(runner, names)
    assert (ended["slow"]["cause"], ended["slow"]["reason"]) == ("cancelled", "enough")
    assert ended["last"]["exit_status"] == 3


def test_an_end_message_for_a_command_that_cannot_be_started(
    runner: RunningRunner, slow: Slow
) -> None:
    """An Attempt must not wait for a file system for ever."""
    names = three(runner, slow)

    def ended() -> bool:
        runner.client.send([end_of("slow"), end_of("last")])
        return set(names) <= outcomes(runner).keys()

    until(ended)
    told = outcomes(runner)
    assert (told["slow"]["cause"], told["slow"]["signal"]) == ("cancelled", signal.SIGKILL)
    assert (told["last"]["type"], told["last"]["cause"]) == ("refused", "cancelled")
    slow.let_go()
    until(lambda: not children(runner.process.pid))
    assert ran(runner) == Counter(set(names) - {"slow", "last"})


def test_ending_one_command_does_not_end_the_next_one(runner: RunningRunner) -> None:
    """For a moment the starter belongs to the tree of the command that it has just started."""
    ids = [f"e{number}" for number in range(600)]
    for name in ids:
        runner.client.send([runner.start_message(name, "exec sleep 0.02; exit 1")])
        if int(name[1:]) % 2 == 0:
            runner.client.send([end_of(name)])
    for name, told in all_of(runner, ids).items():
        if int(name[1:]) % 2:
            assert (told["type"], told["exit_status"], told["cause"]) == ("ended", 0, None)
        else:
            assert told["cause"] == "cancelled" or told["exit_status"] == 0


# ---- failures


def test_failures_in_the_middle_of_a_batch(runner: RunningRunner) -> None:
    """Each failure is reported for its own Attempt; the other commands run."""
    long = f"/no/{'x' * 200}/" * 15
    faults: list[dict[str, Any]] = [
        {"cwd": "/no/such"},
        {"argv": ["/no/such/shell"]},
        {"argv": ["/etc/passwd"]},
        {"argv": [long], "env": {"A": "\0"}},
        {"umask": 2**40},
    ]
    ids = [f"f{number}" for number in range(BATCH * STARTERS)]
    starts = [runner.start_message(name, "umask; exit 3", umask=0o027) for name in ids]
    for number in range(0, len(starts), 3):
        starts[number] |= faults[number % len(faults)]
    runner.client.send(starts)
    for name, told in all_of(runner, ids).items():
        if int(name[1:]) % 3:
            assert (told.get("exit_status"), told["reason"]) == (3, None)
            assert runner.output(name) == "0027\n"
        else:
            assert told["exit_status"] == 126
            assert told["reason"].startswith("cannot ")


@pytest.mark.slow
def test_more_failures_than_the_runner_can_read(runner: RunningRunner) -> None:
    """Reasons may be lost, but not the failures."""
    ids = [f"f{number}" for number in range(BATCH * STARTERS)]
    path = "/" + "x" * 2000
    starts = [runner.start_message(name, "", argv=[path]) for name in ids]
    runner.client.send(starts)
    until(lambda: starters(runner) or outcomes(runner))
    os.kill(runner.process.pid, signal.SIGSTOP)
    until(lambda: all(status_of(pid, "State")[0] == "Z" for pid in children(runner.process.pid)))
    os.kill(runner.process.pid, signal.SIGCONT)
    assert {told["exit_status"] for told in all_of(runner, ids).values()} == {126}


BAD_USERS: dict[str, dict[str, Any]] = {
    "no uid": {"uid": -1},
    "no gid": {"gid": -1},
    "a uid that is none": {"uid": 2**32 - 1},
    "a uid too large": {"uid": 2**40},
    "too many groups": {"groups": list(range(70_000))},
    "no groups": {"groups": ["root"]},
}


@pytest.mark.root
@needs_root
@pytest.mark.parametrize("bad", BAD_USERS.values(), ids=BAD_USERS.keys())
def test_a_starter_that_cannot_become_the_user(runner: RunningRunner, bad: dict[str, Any]) -> None:
    """No command of the batch runs, least of all as root."""
    ids = [f"u{number}" for number in range(3 * STARTERS)]
    user = somebody() | bad
    runner.client.send(runner.start_message(name, "id -u >> ran", user=user) for name in ids)
    for told in all_of(runner, ids).values():
        assert told["exit_status"] == 126
        assert told["reason"].startswith("cannot become the user: ")
    assert not ran(runner)
    assert runner.run("id -u")[1] == f"{os.geteuid()}\n"


@pytest.mark.slow
@pytest.mark.root
@needs_root
def test_many_commands_of_three_users(runner: RunningRunner) -> None:
    users = [somebody() for _ in range(3)]
    whose = {f"m{number}": Random(number).choice(users) for number in range(300)}
    runner.client.send(
        runner.start_message(name, "id -u; id -g; id -G", user=user, cwd="/")
        for name, user in whose.items()
    )
    ended = all_of(runner, list(whose), 60)
    for name, user in whose.items():
        assert ended[name]["exit_status"] == 0
        assert runner.output(name).split() == [str(user["uid"])] * 3


# ---- limits


@pytest.mark.root
@needs_root
def test_a_user_with_as_many_processes_as_allowed(
    runner: RunningRunner, alice: dict[str, Any]
) -> None:
    """A command that cannot be started is refused, with the reason; it has not succeeded."""
    own: dict[str, Any] = {"user": alice, "cwd": "/"}
    runner.start("crowd", "for i in 1 2 3 4 5 6; do sleep 1000 & done; wait", **own)
    own["processes_max"] = 5
    until(lambda: len(processes_of(alice["uid"])) >= 5)
    ids = [f"a{number}" for number in range(2 * BATCH)]
    runner.client.send(runner.start_message(name, "echo ran", **own) for name in ids)
    for name, told in all_of(runner, ids).items():
        assert told["type"] == "refused" or told["exit_status"] == 126, name
        assert told["reason"].startswith("cannot "), name
        assert not runner.output(name)
    runner.start("bob", "exit 5", **(own | {"user": somebody()}))
    assert runner.ended("bob")["exit_status"] == 5


@contextlib.contextmanager
def files(soft: int, hard: int) -> Iterator[None]:
    """The limit of open files for processes that are started meanwhile."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_the_runner_has_a_higher_limit_of_open_files_than_commands(tmp_path: Path) -> None:
    """More commands may run at once than a command may have files open."""
    soft = 64 + len(os.listdir("/proc/self/fd"))  # other tests of this process may have some open
    with files(soft, 4096):
        runner = RunningRunner(tmp_path)
    try:
        ids = [f"d{number}" for number in range(soft + 80)]
        wait = "while [ ! -e go ]; do sleep 0.2; done; ulimit -n"
        runner.client.send(runner.start_message(name, wait) for name in ids)
        until(lambda: all(runner.received("started", name) for name in ids), 30)
        (runner.paths.state / "go").touch()
        assert {told["exit_status"] for told in all_of(runner, ids).values()} == {0}
        assert {runner.output(name) for name in ids} == {f"{soft}\n"}
    finally:
        runner.close()


def test_an_attempt_without_a_descriptor_is_refused_and_not_lost(runner: RunningRunner) -> None:
    soft, hard = resource.prlimit(runner.process.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(runner.process.pid, resource.RLIMIT_NOFILE, (80, hard))
    ids = [f"d{number}" for number in range(150)]
    wait = "while [ ! -e go ]; do sleep 0.2; done"
    runner.client.send(runner.start_message(name, wait) for name in ids)
    until(
        lambda: all(runner.received("started", n) or runner.received("refused", n) for n in ids), 30
    )
    (runner.paths.state / "go").touch()
    told = all_of(runner, ids)
    kinds = Counter(message["type"] for message in told.values())
    assert kinds["ended"] > 20
    assert kinds["refused"] > 20
    for message in told.values():
        refused = message["type"] == "refused"
        assert refused or message["exit_status"] == 0
        assert not refused or message["reason"] == "cannot fork: Too many open files"
    resource.prlimit(runner.process.pid, resource.RLIMIT_NOFILE, (soft, hard))
    assert runner.run("echo again")[1] == "again\n"


def test_progress_is_never_read_half_written() -> None:
    """The starter writes to the memory while the runner reads from it."""
    count = 20_000
    progress = BatchProgress(count)
    pid = os.fork()
    if pid == 0:
        for index in range(count):
            progress.write(index, 0, BEGUN)
            progress.write(index, 4711, STARTED)
        os._exit(0)
    pids = set()
    for index in range(count):
        state = BEGUN
        while state != STARTED:
            told, _, state = progress.read(index)
        pids.add(told)
    os.waitpid(pid, 0)
    assert pids == {4711}


AUTOGROUP = Path("/proc/self/autogroup")


@needs_root
@pytest.mark.skipif(not AUTOGROUP.exists(), reason="this kernel has no autogroups")
def test_the_runner_has_a_higher_share_of_the_processors_than_starters_and_commands(
    runner: RunningRunner,
) -> None:
    """A runner beside a thousand commands starts those of other users in time."""

    def niceness(pid: int) -> str:
        return Path(f"/proc/{pid}/autogroup").read_text().split()[-1]

    ended, output = runner.run(f"cat {AUTOGROUP}")
    assert (ended["exit_status"], output.split()[-1]) == (0, "0")
    assert niceness(runner.process.pid) == "-10"
    runner.client.send([runner.start_message("held", "true", hold=4_000_000_000)])
    (starter,) = until(lambda: starters_of(runner.process.pid))
    until(lambda: os.getsid(starter) == starter)
    assert niceness(starter) == "0"
