"""Another version of pycron takes over: running commands go on and are recorded to their end."""

import shutil
import signal
from pathlib import Path

import pytest

from pycron.protocol.runner_messages import PROTOCOL
from tests.support.running_daemon import RunningDaemon, alive
from tests.support.running_runner import needs_root
from tests.support.user_daemon import CHECKOUT, OURS, UserDaemon, Version

# Another version may send messages and fields that this version does not know, and another number.
OTHER_WIRE = """

_encode_ours = encode


def encode(messages: Iterable[Message]) -> bytes:
    said = [message | {"mood": "good", "of": {"version": 2}} for message in messages]
    return _encode_ours([*said, {"type": "weather", "id": "none", "ids": []}])
"""

# A daemon of protocol 1 does not send the start of a held command ahead of its time.
BEGINS_AT_ONCE = """

def _wait_until(instant: float) -> None:
    pass
"""

WAITING = (
    "CRON_NAME=waiting @reboot"
    " echo before; until [ -e $GO ]; do sleep 0.05; done; echo after; exit 7\n"
)
# Each of these Jobs takes the runner through another part of its code.
SECONDLY = (
    "CRON_NAME=secondly @every 1s echo hello\n"
    "CRON_NAME=reading @every 1s cat >/dev/null; exit 2%one%two\n"
    "CRON_NAME=signal @every 1s kill -9 $$\n"
    "CRON_NAME=nowhere CRON_CWD=/no/such/directory @every 1s true\n"
)
ENDS = {"secondly": "succeeded", "reading": "failed", "signal": "killed", "nowhere": "failed"}


def another_version(tree: Path, protocol: int) -> Version:
    """A copy of the package with another version number, which sends more messages."""
    unwanted = shutil.ignore_patterns("__pycache__")
    shutil.copytree(CHECKOUT / "pycron", tree / "pycron", ignore=unwanted)
    (tree / "pycron/__init__.py").write_text('__version__ = "another"\n')
    if protocol == 1:
        with (tree / "pycron/runner/batch.py").open("a") as batch:
            batch.write(BEGINS_AT_ONCE)
    with (tree / "pycron/protocol/framing.py").open("a") as wire:
        wire.write(OTHER_WIRE)
    with (tree / "pycron/protocol/runner_messages.py").open("a") as messages:
        messages.write(f"\n\nPROTOCOL = {protocol}\n")
    return Version(tree)


def wait_for_each_end(daemon: RunningDaemon) -> None:
    """Wait until each Job of SECONDLY has ended once more, with the expected outcome."""
    seen = {job: len(daemon.log("attempt_ended", job=job)) for job in ENDS}
    for job, outcome in ENDS.items():
        daemon.wait_for("attempt_ended", job=job, count=seen[job] + 1)
        assert {line["outcome"] for line in daemon.log("attempt_ended", job=job)} == {outcome}


@pytest.mark.parametrize("direction", ["upgrade", "downgrade"])
def test_a_daemon_of_another_version_takes_over(
    user_daemon: UserDaemon, tmp_path: Path, direction: str
) -> None:
    """This daemon meets an older runner; this runner meets a newer daemon."""
    upgrade = direction == "upgrade"
    other = another_version(tmp_path / "other", PROTOCOL - 1 if upgrade else PROTOCOL + 1)
    versions = [other, OURS] if upgrade else [OURS, other]
    user_daemon.write_table(f"{WAITING}{SECONDLY}")

    first = user_daemon.start(versions[0])
    runner = first.wait_for("runner_started")["pid"]
    started = first.wait_for("attempt_started", job="waiting")
    wait_for_each_end(first)
    first.signal(signal.SIGTERM)
    assert first.wait() == 0
    assert first.log("daemon_stopped")[0]["running"] >= 1
    assert alive(started["pid"])

    second = user_daemon.start(versions[1])
    assert second.wait_for("runner_found")["attempts"] >= 1
    assert first.log()[0]["version"] != second.log()[0]["version"]
    wait_for_each_end(second)  # new commands, under the old runner
    late = [line["lateness_ms"] for line in second.log("attempt_started", job="secondly")]
    assert min(late) >= 0
    user_daemon.go.touch()
    ended = second.wait_for("attempt_ended", job="waiting")
    assert ended["run_id"] == started["run_id"]
    assert (ended["outcome"], ended["exit_status"]) == ("failed", 7)
    assert user_daemon.run("log", started["run_id"]) == "before\nafter\n"
    assert not second.log("attempt_started", job="waiting")
    assert not [*second.log("runner_started"), *second.log("attempt_lost")]
    assert alive(runner)


@pytest.mark.root
@needs_root
def test_a_runner_that_knows_no_pam_gets_no_command_that_needs_it(
    user_daemon: UserDaemon, tmp_path: Path
) -> None:
    """It would start the command without the account check."""
    user_daemon.write_table(WAITING)
    first = user_daemon.start(another_version(tmp_path / "old", 2))
    started = first.wait_for("attempt_started", job="waiting")
    first.signal(signal.SIGTERM)
    assert first.wait() == 0

    user_daemon.configure('[pam]\nservice = "other"\n')
    user_daemon.write_table(f"{WAITING}{SECONDLY}")
    second = user_daemon.start(OURS)
    second.wait_for("runner_found")
    ended = second.wait_for("attempt_ended", job="secondly")
    assert ended["outcome"] == "failed"
    assert ended["reason"].startswith("the runner is of a version without PAM")
    user_daemon.go.touch()
    ended = second.wait_for("attempt_ended", job="waiting")
    assert (ended["run_id"], ended["exit_status"]) == (started["run_id"], 7)


def test_the_files_of_a_running_version_may_be_replaced(
    user_daemon: UserDaemon, tmp_path: Path
) -> None:
    """Neither the daemon nor its runner reads any of them when it has begun."""
    tree = tmp_path / "old"
    user_daemon.write_table(f"{WAITING}{SECONDLY}")
    first = user_daemon.start(another_version(tree, PROTOCOL))
    started = first.wait_for("attempt_started", job="waiting")
    for file in tree.rglob("*.py"):
        file.write_text("raise SystemExit('a part of another version')\n")
    shutil.rmtree(tree / "pycron/__pycache__", ignore_errors=True)
    wait_for_each_end(first)
    first.signal(signal.SIGTERM)
    assert first.wait() == 0

    second = user_daemon.start(OURS)
    second.wait_for("runner_found")
    wait_for_each_end(second)
    user_daemon.go.touch()
    ended = second.wait_for("attempt_ended", job="waiting")
    assert (ended["run_id"], ended["exit_status"]) == (started["run_id"], 7)
    assert user_daemon.run("log", started["run_id"]) == "before\nafter\n"
