"""How the runner ends an Attempt and all that descends from it: real processes, found in /proc.

Every process of a test has an argument that nobody else has, so what is left of it can be found.
"""

import contextlib
import os
import shutil
import signal
import sys
import time
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from pycron.protocol.framing import Message
from pycron.runner.process_tree import ProcessTree, private_memory
from pycron.system.marks import TreeSearch
from tests.support.running_daemon import PYTHON
from tests.support.running_runner import MEGABYTE, RunningRunner, needs_root, other_user, status_of
from tests.support.thoroughness import slow_after
from tests.support.waiting import until


@pytest.fixture
def runner(tmp_path: Path) -> Iterator[RunningRunner]:
    runner = RunningRunner(tmp_path)
    yield runner
    runner.close()


@pytest.fixture
def unique() -> Iterator[str]:
    """A number of seconds that no other process sleeps."""
    number = f"{90_000 + os.getpid() % 10_000}.{time.monotonic_ns()}"
    yield number
    while left := pids_with(number):
        for deadly in (signal.SIGSTOP, signal.SIGKILL):
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, deadly)


def pids_with(argument: str) -> list[int]:
    """The pids of the processes that have this argument in their command line."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and int(entry.name) != os.getpid():
            try:
                if argument.encode() in (entry / "cmdline").read_bytes():
                    found.append(int(entry.name))
            except (FileNotFoundError, ProcessLookupError):
                pass
    return found


def end(
    runner: RunningRunner, id: str, kill_after: int = 10, reason: str = "alice wants it"
) -> None:
    runner.client.send([end_message(id, kill_after, reason)])


def end_message(id: str, kill_after: int, reason: str) -> Message:
    return {
        "type": "end",
        "id": id,
        "cause": "cancelled",
        "reason": reason,
        "kill_after": kill_after,
    }


# ---- time-outs


def test_a_command_that_runs_too_long(runner: RunningRunner, unique: str) -> None:
    ended, _ = runner.run(f"sleep {unique}; true", timeout=1)
    assert (ended["cause"], ended["signal"]) == ("timeout", signal.SIGTERM)
    assert ended["reason"] == "ran longer than 1 seconds (CRON_TIMEOUT)"
    assert ended["ended"] - ended["started"] >= 1
    until(lambda: not pids_with(unique))


def test_a_command_that_ends_in_time(runner: RunningRunner) -> None:
    ended, _ = runner.run("echo in time", timeout=1000)
    assert (ended["cause"], ended["reason"], ended["exit_status"]) == (None, None, 0)


def test_a_command_may_clean_up_after_its_time_out(runner: RunningRunner) -> None:
    command = "trap 'echo cleaned; exit 3' TERM; sleep 1000 & wait"
    ended, output = runner.run(command, timeout=1)
    assert (ended["cause"], ended["exit_status"], output) == ("timeout", 3, "cleaned\n")


def test_a_stopped_command_gets_the_signal_of_its_time_out(runner: RunningRunner) -> None:
    ended, output = runner.run("trap 'echo heard; exit 4' TERM; kill -STOP $$", timeout=1)
    assert (ended["cause"], ended["exit_status"], output) == ("timeout", 4, "heard\n")


def test_a_command_that_ignores_term_is_killed(runner: RunningRunner, unique: str) -> None:
    ended, _ = runner.run(f"trap '' TERM; sleep {unique}; sleep {unique}", timeout=1, kill_after=1)
    assert (ended["cause"], ended["signal"]) == ("timeout", signal.SIGKILL)
    assert ended["ended"] - ended["started"] >= 2
    until(lambda: not pids_with(unique))


ESCAPES = {
    "setsid": "setsid sleep {0} &",
    "a double fork": "(setsid sh -c 'sleep {0} &' &)",
    "without an environment": "setsid env -i sh -c 'sleep {0} & exec env -i sleep {0}' &",
    "nohup, and its parent is gone": "(nohup sleep {0} >/dev/null 2>&1 &)",
    "deaf": "setsid sh -c 'trap \"\" TERM; sleep {0}' &",
}


@pytest.mark.parametrize("escape", ESCAPES.values(), ids=ESCAPES.keys())
@pytest.mark.parametrize("main", slow_after(
    1, ["sleep {0}", "trap 'exit 5' TERM; sleep {0} & wait"],
))  # fmt: skip
def test_nothing_escapes_a_time_out(
    runner: RunningRunner, unique: str, escape: str, main: str
) -> None:
    """Also if the command itself ends at once: the rest of its tree is killed."""
    command = f"{escape}\n{main}".format(unique)
    runner.start("a.1", command, timeout=1, kill_after=1)
    until(lambda: len(pids_with(unique)) >= 2)
    ended = runner.ended("a.1")
    assert ended["cause"] == "timeout", ended
    until(lambda: not pids_with(unique))


def test_the_rest_of_a_tree_is_killed_when_its_attempt_is_forgotten(
    runner: RunningRunner, unique: str
) -> None:
    """And the runner stays for it, though nobody is there any more."""
    deaf = f"trap '' TERM; while true; do sleep 0.1; done; : {unique}"
    runner.start("a.1", f'(setsid sh -c "{deaf}" >/dev/null 2>&1 &); sleep {unique}', timeout=1,
               kill_after=2)  # fmt: skip
    runner.ended("a.1")
    assert pids_with(unique)
    runner.client.send([{"type": "ack", "ids": ["a.1"]}])
    runner.disconnect_in_good_order()
    assert runner.process.wait(10) == 0
    assert not pids_with(unique)


def test_a_background_child_of_a_command_that_ended_in_time_goes_on(
    runner: RunningRunner, unique: str
) -> None:
    ended, _ = runner.run(f"setsid sleep {unique} & true", timeout=1)
    assert ended["cause"] is None
    time_is_out = runner.run("sleep 1000", timeout=2)  # another one, later than the first
    assert time_is_out[0]["cause"] is None
    runner.start("b.1", "sleep 1000", timeout=2)
    assert runner.ended("b.1")["cause"] == "timeout"
    assert pids_with(unique)


def test_a_time_out_while_there_is_no_daemon(runner: RunningRunner, unique: str) -> None:
    runner.start("a.1", f"setsid sleep {unique} & sleep {unique}", timeout=1)
    until(lambda: len(pids_with(unique)) >= 2)
    runner.disconnect()
    until(lambda: not pids_with(unique))
    known = runner.reconnect()["a.1"]
    assert (known["type"], known["cause"]) == ("ended", "timeout")
    assert known["reason"] == "ran longer than 1 seconds (CRON_TIMEOUT)"


def test_many_time_outs_at_once(runner: RunningRunner, unique: str) -> None:
    ids = [f"b{number}.1" for number in range(50)]
    runner.client.send(
        runner.start_message(key, f"setsid sleep {unique} & sleep {unique}", timeout=1)
        for key in ids
    )
    runner.start("bystander", f"sleep 1000; : {unique}")
    until(lambda: sum(1 for m in runner.receive() if m["type"] == "ended") == len(ids), 60)
    assert all(m["cause"] == "timeout" for m in runner.receive() if m["type"] == "ended")
    until(lambda: len(pids_with(unique)) == 1)


# ---- ended by a message


def test_an_end_message(runner: RunningRunner, unique: str) -> None:
    runner.start("a.1", f"setsid sleep {unique} & sleep {unique}")
    runner.start("b.1", f"exec sleep {unique}")
    until(lambda: len(pids_with(unique)) >= 3)
    end(runner, "a.1")
    ended = runner.ended("a.1")
    assert (ended["cause"], ended["reason"]) == ("cancelled", "alice wants it")
    assert ended["signal"] == signal.SIGTERM
    until(lambda: len(pids_with(unique)) == 1)
    assert not runner.received("ended", "b.1")


def test_the_earliest_kill_and_the_first_cause_hold(runner: RunningRunner, unique: str) -> None:
    runner.start("a.1", f"trap '' TERM; echo deaf; sleep {unique}; sleep {unique}")
    until(lambda: runner.output("a.1"))
    end(runner, "a.1", 1000, "first")
    end(runner, "a.1", 0, "second")
    ended = runner.ended("a.1")
    assert (ended["signal"], ended["reason"]) == (signal.SIGKILL, "first")
    until(lambda: not pids_with(unique))


def test_an_end_message_for_an_attempt_that_is_about_to_start(
    runner: RunningRunner, unique: str
) -> None:
    """The Attempt is refused or ended, and the daemon is told. SIGTERM is enough for the tree."""
    ids = [f"s{number}.1" for number in range(100)]
    starts = {key: runner.start_message(key, f"sleep {unique}") for key in ids}
    ends_of = {key: end_message(key, 1000, "alice wants it") for key in ids}
    early, too_early = ids[:50], ids[50:]
    runner.client.send([starts[key] for key in early])
    runner.client.send([ends_of[key] for key in early])
    runner.client.send([each for key in too_early for each in (starts[key], ends_of[key])])
    outcomes = until(lambda: told if len(told := ends(runner)) == len(ids) else [])
    assert {message["cause"] for message in outcomes} == {"cancelled"}
    assert {message["reason"] for message in outcomes} == {"alice wants it"}
    until(lambda: not pids_with(unique))
    refused = {message["id"] for message in outcomes if message["type"] == "refused"}
    assert refused
    assert not refused & {m["id"] for m in runner.receive() if m["type"] == "started"}


def ends(runner: RunningRunner) -> list[dict[str, object]]:
    return [message for message in runner.receive() if message["type"] in ("ended", "refused")]


def test_an_end_message_for_an_attempt_that_was_refused_and_forgotten(
    runner: RunningRunner,
) -> None:
    """The Attempt may still be in the start queue when its refusal is acknowledged."""
    starts = [runner.start_message(f"s{number}.1", "true") for number in range(200)]
    last = starts[-1]["id"]
    runner.client.send([*starts, end_message(last, 0, ""), {"type": "ack", "ids": [last]}])
    until(lambda: sum(1 for m in runner.receive() if m["type"] == "ended") == 199)
    assert not runner.received("started", last)
    assert runner.run("echo fine")[1] == "fine\n"


def test_an_end_message_for_an_attempt_that_has_ended_or_is_unknown(
    runner: RunningRunner, unique: str
) -> None:
    runner.start("a.1", f"setsid sleep {unique} & exit 3")
    ended = runner.ended("a.1")
    for key in ("a.1", "unknown"):
        end(runner, key, 0)
    assert runner.run("echo fine")[1] == "fine\n"
    runner.disconnect()
    assert runner.reconnect()["a.1"] == ended
    assert pids_with(unique)


# ---- one that forks all the time


BOMB = """
import os
while True:
    try:
        os.fork()
    except OSError:
        pass  # as many processes exist as are allowed
