"""Programs that edit tables with `crontab` work with pycrontab: the real programs, twice each.

pip's extra `tools` and Debian's package ruby-whenever install them.
"""

import importlib.util
import json
import os
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.crontab_name import CrontabUser, crontab_user, programs_in
from tests.support.isolated_system import IsolatedSystem
from tests.support.user_accounts import USERS, real_user

OLD = "# by hand\n@monthly by-hand\\%x\n"


@pytest.fixture
def user(tmp_path: Path) -> Iterator[CrontabUser]:
    with crontab_user(tmp_path) as user:
        user("crontab -", stdin=OLD)
        yield user


def missing(module: str) -> bool:
    return importlib.util.find_spec(module) is None


def python_path() -> str:
    """Where the tools are, besides pycron."""
    return os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")])


# ---- Ansible

needs_ansible = pytest.mark.skipif(missing("ansible"), reason="ansible-core is not installed")

# What Ansible does on the machine: the module gets its arguments and prints JSON.
_MODULE = """
import runpy, sys
from ansible.module_utils import basic
basic._ANSIBLE_ARGS, basic._ANSIBLE_PROFILE = sys.argv.pop().encode(), "legacy"
runpy.run_module("ansible.modules.cron", run_name="__main__")
"""


class Ansible:
    """Ansible's cron module, for a user with a daemon."""

    def __init__(self, user: CrontabUser) -> None:
        self.user = user

    def __call__(self, **arguments: object) -> bool:
        """Whether the module says that it has changed something."""
        command = 'exec "$PYTHON" -c "$MODULE" "$ARGUMENTS"'
        done = self.user(
            command, PYTHON=sys.executable, MODULE=_MODULE, PYTHONPATH=python_path(),
            ARGUMENTS=ansible_arguments(arguments),
        )  # fmt: skip
        assert done.returncode == 0, (done.stdout, done.stderr)
        return bool(json.loads(done.stdout)["changed"])


def ansible_arguments(arguments: dict[str, Any]) -> str:
    return json.dumps({"ANSIBLE_MODULE_ARGS": {"_ansible_remote_tmp": "/tmp", **arguments}})


@needs_ansible
def test_ansible(user: CrontabUser) -> None:
    """Create, change, disable and remove; each of them changes something once."""
    cron = Ansible(user)
    steps: list[tuple[dict[str, object], str]] = [
        ({"job": "/bin/backup", "minute": "30", "hour": "2"}, "30 2 * * * /bin/backup"),
        ({"job": "/bin/backup -v", "minute": "30", "hour": "3"}, "30 3 * * * /bin/backup -v"),
        ({"job": "/bin/backup", "special_time": "daily"}, "@daily /bin/backup"),
        ({"job": "/bin/backup", "minute": "5", "disabled": True}, "#5 * * * * /bin/backup"),
    ]
    for arguments, line in steps:
        assert [cron(name="nightly", **arguments) for _ in range(2)] == [True, False]
        assert user.table() == f"{OLD}#Ansible: nightly\n{line}\n"
    assert [cron(name="nightly", state="absent") for _ in range(2)] == [True, False]
    assert user.table() == OLD


@needs_ansible
def test_ansible_sets_variables(user: CrontabUser) -> None:
    cron = Ansible(user)
    for value in ("joe", "ann"):
        changed = [cron(name="MAILTO", env=True, value=value, job=value) for _ in range(2)]
        assert changed == [True, False]
        assert user.table() == f'MAILTO="{value}"\n{OLD}'
    assert [cron(name="MAILTO", env=True, state="absent") for _ in range(2)] == [True, False]
    assert user.table() == OLD


@needs_ansible
@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_ansible_as_root_for_another_user(tmp_path: Path) -> None:
    real_user(USERS[0])
    programs = programs_in(tmp_path)
    arguments = ansible_arguments(
        {"name": "nightly", "job": "/bin/backup", "minute": "30", "hour": "2", "user": USERS[0]}
    )
    (tmp_path / "module").write_text(_MODULE)
    (tmp_path / "arguments").write_text(arguments)
    system = IsolatedSystem(tmp_path)
    try:
        script = f"""
            PATH={programs}:$PATH PYTHONPATH={python_path()}
            export PATH PYTHONPATH
            {sys.executable} {tmp_path}/module "$(cat {tmp_path}/arguments)"
        """
        changed = [json.loads(system.shell(script))["changed"] for _ in range(2)]
        table = system.run("pycrontab", "-l", user=USERS[0]).stdout
    finally:
        system.close()
    assert changed == [True, False]
    assert table == "#Ansible: nightly\n30 2 * * * /bin/backup\n"


# ---- python-crontab

_PYTHON_CRONTAB = """
from crontab import CronTab
table = CronTab(user=True)
job = next(table.find_comment("nightly"), None) or table.new("/bin/backup", comment="nightly")
job.setall("30 2 * * *")
table.env["MAILTO"] = "joe"
table.write()
"""


@pytest.mark.skipif(missing("crontabs"), reason="python-crontab is not installed")
def test_python_crontab(user: CrontabUser) -> None:
    texts = []
    for _ in range(3):
        done = user(
            'exec "$PYTHON" -c "$SCRIPT"', PYTHON=sys.executable, SCRIPT=_PYTHON_CRONTAB,
            PYTHONPATH=python_path(),
        )  # fmt: skip
        assert (done.returncode, done.stderr) == (0, "")
        texts.append(user.table())
    assert "\n30 2 * * * /bin/backup # nightly\n" in texts[0]
    assert "MAILTO=joe\n" in texts[0]
    assert "@monthly by-hand\\%x\n" in texts[0]
    assert texts[1:] == texts[:1] * 2


# ---- whenever

_SCHEDULE = """
every 1.day, at: '4:30 am' do
  command "/bin/backup"
end
every :hour do
  command "echo it\\\\'s time"
end
"""


@pytest.mark.skipif(not shutil.which("whenever"), reason="whenever is not installed")
def test_whenever(user: CrontabUser) -> None:
    (user.who.home / "schedule.rb").write_text(_SCHEDULE)
    texts = []
    for _ in range(2):
        done = user("whenever --update-crontab app -f schedule.rb")
        assert (done.returncode, done.stdout) == (0, "[write] crontab file updated\n"), done.stderr
        texts.append(re.sub(r" at: [-0-9: +]+", "", user.table()))
    assert texts[0] == texts[1]
    assert texts[0].startswith(f"{OLD}\n# Begin Whenever generated tasks for: app\n")
    assert "\n30 4 * * * /bin/bash -l -c '/bin/backup'\n" in texts[0]
    assert "\n0 * * * * " in texts[0]
    done = user("whenever --clear-crontab app -f schedule.rb")
    assert (done.returncode, done.stderr) == (0, "")
    assert user.table().rstrip("\n") == OLD.rstrip("\n")
