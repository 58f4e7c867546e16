"""Other users, for tests: real ones where the tests run as root, else oneself."""

import os
import pwd
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest


@dataclass(frozen=True)
class Person:
    """A user with a home of their own; `how` is what subprocess needs to run as them."""

    name: str
    home: Path
    how: dict[str, Any]

    def environment(self, **more: str) -> dict[str, str]:
        return {
            "HOME": str(self.home),
            "PATH": "/usr/bin:/bin",
            "PYTHONPATH": str(Path(__file__).parents[2]),
            **more,
        }


def person(name: str, home: Path) -> Person:
    """As root: this user, made when missing. Otherwise: oneself, whatever the name."""
    home.mkdir(parents=True, exist_ok=True)
    if os.geteuid() != 0:
        return Person(pwd.getpwuid(os.geteuid()).pw_name, home, {})
    account = real_user(name)
    os.chown(home, account.pw_uid, account.pw_gid)
    for parent in home.parents:  # pytest's directories are for their owner alone
        if str(parent).startswith("/tmp/") and parent.stat().st_uid == 0:
            parent.chmod(parent.stat().st_mode | 0o011)
    how = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
    return Person(name, home, how)


def real_user(name: str) -> pwd.struct_passwd:
    """The account of this name, made when missing. For root, with an interpreter for all."""
    if not _can_be_run_by_others(Path(sys.executable)):
        pytest.skip(f"{sys.executable} can't be run by other users: use one under /usr or /opt")
    try:
        return pwd.getpwnam(name)
    except KeyError:
        subprocess.run(["useradd", "--create-home", name], check=True)
        return pwd.getpwnam(name)


def _can_be_run_by_others(program: Path) -> bool:
    here = Path(__file__).resolve()
    needed = [program.absolute(), program.resolve(), here]
    return all(path.stat().st_mode & 0o5 for file in needed for path in file.parents) and all(
        parent.stat().st_mode & 0o1 for file in needed for parent in file.parents
    )