"""


@pytest.mark.root
@needs_root
def test_a_fork_bomb_is_bounded_and_ended(runner: RunningRunner, unique: str) -> None:
    """Meanwhile other users' commands are started."""
    python = shutil.which("python3", path="/usr/bin:/usr/local/bin")
    if python is None:
        pytest.skip("needs a Python for other users")
    bomb = {"argv": [python, "-S", "-c", BOMB, unique], "user": other_user(), "cwd": "/"}
    runner.start("bomb", "", processes_max=50, timeout=2, kill_after=0, **bomb)
    most = others = 0
    while not runner.received("ended", "bomb"):
        most = max(most, len(pids_with(unique)))
        others += 1
        assert runner.start(f"o{others}.1", "true")["type"] == "started"
    assert 10 < most <= 50
    assert runner.ended("bomb")["cause"] == "timeout"
    until(lambda: not pids_with(unique))


def test_a_process_that_forks_and_exits_all_the_time_is_ended(
    runner: RunningRunner, unique: str
) -> None:
    """No process of it exists for long."""
    chain = 'chain() { (chain) & exit; }; echo "$1"; chain'
    runner.start("a.1", "", argv=["/bin/sh", "-c", f"{chain} & exec sleep {unique}", "sh", unique])
    until(lambda: runner.output("a.1"))
    end(runner, "a.1", 0)
    assert runner.ended("a.1")["cause"] == "cancelled"
    until(lambda: not pids_with(unique))


