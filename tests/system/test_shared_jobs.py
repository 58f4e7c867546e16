"""Shared Jobs in the system mode: the agent has an account of its own, and commands other users."""

import os
import pwd
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psutil
import pytest

from tests.support.isolated_system import IsolatedSystem
from tests.support.postgres import Postgres, is_here, running_postgres
from tests.support.user_accounts import USERS, real_user
from tests.support.waiting import until

pytest.importorskip("psycopg")
pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
    pytest.mark.skipif(not is_here(), reason="needs PostgreSQL"),
]

_ACCOUNT = "useradd --system --no-create-home --home-dir / --shell /usr/sbin/nologin pycron-cluster"


@pytest.fixture
def server() -> Iterator[Postgres]:
    with running_postgres() as postgres:
        yield postgres


def _config(server: Postgres) -> str:
    text = f'[cluster]\\nname = "test"\\ndatabase = "{server.address()}"\\nhost = "web1"\\n'
    return f"printf '{text}' > /etc/pycron/pycron.toml; chmod 600 /etc/pycron/pycron.toml"


def test_the_agent_has_its_own_account_and_commands_run_as_their_users(
    tmp_path: Path, server: Postgres
) -> None:
    for name in USERS:
        real_user(name)
    prepare = f"{_ACCOUNT}; {_config(server)}"
    with closing(IsolatedSystem(tmp_path, prepare, own_etc=True)) as system:
        done = system.run("pycron", "cluster", "init")
        assert done.returncode == 0, done.stderr
        user = USERS[0]
        witness = f"/tmp/pycron-shared-{os.getpid()}"
        line = f"CRON_NAME=x CRON_ON=any @every 2s {user} id -un >> {witness}"
        system.write(Path("/etc/pycron.d/shared"), f"{line}\n")
        until(lambda: system.shell(f"cat {witness} 2>/dev/null || true"), 60)
        system.daemon.wait_for("cluster_joined")
        agent = psutil.Process(int(system.daemon.log("agent_started")[-1]["pid"]))
        passwd = (system.root / "etc/passwd").read_text()
        (uid,) = (int(each.split(":")[2]) for each in passwd.splitlines()
                  if each.startswith("pycron-cluster:"))  # fmt: skip
        assert set(agent.uids()) == {uid}
        assert set(system.shell(f"cat {witness}; rm {witness}").split()) == {user}
        lease = system.root / "run/pycron/cluster/lease"
        assert lease.stat().st_uid == uid
        assert server.address() not in " ".join(agent.cmdline())
        (status,) = system.rows("status")
        assert status["cluster"]["problem"] is None
        assert pwd.getpwuid(0).pw_name == "root"


def test_without_the_account_nothing_is_started_as_root(tmp_path: Path, server: Postgres) -> None:
    with closing(IsolatedSystem(tmp_path, _config(server), own_etc=True)) as system:
        problem = system.daemon.wait_for("cluster_problem")
        assert "pycron setup --system --cluster" in problem["reason"]
        assert not system.daemon.log("agent_started")
