"""The address of a broker, with its password, which the users of a sender must not learn.

The system's daemon as root, with real users. The broker accepts connections and never answers, so
the program that sends the message stays there to be looked at.
"""

import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from pycron.system import paths
from tests.support.isolated_system import IsolatedSystem, isolated_system
from tests.support.user_accounts import USERS
from tests.support.waiting import until

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
]

PASSWORD = "gehe1m"
ALLOWED, DENIED, _ = USERS
MESSAGE = "CRON_NAME=s CRON_SEND=shop @yearly shop.tasks.refresh\n"


@pytest.fixture
def silent() -> Iterator[socket.socket]:
    """A broker that never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


@pytest.fixture
def system(tmp_path: Path, silent: socket.socket) -> Iterator[IsolatedSystem]:
    pytest.importorskip("celery")
    port = silent.getsockname()[1]
    with isolated_system(tmp_path, own_etc=True) as system:
        system.shell("id -u pycron-mail >/dev/null 2>&1 || useradd --system pycron-mail")
        toml = paths.SYSTEM_CONFIG
        system.write(
            toml,
            f'[senders.shop]\ncelery = "redis://:{PASSWORD}@127.0.0.1:{port}/0"\n'
            f'queue = "shop"\nusers = ["{ALLOWED}"]\n',
        )
        system.shell(f"chmod 600 {toml}")
        system.daemon.stop()
        system.start()
        yield system


def sending(system: IsolatedSystem) -> psutil.Process:
    """The process that sends the message of the first Attempt."""
    process = psutil.Process(system.daemon.wait_for("attempt_started")["pid"])
    until(lambda: "pycron.sender" in process.cmdline())
    return process


def test_nobody_else_sees_the_password(system: IsolatedSystem) -> None:
    assert system.run("pycrontab", "-", user=ALLOWED, stdin=MESSAGE).returncode == 0
    assert system.run("pycron", "start", "s", user=ALLOWED).returncode == 0
    process = sending(system)
    mail = system.shell("id -u pycron-mail").strip()
    assert set(process.uids()) == {int(mail)}
    assert PASSWORD not in " ".join(process.cmdline())
    assert PASSWORD not in str(process.environ())
    for file in ("environ", "fd/0", "mem", "maps"):
        refused = system.shell(
            f"setpriv --reuid={ALLOWED} --regid={ALLOWED} --init-groups"
            f" head -c 1 /proc/{process.pid}/{file} >/dev/null 2>&1 || echo refused"
        )
        assert refused == "refused\n", file
    process.kill()
    system.daemon.wait_for("attempt_ended")
    run_id = system.runs(user=ALLOWED)[0]["run_id"]
    for words in (["list"], ["list", "--json"], ["runs", "--json"], ["show", run_id],
                  ["log", run_id], ["why", "s", "now"], ["status", "--json"]):  # fmt: skip
        done = system.run("pycron", *words, user=ALLOWED)
        assert PASSWORD not in done.stdout + done.stderr
    assert PASSWORD not in str(system.daemon.log())


@pytest.mark.slow
def test_who_may_not_use_a_sender(system: IsolatedSystem) -> None:
    """pycrontab refuses the table; nothing is sent, and nothing is run as a command."""
    refused = system.run("pycrontab", "-", user=DENIED, stdin=MESSAGE)
    assert refused.returncode == 1
    assert f"[senders.shop] of the configuration is not for {DENIED}" in refused.stderr
    assert PASSWORD not in refused.stderr
    system.shell("mkdir -p /etc/pycron/crontabs")
    for user, found in ((DENIED, ["sender-denied"]), (ALLOWED, [])):
        system.write(Path(f"/etc/pycron/crontabs/{user}"), MESSAGE)
        checked = system.run("pycron", "check", "--json", f"/etc/pycron/crontabs/{user}")
        assert [json.loads(line)["code"] for line in checked.stdout.splitlines()] == found
    assert system.rows("list", user=DENIED) == []


@pytest.mark.slow
def test_who_may_not_use_a_sender_any_more(system: IsolatedSystem) -> None:
    """The table was good once, so its Jobs stay; their Attempts fail."""
    assert system.run("pycrontab", "-", user=ALLOWED, stdin=MESSAGE).returncode == 0
    toml = paths.SYSTEM_CONFIG
    system.shell(f"sed -i '/users/d' {toml}")
    assert system.run("pycron", "reload").returncode == 0
    system.run("pycron", "start", "s", user=ALLOWED)
    (row,) = until(lambda: [row for row in system.runs(user=ALLOWED) if row["outcome"]])
    assert row["outcome"] == "failed"
    assert f"is not for {ALLOWED}" in row["reason"]


@pytest.mark.slow
def test_a_system_without_the_account(system: IsolatedSystem) -> None:
    system.shell("userdel pycron-mail")
    assert system.run("pycrontab", "-", user=ALLOWED, stdin=MESSAGE).returncode == 0
    assert system.run("pycron", "reload").returncode == 0
    system.run("pycron", "start", "s", user=ALLOWED)
    (row,) = until(lambda: [row for row in system.runs(user=ALLOWED) if row["outcome"]])
    assert row["reason"] == "there is no account pycron-mail: pycron setup makes it"
