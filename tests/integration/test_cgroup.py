"""Cgroups of Attempts, in a real tree of cgroups (v2). Tests that need controllers: test_vm.py."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import cast

import pytest

from pycron.protocol.framing import Message
from pycron.protocol.runner_messages import StartMessage
from pycron.runner.attempt import Attempt
from pycron.runner.batch import Batch
from pycron.runner.event_loop import EventLoop
from pycron.runner.launch import Launch
from pycron.runner.process_tree import ProcessTree
from pycron.runner.progress import STARTED
from pycron.runner.running_file import RunningFile
from pycron.runner.tree_limits import TreeLimits
from pycron.system.cgroup import RUNNER, Cgroup, Delegation
from tests.support.running_runner import needs_root, status_of
from tests.support.waiting import until

pytestmark = [pytest.mark.root, needs_root]

NAME = "0123456789abcdef-20260308T120000Z.1"


@pytest.fixture
def delegation(tmp_path: Path) -> Iterator[Delegation]:
    mount = tmp_path / "cgroups"
    mount.mkdir()
    subprocess.run(["mount", "-t", "cgroup2", "cgroup2", mount], check=True)
    part = mount / f"pycron-test-{os.getpid()}"
    part.mkdir()
    try:
        yield Delegation(str(part))
    finally:
        until(lambda: Cgroup(str(part)).remove())
        # A process of this machine may be looking at the mount for a moment.
        until(lambda: subprocess.run(["umount", mount], check=False).returncode == 0)


def make(delegation: Delegation) -> Cgroup:
    cgroup = delegation.make(NAME, None, 100)
    assert cgroup is not None
    return cgroup


@pytest.fixture
def sleeper() -> Iterator["subprocess.Popen[bytes]"]:
    with subprocess.Popen(["sleep", "1000"]) as process:
        yield process
        process.kill()


def move(process: "subprocess.Popen[bytes]", cgroup: str | Path) -> None:
    Path(cgroup, "cgroup.procs").write_text(str(process.pid))


def test_a_cgroup_is_removed_with_all_below_it(delegation: Delegation) -> None:
    cgroup = make(delegation)
    Path(cgroup.path, "its", "own").mkdir(parents=True)
    assert cgroup.remove()
    assert not Path(cgroup.path).exists()
    assert cgroup.remove()  # it is gone


def test_a_cgroup_in_use_is_not_removed(
    delegation: Delegation, sleeper: "subprocess.Popen[bytes]"
) -> None:
    cgroup = make(delegation)
    below = Path(cgroup.path, "below")
    below.mkdir()
    move(sleeper, below)
    assert cgroup.pids() == {sleeper.pid}
    assert not cgroup.remove()
    assert below.exists()
    sleeper.kill()
    sleeper.wait()
    assert cgroup.remove()


def test_a_second_cgroup_of_the_same_attempt_while_the_first_is_in_use(
    delegation: Delegation, sleeper: "subprocess.Popen[bytes]"
) -> None:
    """A starter that was dismissed leaves the cgroup of its Attempt later."""
    first = make(delegation)
    move(sleeper, first.path)
    second, third = make(delegation), make(delegation)
    assert len({first.path, second.path, third.path}) == 3
    assert second.pids() == third.pids() == set()
    assert second.remove()
    assert third.remove()


def test_cgroups_are_removed_a_moment_after_their_attempts(
    delegation: Delegation, tmp_path: Path, sleeper: "subprocess.Popen[bytes]"
) -> None:
    """A background process keeps its own cgroup, and no other one."""
    loop = EventLoop()
    limits = TreeLimits(loop, delegation, RunningFile(str(tmp_path / "running")))
    cgroups = [make(delegation) for _ in range(3)]
    move(sleeper, cgroups[1].path)
    for cgroup in cgroups:
        limits.leave_behind(ProcessTree(0, cgroup=cgroup))
    assert all(map(exists, cgroups))
    until(partial(only_is_left, loop, limits, cgroups, cgroups[1]))
    sleeper.kill()
    sleeper.wait()
    until(partial(only_is_left, loop, limits, cgroups, None))


def only_is_left(
    loop: EventLoop, limits: TreeLimits, cgroups: list[Cgroup], one: Cgroup | None
) -> bool:
    """After a turn of the loop."""
    loop.turn(0.05)
    if loop.alarm():
        limits.tend(())
    return [cgroup for cgroup in cgroups if exists(cgroup)] == ([one] if one else [])


def exists(cgroup: Cgroup) -> bool:
    return Path(cgroup.path).exists()


def test_the_kernel_is_kept_ready_to_move_processes(delegation: Delegation, tmp_path: Path) -> None:
    """The runner moves to where it is: nothing else changes, and no error ends it."""
    own = Path(delegation.path, RUNNER)
    own.mkdir()
    with subprocess.Popen([sys.executable, "-c", MOVES, delegation.path]) as process:
        assert process.wait() == 0
    assert (own / "cgroup.procs").read_text() == ""
    delegation.expect_moves()  # it has no such cgroup


MOVES = f"""
import sys
from pycron.system.cgroup import Delegation
open(sys.argv[1] + "/{RUNNER}/cgroup.procs", "w").write("0")
delegation = Delegation(sys.argv[1])
delegation.expect_moves()
assert "/{RUNNER}" in open("/proc/self/cgroup").read()
"""


def test_a_cgroup_that_cannot_be_made(tmp_path: Path) -> None:
    assert Delegation(str(tmp_path / "gone")).make(NAME, None, 100) is None


def launch(cgroup: Cgroup, output: int, command: str) -> Launch:
    start: Message = {
        "id": NAME, "argv": ["/bin/sh", "-c", command], "env": {}, "user": None, "nice": None,
        "cwd": "/", "cwd_required": False, "umask": None, "stdin": None, "processes_max": 100,
        "report_output": False, "timeout": None, "kill_after": 10, "memory_max": None,
        "outlives_runner": False,
        "lease": None, "direct": None,
    }  # fmt: skip
    attempt = Attempt(cast(StartMessage, start))
    attempt.tree.cgroup = cgroup
    return Launch(attempt, output, output)


def test_a_starter_is_in_the_cgroup_of_its_first_command_before_it_may_begin(
    delegation: Delegation, tmp_path: Path
) -> None:
    """The first move of a process after a while takes the kernel some milliseconds."""
    outputs = [tmp_path / "1", tmp_path / "2"]
    descriptors = [os.open(path, os.O_CREAT | os.O_WRONLY) for path in outputs]
    cgroups = [make(delegation) for _ in outputs]
    commands = zip(cgroups, descriptors, strict=True)
    batch = Batch(
        [launch(*each, "cat /proc/self/cgroup") for each in commands], os.pipe2(os.O_CLOEXEC)
    )
    errors, _ = os.pipe()
    starter = batch.start(errors, (1024, 1024))
    until(lambda: cgroups[0].pids() == {starter})
    batch.release(0.0)
    os.waitpid(starter, 0)
    assert [batch.progress(index)[2] for index in range(2)] == [STARTED, STARTED]
    for cgroup, output in zip(cgroups, outputs, strict=True):
        until(output.read_text)
        assert output.read_text().endswith(f"/{Path(cgroup.path).name}\n")


def is_over_after_steps(tree: ProcessTree, cgroup: Cgroup) -> bool:
    """Take the step of ending a tree that is due, if one is."""
    if tree.due <= time.monotonic():
        for _ in tree.step({}, time.monotonic()):
            pass
    return not cgroup.populated()


@pytest.mark.parametrize(
    ("command", "kill_after"),
    [
        ("trap 'echo heard; exit' TERM; kill -STOP $$", 1000),
        ("chain() { (chain) & exit; }; chain & exec sleep 1000", 1),
        ("trap '' TERM; while :; do sleep 0.1; done", 0.3),
    ],
    ids=["stopped", "forks all the time", "deaf"],
)
def test_a_tree_in_a_cgroup_is_ended(
    delegation: Delegation,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    command: str,
    kill_after: float,
) -> None:
    """It is frozen for SIGTERM, so none is forked that does not get it."""
    monkeypatch.setattr("pycron.system.cgroup._MOUNT", str(tmp_path / "cgroups"))
    cgroup = make(delegation)
    tree = ProcessTree(0, cgroup=cgroup)
    with (tmp_path / "output").open("w") as output:
        process = subprocess.Popen(
            ["/bin/sh", "-c", f"echo 0 >{cgroup.path}/cgroup.procs; {command}"], stdout=output
        )
    until(cgroup.populated)
    until(lambda: cgroup.pids() != {process.pid} or status_of(process.pid, "State")[0] == "T")
    tree.end(time.monotonic(), kill_after)
    until(lambda: is_over_after_steps(tree, cgroup))
    process.wait(10)
    assert not cgroup.frozen()
    assert (tmp_path / "output").read_text() == ("heard\n" if "heard" in command else "")


def test_a_command_that_cannot_enter_its_cgroup_is_not_run(
    delegation: Delegation, tmp_path: Path
) -> None:
    cgroup = make(delegation)
    output = os.open(tmp_path / "output", os.O_CREAT | os.O_WRONLY)
    batch = Batch([launch(cgroup, output, "echo ran")])
    assert cgroup.remove()
    errors, inlet = os.pipe()
    starter = batch.start(inlet, (1024, 1024))
    os.waitpid(starter, 0)
    assert b"cannot enter its process tree" in os.read(errors, 4096)
    assert (tmp_path / "output").read_text() == ""