# ---- memory


def hog(megabytes: int, argument: str) -> str:
    """A command that allocates so many megabytes and sleeps so many seconds."""
    script = f"import time; x = b'x' * ({megabytes} << 20); time.sleep({argument})"
    return f'{PYTHON} -S -c "{script}"'


def test_a_tree_with_too_much_memory(runner: RunningRunner, unique: str) -> None:
    limit = 60 * MEGABYTE
    ended, _ = runner.run(f"setsid {hog(40, unique)} & {hog(40, unique)}", memory_max=limit)
    assert (ended["cause"], ended["signal"]) == ("memory", signal.SIGKILL)
    assert ended["reason"] == f"used more than {limit} bytes of memory (CRON_MEMORY_MAX)"
    until(lambda: not pids_with(unique))


def test_a_tree_below_its_memory_limit(runner: RunningRunner) -> None:
    ended, _ = runner.run(hog(20, "2.5"), memory_max=200 * MEGABYTE)  # longer than two measurements
    assert (ended["cause"], ended["exit_status"]) == (None, 0)


# ---- the processes of a tree


def run_in(tree: ProcessTree, *argv: str) -> int:
    """Start a program in a tree, as the runner does, and return its pid."""
    pid = os.fork()
    if pid == 0:
        try:
            tree.join(-1)
            os.execvp(argv[0], argv)
        finally:
            os._exit(1)
    until(lambda: argv[-1] in Path(f"/proc/{pid}/cmdline").read_text())
    return pid


