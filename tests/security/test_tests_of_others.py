"""`pycron test` runs a command only for who may install it, only as its user, with its limits."""

import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.isolated_system import IsolatedSystem, isolated_system
from tests.support.running_daemon import program
from tests.support.user_accounts import USERS

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
]

ROOT = Path(__file__).resolve().parents[2]
ALICE, BOB, CAROL = USERS
CONFIG = '[ceilings]\nCRON_TIMEOUT = "1s"\n[limits]\nuser_table_bytes = "64K"\n'
OF_BOB = "CRON_NAME=bobs @yearly echo of bob\n"


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[IsolatedSystem]:
    with isolated_system(tmp_path_factory.mktemp("system")) as system:
        system.shell(f"echo {CAROL} > /etc/pycron/deny")
        assert system.run("pycrontab", "-", user=BOB, stdin=OF_BOB).returncode == 0
        yield system


def test_each_command_runs_as_its_user(system: IsolatedSystem) -> None:
    line = ("--line", "CRON_NAME=who @daily id -un; echo $HOME")
    assert system.run("pycron", "test", *line, user=ALICE).stdout.startswith(f"{ALICE}\n")
    assert system.run("pycron", "test", *line).stdout.startswith("root\n")
    assert system.run("pycron", "test", *line, "--owner", BOB).stdout.startswith(f"{BOB}\n")
    assert system.run("pycron", "test", "bobs", user=BOB).stdout == "of bob\n"
    assert system.run("pycron", "test", "bobs").stdout == "of bob\n"
    table = f"CRON_NAME=a @daily {ALICE} id -un\nCRON_NAME=r @daily root id -un\n"
    for job, user in (("a", ALICE), ("r", "root")):
        done = system.run("pycron", "test", "--system-table", "-", job, stdin=table)
        assert (done.returncode, done.stdout) == (0, f"{user}\n")


@pytest.mark.parametrize(
    ("user", "words", "said"),
    [
        (ALICE, ["bobs"], "no such job"),
        (ALICE, ["--line", "@daily id", "--owner", BOB], "only root may use -u"),
        (ALICE, ["--line", "@daily id", "--owner", "root"], "only root may use -u"),
        (ALICE, ["--system-table", "-", "r"], "only root may test such a table"),
        (ALICE, ["--system-table", "-", "a"], "only root may test such a table"),
        (CAROL, ["--line", "@daily id"], "not allowed to use"),
    ],
)
def test_no_command_runs_for_who_may_not_install_it(
    system: IsolatedSystem, user: str, words: list[str], said: str
) -> None:
    table = f"CRON_NAME=a @daily {ALICE} id\nCRON_NAME=r @daily root id\n"
    before = len(system.runs())
    done = system.run("pycron", "test", *words, user=user, stdin=table)
    assert (done.returncode, done.stdout) == (1, "")
    assert said in done.stderr
    assert len(system.runs()) == before


def test_tests_of_two_users_are_not_one_job(system: IsolatedSystem) -> None:
    """The same name of an entry in the tests of two users: neither sees the other one's Runs."""
    line = ("--line", "CRON_NAME=same @daily echo owned by $USER")
    for user in (ALICE, BOB):
        assert system.run("pycron", "test", *line, user=user).stdout == f"owned by {user}\n"
    runs = {row["user"]: row["run_id"] for row in system.runs() if row["job"] == "same:test"}
    assert len({run_id.split("-")[0] for run_id in runs.values()}) == 2
    assert system.run("pycron", "log", runs[BOB], user=ALICE).returncode == 1
    found = system.rows("log", "--search", "owned by", user=ALICE)
    assert {row["line"] for row in found} == {f"owned by {ALICE}"}
    refused = system.run("pycron", "log", "--search", "of bob", runs[BOB], user=ALICE)
    assert (refused.returncode, refused.stdout) == (1, "")


def test_ceilings_and_limits_hold(system: IsolatedSystem) -> None:
    system.shell(f"printf '%s' '{CONFIG}' > /etc/pycron/pycron.toml")
    assert system.run("pycron", "reload").returncode == 0
    words = ("test", "--line", "CRON_TIMEOUT=1h @daily sleep 60")
    assert system.run("pycron", *words, user=ALICE).returncode == 124
    large = "#" * 70_000 + "\n"
    refused = system.run("pycron", "test", "--table", "-", "x", user=ALICE, stdin=large)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "limits.user_table_bytes" in refused.stderr


def test_the_output_of_others_is_not_followed(system: IsolatedSystem) -> None:
    arguments = ["env", f"PYTHONPATH={ROOT}", *program("pycron", "log", "-f")]
    command = ["setpriv", f"--reuid={ALICE}", f"--regid={ALICE}", "--init-groups", *arguments]
    following = subprocess.Popen([*system.inside, *command], stdout=subprocess.PIPE, text=True)
    try:
        assert following.stdout
        lines: list[str] = []
        reader = threading.Thread(target=lambda out: lines.append(out.readline()),
                                  args=(following.stdout,))  # fmt: skip
        reader.start()
        while reader.is_alive():  # until its first look has been, nothing is shown
            assert system.run("pycron", "test", "bobs", user=BOB).returncode == 0
            system.run("pycron", "test", "--line", "CRON_NAME=own @daily echo x", user=ALICE)
        assert lines == ["own:test | x\n"]
    finally:
        following.send_signal(signal.SIGINT)
        following.communicate(timeout=30)
