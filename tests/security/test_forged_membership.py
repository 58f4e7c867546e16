"""A process of one user is never counted, signalled or killed as part of another user's Attempt.

Without a cgroup, the runner finds the processes of an Attempt by their mark, which everybody may
read, and take.
"""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pycron.system.marks import mark_of
from tests.security.forgers import FORGING, end_all_of, forger
from tests.support.running_runner import MEGABYTE, RunningRunner, needs_root, status_of
from tests.support.thoroughness import slow_after
from tests.support.user_accounts import let_others_enter, real_user
from tests.support.waiting import until

pytestmark = [pytest.mark.root, needs_root, pytest.mark.xdist_group("forgers")]

LIMIT = 100 * MEGABYTE


@pytest.fixture
def runner(tmp_path: Path) -> Iterator[RunningRunner]:
    runner = RunningRunner(tmp_path)
    yield runner
    runner.close()
    for name in ("pycronowner", "pycronforger", "pycronattacker"):
        end_all_of(user(name)["uid"])


def user(name: str) -> dict[str, Any]:
    account = real_user(name)
    return {"uid": account.pw_uid, "gid": account.pw_gid, "groups": [account.pw_gid]}


def start_victim(runner: RunningRunner, owner: str, command: str, **limits: Any) -> int:
    """The mark of an Attempt of this user."""
    identity = None if owner == "root" else user(owner)
    started = runner.start("victim", command, user=identity, cwd="/", **limits)
    mark = mark_of(started["pid"])
    assert mark is not None
    return mark


@pytest.mark.parametrize("owner", slow_after(1, ["pycronowner", "root"]))
def test_memory_of_a_stranger_does_not_count(runner: RunningRunner, owner: str) -> None:
    mark = start_victim(runner, owner, "sleep 3.5", memory_max=LIMIT)
    with forger(mark, "hog", user("pycronforger")):
        ended = runner.ended("victim")
    assert (ended["cause"], ended["exit_status"]) == (None, 0)


def start_attacker(runner: RunningRunner, mark: Path, orphan: str = "") -> int:
    """A command that takes the mark in the file, as soon as there is one; its pid.

    It starts before its victim: who starts later has a lower mark.
    """
    os.mkfifo(mark)
    mark.chmod(0o644)
    let_others_enter(mark.parent)
    script = f'read mark < {mark}; {orphan}"$@" "$mark" hog'
    argv = ["/bin/sh", "-c", script + (" & exit" if orphan else ""), "sh", *FORGING]
    started = runner.start("attacker", "", argv=argv, user=user("pycronattacker"), cwd="/")
    assert started["type"] == "started", started
    pid: int = started["pid"]
    return pid


@pytest.mark.parametrize("owner", slow_after(1, ["pycronowner", "root"]))
@pytest.mark.parametrize("orphan", slow_after(1, ["setsid ", ""]))
def test_memory_of_a_command_of_another_user_does_not_count(
    runner: RunningRunner, tmp_path: Path, owner: str, orphan: str
) -> None:
    """It descends from the runner, too; a process whose parent has ended is the runner's child."""
    start_attacker(runner, tmp_path / "mark", orphan)
    mark = start_victim(runner, owner, "sleep 3.5", memory_max=LIMIT)
    (tmp_path / "mark").write_text(str(mark))
    ended = runner.ended("victim")
    until(lambda: runner.output("attacker"))
    assert (ended["cause"], ended["exit_status"]) == (None, 0)


def test_a_program_that_became_root_does_not_count(runner: RunningRunner) -> None:
    """Such as sudo that waits for a password: its real user is root, and its mark was chosen."""
    mark = start_victim(runner, "root", "sleep 3.5", memory_max=LIMIT)
    with forger(mark, "hog", {"uid": 0, "gid": 0}):
        ended = runner.ended("victim")
    assert (ended["cause"], ended["exit_status"]) == (None, 0)


def test_no_command_of_a_user_can_take_a_mark_of_root(runner: RunningRunner) -> None:
    """Only root can raise the limit; so an orphan with a mark of root comes from root's command."""
    of_root = start_victim(runner, "root", "sleep 100")
    started = runner.start("a.1", "sleep 100", user=user("pycronowner"), cwd="/")
    of_user = mark_of(started["pid"])
    later = runner.start("b.1", "sleep 100")
    assert of_user is not None
    assert of_user < (mark_of(later["pid"]) or 0) < of_root


@pytest.mark.parametrize("owner", ["pycronowner", "root"])
def test_a_forker_with_the_mark_does_not_keep_term_away(runner: RunningRunner, owner: str) -> None:
    command = "trap 'echo heard; exit 4' TERM; sleep 1000 & wait"
    mark = start_victim(runner, owner, command, timeout=1, kill_after=8)
    with forger(mark, "100", user("pycronforger")):
        ended = runner.ended("victim")
        assert (ended["cause"], ended["exit_status"]) == ("timeout", 4)
        assert ended["ended"] - ended["started"] < 5


def test_a_process_with_the_mark_of_a_stranger_gets_no_signal(
    runner: RunningRunner, tmp_path: Path
) -> None:
    attacker = start_attacker(runner, tmp_path / "mark")
    mark = start_victim(runner, "pycronowner", "sleep 1000", timeout=1, kill_after=0)
    (tmp_path / "mark").write_text(str(mark))
    until(lambda: runner.output("attacker"))
    assert runner.ended("victim")["signal"] == signal.SIGKILL
    runner.start("later", "sleep 1000", user=user("pycronowner"), cwd="/", timeout=1)
    assert runner.ended("later")["cause"] == "timeout"
    assert status_of(attacker, "State")[0] in "SR"


# ---- what belongs to the tree all the same


def test_a_process_that_has_become_another_user_belongs_to_the_tree(
    runner: RunningRunner,
) -> None:
    """As with sudo: as long as its parent lives, and while the tree is being ended."""
    bob = user("pycronowner")["uid"]
    deaf = "trap '' TERM; while true; do sleep 0.1; done"
    command = f'setpriv --reuid={bob} --clear-groups sh -c "{deaf}" & echo $!; wait'
    started = runner.start("victim", command, timeout=1, kill_after=1)
    pid = int(until(lambda: runner.output("victim")))
    until(lambda: status_of(pid, "Uid").split()[0] == str(bob))
    assert runner.ended("victim")["cause"] == "timeout"
    assert started["pid"] != pid
    until(lambda: not Path(f"/proc/{pid}").exists())
