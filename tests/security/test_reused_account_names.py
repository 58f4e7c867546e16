"""An account that gets the name of a deleted one inherits neither its table nor its records."""

import json
import os
import shlex
from collections.abc import Iterator

import pytest

from pycron.system import paths
from tests.support.isolated_system import IsolatedSystem, isolated_system
from tests.support.user_accounts import USERS, real_user

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
]

NAME = "pycronreused"
OLD, NEW = 61_001, 61_002
TABLE = """
CRON_NAME=secret CRON_RETRIES=1 CRON_RETRY_DELAY=1s @yearly echo of the old account; false
CRON_NAME=sleeper @yearly sleep 1000
CRON_NAME=often @every 1s id -u
"""


@pytest.fixture
def system(tmp_path: object, request: pytest.FixtureRequest) -> Iterator[IsolatedSystem]:
    """A daemon whose /etc is a copy, so that accounts can be deleted and made there."""
    directory = request.getfixturevalue("tmp_path")
    real_user(USERS[0])  # skips the test if other users cannot run the interpreter
    with isolated_system(directory, own_etc=True) as system:
        account(system, OLD)
        yield system


def account(system: IsolatedSystem, uid: int | None) -> None:
    """Give the name to this uid; None: delete the account."""
    for file in ("passwd", "group"):
        line = f"{NAME}:x:{uid}:{uid}::/:/bin/sh" if file == "passwd" else f"{NAME}:x:{uid}:"
        add = f"echo {shlex.quote(line)} >> /etc/.new; " if uid is not None else ""
        system.shell(f"grep -v ^{NAME}: /etc/{file} > /etc/.new; {add}mv /etc/.new /etc/{file}"
                     f"; chmod 644 /etc/{file}")  # fmt: skip


def history(system: IsolatedSystem, user: str) -> list[str]:
    return [row["run_id"] for row in system.rows("runs", "--limit", "10000", user=user)]


def prepare(system: IsolatedSystem) -> str:
    """The old account has a table, Runs, output, a dead letter and a command that runs."""
    assert system.run("pycrontab", "-", user=NAME, stdin=TABLE).returncode == 0
    (started,) = system.rows("start", "secret", user=NAME)
    system.daemon.wait_for("attempt_ended", run_id=started["run_id"], count=2)
    (sleeper,) = system.rows("start", "sleeper", user=NAME)
    system.daemon.wait_for("attempt_started", run_id=sleeper["run_id"])
    system.daemon.wait_for("attempt_ended", job="often")
    return str(started["run_id"])


def check_nothing_is_inherited(system: IsolatedSystem, run_id: str) -> None:
    assert system.run("pycrontab", "-l", user=NAME).returncode == 1
    assert system.run("pycrontab", "--versions", user=NAME).returncode == 1
    for verb in ("list", "runs", "dead", "pause"):
        words = [verb, "list"] if verb == "dead" else [verb]
        assert system.rows(*words, user=NAME) == [], verb
    (top,) = system.rows("top", user=NAME)
    assert (top["running"], top["waiting"], top["next"]) == ([], [], [])
    for words in (["log", run_id], ["show", run_id], ["log", "secret"], ["kill", "sleeper"],
                  ["dead", "redrive", run_id], ["why", "secret", "2026-03-08T12:00"]):  # fmt: skip
        done = system.run("pycron", *words, user=NAME)
        assert (done.returncode, done.stdout) == (1, ""), words
    # Root still sees it, under a name that no account has.
    former = f"{NAME}#{OLD}"
    assert run_id in history(system, "root")
    assert {row["user"] for row in system.rows("runs", "--limit", "10000")} == {former}
    assert system.run("pycron", "log", run_id).stdout == "of the old account\n"
    assert [row["run_id"] for row in system.rows("dead", "list")] == [run_id]
    checked = map(json.loads, system.run("pycron", "check", "--json").stdout.splitlines())
    (problem,) = [row for row in checked if row["file"] == NAME]
    assert problem["code"] == "wrong-owner"


@pytest.mark.slow
def test_a_new_account_while_the_daemon_runs(system: IsolatedSystem) -> None:
    run_id = prepare(system)
    account(system, None)
    account(system, NEW)
    check_nothing_is_inherited(system, run_id)  # at once, not after a minute
    system.daemon.wait_for("account_replaced", user=NAME, uid=NEW)
    system.daemon.wait_for("attempt_ended", job="sleeper")

    # The new account begins with nothing, and with the same names.
    assert system.run("pycrontab", "-", user=NAME, stdin=TABLE).returncode == 0
    (row,) = system.rows("start", "secret", user=NAME)
    system.daemon.wait_for("attempt_ended", run_id=row["run_id"], count=2)
    assert row["run_id"] in history(system, NAME)
    assert run_id not in history(system, NAME)
    assert system.run("pycron", "log", run_id, user=NAME).returncode == 1
    assert run_id in history(system, "root")


@pytest.mark.slow
def test_a_new_account_while_no_daemon_runs(system: IsolatedSystem) -> None:
    run_id = prepare(system)
    system.rows("kill", "sleeper")
    system.daemon.wait_for("attempt_ended", job="sleeper")
    system.daemon.stop()
    account(system, NEW)
    system.start()
    check_nothing_is_inherited(system, run_id)


@pytest.mark.slow
def test_no_run_of_the_old_table_runs_as_either_account(system: IsolatedSystem) -> None:
    """A Job of the old table is due each second while the account is exchanged."""
    prepare(system)
    before = len(system.daemon.log("attempt_started", job="often"))
    account(system, NEW)
    first = system.rows("status", user=NAME)  # one request, or the next second, makes it known
    after = len(system.daemon.log("attempt_started", job="often"))
    system.daemon.wait_for("account_replaced")
    shown = system.shell(f"ls {paths.SYSTEM_STATE}")
    assert first
    assert shown
    assert after <= before + 3
    printed = {
        system.run("pycron", "log", row["run_id"]).stdout
        for row in system.rows("runs", "--limit", "20") if row["job"] == "often"
    }  # fmt: skip
    assert printed <= {f"{OLD}\n", ""}
