"""The configuration of the system's daemon: who may reload it, and a start with a bad one."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from pycron.system import paths
from tests.support.isolated_system import IsolatedSystem, isolated_system
from tests.support.running_daemon import program
from tests.support.thoroughness import slow_after
from tests.support.user_accounts import USERS, user_account

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
]

USER = USERS[0]
CONFIG = paths.SYSTEM_CONFIG
SOCKET = paths.system_paths().socket
WHY_BAD = "bad limits.running: 0 (a whole number above 0)"


@pytest.fixture
def system(tmp_path: Path) -> Iterator[IsolatedSystem]:
    with isolated_system(tmp_path) as system:
        yield system


def pycrond(system: IsolatedSystem, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [*system.inside, *program("pycrond", *arguments)]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=60, check=False,
        cwd=Path(__file__).parents[2],
    )  # fmt: skip


def test_only_root_reloads_and_only_root_sees_the_error(system: IsolatedSystem) -> None:
    system.write(CONFIG, "[limits]\nrunning = 0\n")
    refused = system.run("pycron", "reload", user=USER)
    assert (refused.returncode, refused.stderr) == (
        1, "pycron: only root and the user of the daemon may do that\n"
    )  # fmt: skip
    refused = system.run("pycron", "--system", "reload")
    assert refused.returncode == 1
    assert refused.stderr == f"pycron: {CONFIG}: {WHY_BAD} (nothing was reloaded)\n"
    assert system.rows("status")[0]["config"]["error"] == WHY_BAD
    assert system.rows("status", user=USER)[0]["config"] is None
    assert WHY_BAD in system.run("pycron", "check").stdout
    assert system.run("pycron", "check", user=USER).returncode == 0


@pytest.mark.slow
def test_the_group_of_operators_and_the_limits_of_tables_change(system: IsolatedSystem) -> None:
    group = subprocess.check_output(["id", "-gn", USER], text=True).strip()
    assert system.rows("status", user=USER)[0]["config"] is None
    system.write(CONFIG, f'[access]\noperators = "{group}"\n[limits]\nuser_table_bytes = 20\n')
    assert system.rows("reload")[0]["changed"] == ["limits.user_table_bytes", "access.operators"]
    assert system.rows("status", user=USER)[0]["config"] is not None
    table = "@daily true # too long\n"
    assert "user_table_bytes" in system.run("pycrontab", "-", user=USER, stdin=table).stderr
    system.write(CONFIG, "")
    system.run("pycron", "reload")
    assert system.run("pycrontab", "-", user=USER, stdin=table).returncode == 0


def test_a_bad_configuration_at_the_start(system: IsolatedSystem) -> None:
    system.daemon.stop()
    system.write(CONFIG, "[limits]\nrunning = 0\n")
    ended = pycrond(system)
    assert (ended.returncode, ended.stdout) == (os.EX_CONFIG, "")
    assert ended.stderr == f"pycrond: {CONFIG}: {WHY_BAD}\n"
    checked = pycrond(system, "--check")
    assert (checked.returncode, checked.stdout) == (1, f"{CONFIG}: {WHY_BAD}\n")
    for user in ("root", USER):
        checked = system.run("pycron", "check", user=user)
        line = f"{CONFIG}: {WHY_BAD} [bad-configuration]\n"
        assert (checked.returncode, checked.stdout) == (1, line)
        assert "systemctl start pycron" in checked.stderr
    system.shell(f"chmod 600 {CONFIG}")
    checked = system.run("pycron", "check", user=USER)
    assert (checked.returncode, checked.stdout) == (1, "")
    system.write(CONFIG, "")
    system.daemon = system.start()


def test_a_directory_that_others_can_write_to(system: IsolatedSystem) -> None:
    system.daemon.stop()
    system.shell(f"chmod 777 {paths.SYSTEM_STATE}")
    ended = pycrond(system)
    assert ended.returncode == os.EX_CONFIG
    assert "not a safe directory" in ended.stderr


@pytest.mark.parametrize("user", ["root", USER])
@pytest.mark.parametrize(
    ("name", "words"),
    slow_after(2, [("pycron", ["status"]), ("pycrontab", ["-l"]), ("pycron", ["reload"]),
                   ("pycron", ["--system", "runs"]), ("pycrontab", ["--system", "-l"])]),
)  # fmt: skip
def test_while_the_daemon_is_down(
    system: IsolatedSystem, name: str, words: list[str], user: str
) -> None:
    system.daemon.stop()
    done = system.run(name, *words, user=user)
    assert (done.returncode, done.stderr) == (
        1,
        f"{name}: no pycron daemon answers at {SOCKET}: No such file or directory;"
        " start it: systemctl start pycron\n",
    )


@pytest.mark.slow
def test_a_users_own_daemon_is_meant_where_it_is_in_use(
    system: IsolatedSystem, tmp_path: Path
) -> None:
    system.daemon.stop()
    home = user_account(USER, tmp_path / "home").home
    socket = home / ".local/state/pycron/run/pycron.sock"
    prefix = ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--init-groups",
              "env", "-u", "XDG_RUNTIME_DIR", f"HOME={home}"]  # fmt: skip

    def said(*words: str) -> str:
        command = [*system.inside, *prefix, *program("pycron", *words)]
        root = Path(__file__).parents[2]
        return subprocess.run(
            command, capture_output=True, text=True, check=False, env={"PYTHONPATH": str(root)}
        ).stderr

    start = "start it: pycrond\n"
    missing = f"no pycron daemon answers at {socket}: No such file or directory; {start}"
    assert said("--user", "status") == f"pycron: {missing}"
    socket.parent.mkdir(parents=True)
    socket.touch()
    assert f"{socket}: Permission denied" in said("status")
