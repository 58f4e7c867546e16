"""The runner and the lease: when commands of shared Runs may start, and when they are ended."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pycron.protocol.framing import Message
from pycron.system import lease_file
from pycron.system.lease_file import Lease
from tests.support.running_runner import RunningRunner, needs_root
from tests.support.user_accounts import USERS, let_others_enter, real_user
from tests.support.waiting import until

MINE = "incarnation-1"
_LONG = 3600.0  # seconds


@pytest.fixture
def runner(tmp_path: Path) -> Iterator[RunningRunner]:
    running = RunningRunner(tmp_path)
    yield running
    running.close()


class File:
    """The lease file of a test."""

    def __init__(self, directory: Path) -> None:
        self.path = str(directory / "lease")

    def write(self, seconds: float, incarnation: str | None = MINE) -> None:
        """The lease of this incarnation lasts for so many more seconds."""
        deadline = max(0.0, lease_file.now() + seconds)
        lease_file.write(self.path, Lease(incarnation, deadline, "store", lease_file.boot_id()))

    def request(self, incarnation: str = MINE) -> dict[str, Any]:
        return {"lease": {"file": self.path, "incarnation": incarnation}}


@pytest.fixture
def lease(tmp_path: Path) -> File:
    return File(tmp_path)


def refused(message: Message) -> None:
    assert (message["type"], message["cause"]) == ("refused", "lease")
    assert "lease" in message["reason"]


def test_a_command_starts_while_the_lease_lasts(runner: RunningRunner, lease: File) -> None:
    lease.write(_LONG)
    ended, output = runner.run("echo x", **lease.request())
    assert (output, ended["cause"]) == ("x\n", None)


@pytest.mark.parametrize("of", ["nobody", "another", "void", "over"])
def test_no_command_starts_without_a_lease(runner: RunningRunner, lease: File, of: str) -> None:
    match of:
        case "another":
            lease.write(_LONG, "incarnation-2")
        case "void":
            lease.write(_LONG, None)
        case "over":
            lease.write(-1)
    refused(runner.start("x", "echo x", **lease.request()))
    assert runner.output("x") == ""


def test_a_command_that_is_held_is_checked_when_it_starts(
    runner: RunningRunner, lease: File
) -> None:
    lease.write(_LONG)
    runner.client.send([runner.start_message("x", "echo x", hold=1, **lease.request())])
    lease.write(-1)
    runner.client.send([{"type": "go", "until": 1}])
    refused(until(lambda: runner.received("refused", "x") or {}))
    assert runner.output("x") == ""


def refusal_of(runner: RunningRunner, id: str) -> Message:
    return until(lambda: runner.received("refused", id) or {})


def test_of_a_batch_only_shared_commands_are_refused(runner: RunningRunner, lease: File) -> None:
    messages = [
        runner.start_message(f"{n}", f"echo {n}", **(lease.request() if n % 2 else {}))
        for n in range(10)
    ]
    runner.client.send(messages)
    for n in range(10):
        if n % 2:
            refused(refusal_of(runner, f"{n}"))
        else:
            assert runner.ended(f"{n}")["exit_status"] == 0


def test_a_command_gets_term_and_then_kill_when_the_lease_is_over(
    runner: RunningRunner, lease: File
) -> None:
    lease.write(1.5)
    command = "trap 'echo term' TERM; while :; do sleep 0.1; done"
    runner.start("x", command, kill_after=1, **lease.request())
    ended = runner.ended("x")
    assert (ended["cause"], ended["signal"]) == ("lease", signal.SIGKILL)
    assert "term" in runner.output("x")


@pytest.mark.slow
def test_kill_comes_within_ten_seconds_whatever_the_job_says(
    runner: RunningRunner, lease: File
) -> None:
    lease.write(0.5)
    command = "trap '' TERM; while :; do sleep 0.1; done"
    runner.start("x", command, kill_after=3600, **lease.request())
    ended = until(lambda: runner.received("ended", "x") or {}, 30)
    assert (ended["cause"], ended["signal"]) == ("lease", signal.SIGKILL)


def test_a_command_is_killed_at_once_when_the_host_was_shut_out(
    runner: RunningRunner, lease: File
) -> None:
    lease.write(_LONG)
    command = "trap 'echo term' TERM; while :; do sleep 0.1; done"
    runner.start("x", command, kill_after=3600, **lease.request())
    lease.write(0, None)
    ended = runner.ended("x")
    assert (ended["cause"], ended["signal"]) == ("lease", signal.SIGKILL)
    assert "term" not in runner.output("x")


def test_void_shortens_the_time_after_term(runner: RunningRunner, lease: File) -> None:
    lease.write(0.5)
    command = "trap 'echo term' TERM; while :; do sleep 0.1; done"
    runner.start("x", command, kill_after=3600, **lease.request())
    until(lambda: "term" in runner.output("x"))
    lease.write(0, "incarnation-2")
    assert runner.ended("x")["signal"] == signal.SIGKILL


def test_a_lease_that_is_renewed_lets_commands_go_on(runner: RunningRunner, lease: File) -> None:
    lease.write(3)
    runner.start("x", "sleep 5; echo done", **lease.request())
    for _ in range(4):
        until(lambda: (found := lease_file.read(lease.path)) is not None
              and found.deadline - lease_file.now() < 1.8)  # fmt: skip
        lease.write(3)
    lease.write(_LONG)
    ended = runner.ended("x")
    assert (ended["exit_status"], ended["cause"]) == (0, None)


def test_a_file_that_cannot_be_read_says_nothing(runner: RunningRunner, lease: File) -> None:
    """What was read before holds, up to its deadline."""
    lease.write(4)
    runner.start("x", "sleep 600", kill_after=0, **lease.request())
    runner.start("y", "sleep 1.5; echo y", **lease.request())
    until(lambda: (found := lease_file.read(lease.path)) is not None
          and found.deadline - lease_file.now() < 2.5)  # fmt: skip
    os.unlink(lease.path)
    assert runner.ended("y")["exit_status"] == 0
    assert runner.ended("x")["cause"] == "lease"


def test_other_commands_do_not_end_with_the_lease(runner: RunningRunner, lease: File) -> None:
    lease.write(0.5)
    runner.start("local", "sleep 4; echo local")
    runner.start("x", "sleep 600", **lease.request())
    assert runner.ended("x")["cause"] == "lease"
    assert runner.ended("local")["exit_status"] == 0


def test_the_lease_holds_without_a_daemon(runner: RunningRunner, lease: File) -> None:
    lease.write(2)
    runner.start("x", "sleep 600", **lease.request())
    runner.disconnect()
    until(lambda: lease_file.now() > _deadline(lease) + 2)
    known = runner.reconnect()
    assert known["x"]["type"] == "ended"
    assert known["x"]["cause"] == "lease"


@needs_root
def test_the_starter_of_a_user_can_read_the_lease(
    runner: RunningRunner, lease: File, tmp_path: Path
) -> None:
    account = real_user(USERS[0])
    let_others_enter(tmp_path)
    user = {"uid": account.pw_uid, "gid": account.pw_gid, "groups": [account.pw_gid]}
    lease.write(_LONG)
    ended, output = runner.run("id -un", user=user, cwd="/", **lease.request())
    assert (ended["exit_status"], output) == (0, f"{USERS[0]}\n")


def _deadline(lease: File) -> float:
    found = lease_file.read(lease.path)
    assert found is not None
    return found.deadline
