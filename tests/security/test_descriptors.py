"""Background children keep the output pipes of their Attempts; others get their descriptors.

As with cron, the output of a background process is read for as long as it has the pipe open.
"""

import os
import resource
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pycron.protocol.framing import Message
from tests.security.forgers import end_all_of
from tests.support.running_runner import RunningRunner, needs_root
from tests.support.user_accounts import let_others_enter, real_user
from tests.support.waiting import until

pytestmark = [pytest.mark.root, needs_root, pytest.mark.xdist_group("forgers")]

FILES = 200  # descriptors of the runner


@pytest.fixture
def runner(tmp_path: Path) -> Iterator[RunningRunner]:
    runner = RunningRunner(tmp_path)
    _, hard = resource.prlimit(runner.process.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(runner.process.pid, resource.RLIMIT_NOFILE, (FILES, hard))
    yield runner
    runner.close()
    for name in ("pycronowner", "pycronforger"):
        end_all_of(user(name)["uid"])


def user(name: str) -> dict[str, Any]:
    account = real_user(name)
    return {"uid": account.pw_uid, "gid": account.pw_gid, "groups": [account.pw_gid]}


def run_all(runner: RunningRunner, owner: str, commands: dict[str, str]) -> None:
    """Start the commands, of which each ends at once, and wait for their ends."""
    for key, command in commands.items():
        runner.client.send([runner.start_message(key, command, user=user(owner), cwd="/")])
    ends = until(lambda: done if len(done := ended(runner, commands)) == len(commands) else {}, 30)
    assert {(message.get("exit_status"), message.get("reason")) for message in ends.values()} == {
        (0, None)
    }


def ended(runner: RunningRunner, keys: Iterable[str]) -> dict[str, Message]:
    told = {m["id"]: m for m in runner.receive() if m["type"] in ("ended", "refused")}
    return {key: told[key] for key in keys if key in told}


def descriptors(runner: RunningRunner) -> int:
    return len(os.listdir(f"/proc/{runner.process.pid}/fd"))


def test_a_flood_of_background_children_takes_no_descriptor_from_others(
    runner: RunningRunner,
) -> None:
    """It closes its own pipes, the oldest first. Another user's background child keeps its own."""
    gate = runner.paths.state / "gate"
    let_others_enter(runner.paths.state)
    late = f"(while [ ! -e {gate} ]; do sleep 0.1; done; echo late) &"
    run_all(runner, "pycronowner", {"kept.1": late})
    for part in range(5):
        flood = {f"f{part}-{n}.1": "sleep 1000 &" for n in range(60)}
        run_all(runner, "pycronforger", flood)
    assert descriptors(runner) < 0.75 * FILES
    together = {f"o{n}.1": "sleep 0.5" for n in range(40)}
    run_all(runner, "pycronowner", together)
    gate.touch()
    until(lambda: runner.output("kept.1") == "late\n")


def test_commands_that_need_more_than_their_half_get_it(runner: RunningRunner) -> None:
    run_all(runner, "pycronforger", {f"f{n}.1": "sleep 1000 &" for n in range(90)})
    before = descriptors(runner)
    together = {f"o{n}.1": "sleep 1" for n in range(150)}
    run_all(runner, "pycronowner", together)
    assert before > 90


def test_a_background_child_that_prints_takes_one_descriptor(runner: RunningRunner) -> None:
    """The file of its output is open only while something is written."""
    run_all(runner, "pycronowner", {"first.1": "true"})
    before = descriptors(runner)
    run_all(
        runner,
        "pycronowner",
        {f"p{n}.1": "(sleep 0.2; echo x; exec sleep 1000) &" for n in range(20)},
    )
    until(lambda: all(runner.output(f"p{n}.1") == "x\n" for n in range(20)))
    until(lambda: descriptors(runner) - before <= 20)


@pytest.mark.parametrize("held", [False, True], ids=["due", "held"])
def test_commands_of_a_batch_that_has_too_few_descriptors_start_in_the_next_one(
    runner: RunningRunner, held: bool
) -> None:
    """A batch takes two descriptors for each command until its commands run, then one."""
    commands = {f"c{n}.1": "sleep 1" for n in range(120)}
    first = runner.start_message
    hold = int(time.time()) + 2 if held else 0
    messages = [
        {**first(key, command, user=user("pycronowner"), cwd="/"), "hold": hold}
        for key, command in commands.items()
    ]
    runner.client.send(messages)
    if held:
        until(lambda: time.time() > hold)
        runner.client.send([{"type": "go", "until": hold}])
    ends = until(lambda: done if len(done := ended(runner, commands)) == len(commands) else {}, 30)
    assert {(each.get("exit_status"), each.get("reason")) for each in ends.values()} == {(0, None)}
