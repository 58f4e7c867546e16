"""The system's daemon stops while commands run: what it names, and how all commands are ended."""

import grp
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from pycron.system import paths
from tests.support.isolated_system import IsolatedSystem, isolated_system
from tests.support.running_daemon import alive
from tests.support.user_accounts import USERS, real_user
from tests.support.waiting import until

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
]
ONE, OTHER = USERS[:2]
KILL_ALL = ("kill", "--all", "--kill-after", "1s")


@pytest.fixture
def system(tmp_path: Path) -> Iterator[IsolatedSystem]:
    with isolated_system(tmp_path) as system:
        yield system


def running(system: IsolatedSystem, *users: str) -> dict[str, int]:
    """The pid of a command of each of these users that ignores TERM; it has just been started."""
    command = "trap '' TERM; while :; do sleep 1; done"
    for user in users:
        table = f"CRON_NAME=of-{user} CRON_RETRIES=3 @yearly {command}\n"
        assert system.run("pycrontab", "-", user=user, stdin=table).returncode == 0
        system.run("pycron", "start", f"of-{user}", user=user)
    found = {user: system.daemon.wait_for("attempt_started", user=user)["pid"] for user in users}
    assert all(map(alive, found.values()))
    return found


def outcome(system: IsolatedSystem, user: str) -> tuple[str | None, str | None]:
    (run,) = system.runs("--job", f"of-{user}")
    return run["outcome"], run["reason"]


@pytest.mark.slow
def test_a_user_ends_all_own_commands_and_root_those_of_all(system: IsolatedSystem) -> None:
    pids = running(system, "root", ONE, OTHER)
    done = system.run("pycron", *KILL_ALL, user=ONE)
    assert (done.returncode, done.stdout) == (0, "")
    said = f"pycron: 1 command of of-{ONE} got TERM; what is left after 1 s gets KILL"
    assert done.stderr.startswith(said)
    until(lambda: not alive(pids[ONE]))
    assert alive(pids[OTHER])
    assert alive(pids["root"])
    rows = system.rows(*KILL_ALL)
    assert [row["state"] for row in rows] == 2 * ["running"]
    until(lambda: outcome(system, OTHER)[0] is not None)
    assert outcome(system, ONE) == ("cancelled", f"cancelled by {ONE}")
    assert outcome(system, OTHER) == ("cancelled", "cancelled by root")
    assert system.rows(*KILL_ALL) == []


def test_an_operator_sees_all_and_ends_only_own_commands(system: IsolatedSystem) -> None:
    group = grp.getgrgid(real_user(ONE).pw_gid).gr_name
    system.write(paths.SYSTEM_CONFIG, f'[access]\noperators = "{group}"\n')
    system.run("pycron", "reload")
    pids = running(system, ONE, OTHER)
    assert len(system.rows("kill", "--all", user=ONE)) == 1
    assert alive(pids[OTHER])


def test_a_name_and_all_exclude_each_other(system: IsolatedSystem) -> None:
    for words in (["kill"], ["kill", "--all", "backup"]):
        done = system.run("pycron", *words)
        assert done.returncode == 2
        assert done.stderr.endswith("name one Run or one Job, or give --all\n")


def test_a_stopped_daemon_names_the_commands_and_root_ends_them(system: IsolatedSystem) -> None:
    pids = running(system, "root", ONE)
    first = system.daemon
    first.stop()
    (stopped,) = first.log("daemon_stopped")
    named = {f"of-{user} of {user} (pid {pid})" for user, pid in pids.items()}
    assert (stopped["running"], set(stopped["commands"].split(", "))) == (2, named)
    assert all(map(alive, pids.values()))

    refused = system.run("pycron", *KILL_ALL, user=ONE)
    assert refused.returncode == 1
    assert "only root can end commands" in refused.stderr
    done = system.run("pycron", *KILL_ALL)
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr.startswith("pycron: 2 commands got TERM")
    until(lambda: not any(map(alive, pids.values())))
    assert system.rows(*KILL_ALL) == []

    system.start()  # the runner has kept the ends
    until(lambda: outcome(system, ONE)[0] is not None)
    assert {outcome(system, user) for user in pids} == {("cancelled", "cancelled by root")}
    assert [run["attempts"] for run in system.runs()] == [1, 1]


def test_without_a_daemon_and_a_runner_there_is_nothing_to_end(system: IsolatedSystem) -> None:
    system.daemon.stop()
    until(lambda: "no pycron daemon answers" in system.run("pycron", *KILL_ALL).stderr)


@pytest.mark.slow
def test_a_mail_that_is_being_sent_is_not_ended(system: IsolatedSystem) -> None:
    """It is not sent a second time, so it would be lost."""
    gate, sent = system.directory / "gate", system.directory / "sent"
    program = system.directory / "sendmail"
    program.write_text(
        f"#!/bin/sh\ncat >/dev/null\nwhile [ ! -e {gate} ]; do sleep 0.1; done\necho >{sent}\n"
    )
    program.chmod(0o755)
    system.write(paths.SYSTEM_CONFIG, f'[mail]\nsendmail = "{program}"\n')
    system.run("pycron", "reload")
    system.run("pycrontab", "-", stdin="CRON_NAME=hello @yearly echo hello\n")
    system.run("pycron", "start", "hello")
    until(lambda: system.rows("runs", "--deliveries"))
    until(lambda: system.rows("top") and system.rows("runs", "--deliveries")[0]["started"])
    assert system.rows(*KILL_ALL) == []
    system.daemon.stop()
    assert system.rows(*KILL_ALL) == []
    gate.touch()
    until(sent.exists)
    system.start()
    until(lambda: system.rows("runs", "--deliveries")[0]["outcome"] == "succeeded")
