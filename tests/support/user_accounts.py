"""Accounts for tests: other users if the tests run as root, else the user who runs the tests."""

import contextlib
import os
import pwd
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.remaining_processes import VARIABLE
from tests.support.waiting import until

# Users whose commands tests run; each process that runs tests has its own.
WORKER = os.environ.get("PYTEST_XDIST_WORKER", "")
USERS = (f"pycrontest1{WORKER}", f"pycrontest2{WORKER}", f"pycrontest3{WORKER}")


@dataclass(frozen=True)
class UserAccount:
    """A user with a home directory for the test.

    `run_as`: the arguments with which subprocess runs a program as this user.
    """

    name: str
    home: Path
    run_as: dict[str, Any]

    def environment(self, **more: str) -> dict[str, str]:
        return {
            "HOME": str(self.home),
            "PATH": "/usr/bin:/bin",
            "PYTHONPATH": str(Path(__file__).parents[2]),
            VARIABLE: os.environ[VARIABLE],
            **more,
        }


def user_account(name: str, home: Path) -> UserAccount:
    """As root: the account of this name, created if missing. Otherwise: the current user's."""
    home.mkdir(parents=True, exist_ok=True)
    if os.geteuid() != 0:
        return UserAccount(pwd.getpwuid(os.geteuid()).pw_name, home, {})
    account = real_user(name)
    os.chown(home, account.pw_uid, account.pw_gid)
    let_others_enter(home.parent)
    run_as = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
    return UserAccount(name, home, run_as)


def let_others_enter(directory: Path) -> None:
    """Other users may enter pytest's directories, which only their owner may at first."""
    for each in (directory, *directory.parents):
        mode = each.stat().st_mode
        if mode & 0o011 != 0o011:
            each.chmod(mode | 0o011)


def real_user(name: str) -> pwd.struct_passwd:
    """The account of this name, created if missing.

    Only for tests that run as root. Skips the test if other users can't run the interpreter.
    """
    if not _can_be_run_by_others(Path(sys.executable)):
        pytest.skip(f"{sys.executable} can't be run by other users: use one under /usr or /opt")
    if account := _account(name):
        return account
    return until(lambda: _created(name))


def join(user: str, group: str) -> None:
    """Add a user to a group, which is created if missing."""
    _change("groupadd", "-f", group)
    _change("usermod", "-aG", group, user)


@contextlib.contextmanager
def member_of(user: str, group: str) -> Iterator[None]:
    """The user belongs to the group for a while."""
    join(user, group)
    try:
        yield
    finally:
        _change("gpasswd", "-d", user, group)


def _change(*command: str) -> None:
    """Change accounts; such a program fails while another process changes them."""
    until(lambda: subprocess.run(command, check=False, capture_output=True).returncode == 0)


def _created(name: str) -> pwd.struct_passwd | None:
    """None if another process is creating an account at this moment."""
    subprocess.run(["useradd", "--create-home", name], check=False, capture_output=True)
    return _account(name)


def _account(name: str) -> pwd.struct_passwd | None:
    try:
        return pwd.getpwnam(name)
    except KeyError:
        return None


def _can_be_run_by_others(program: Path) -> bool:
    here = Path(__file__).resolve()
    needed = [program.absolute(), program.resolve(), here]
    return all(path.stat().st_mode & 0o5 for file in needed for path in file.parents) and all(
        parent.stat().st_mode & 0o1 for file in needed for parent in file.parents
    )