def result_of(step: Generator[None, None, bool]) -> bool:
    try:
        while True:
            next(step)
    except StopIteration as end:
        return bool(end.value)


def test_a_tree_has_its_own_processes_only(unique: str) -> None:
    trees = [ProcessTree(os.geteuid()), ProcessTree(os.geteuid())]
    pids = [run_in(tree, "sleep", unique) for tree in trees]
    outsider = run_in(ProcessTree(os.geteuid()), "sleep", unique)
    try:
        found = TreeSearch(trees).all()
        assert [list(found[tree.mark]) for tree in trees] == [[pid] for pid in pids]
        assert private_memory(pids[0]) > 0
        # As if two pids of the first tree belonged to other processes by now.
        trees[0].end(now=0.0, kill_after=0)
        assert result_of(trees[0].step({**found[trees[0].mark], pids[1]: 1, outsider: 1}, 0.0))
        assert os.waitstatus_to_exitcode(os.waitpid(pids.pop(0), 0)[1]) == -signal.SIGKILL
        assert all(status_of(pid, "State")[0] in "SR" for pid in (*pids, outsider))
        assert not result_of(trees[0].step({}, 2.0))
    finally:
        for pid in (*pids, outsider):
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def test_a_process_with_a_mark_can_give_marks(runner: RunningRunner) -> None:
    """A user's daemon may be a command of the system's daemon: its commands have trees, too."""
    script = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parents[2])!r})\n"
        "from pycron.runner.process_tree import ProcessTree\n"
        "for _ in range(3):\n"
        "    tree = ProcessTree(1); tree.join(-1); print(tree.mark)\n"
    )
    _, output = runner.run("", argv=[sys.executable, "-c", script])
    marks = [int(line) for line in output.split()]
    assert len(set(marks)) == 3
