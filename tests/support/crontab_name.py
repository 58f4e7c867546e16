"""pycrontab under the name `crontab`, as a package installs it."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.running_daemon import RunningDaemon, python_script
from tests.support.user_accounts import USERS, UserAccount, user_account

Done = subprocess.CompletedProcess[str]

_SCRIPT = """
import sys
sys.path.insert(0, {checkout!r})
from pycron.cli.pycrontab import main
sys.exit(main())
"""


def programs_in(directory: Path) -> Path:
    """A directory with the program `pycrontab` and the symbolic link `crontab` to it."""
    programs = directory / "programs"
    programs.mkdir()
    checkout = str(Path(__file__).parents[2])
    program = programs / "pycrontab"
    program.write_text(python_script(_SCRIPT.format(checkout=checkout)))
    program.chmod(0o755)
    (programs / "crontab").symlink_to(program)
    return programs


class CrontabUser:
    """A user with a daemon, in whose PATH `crontab` is pycrontab."""

    def __init__(self, who: UserAccount, programs: Path, log: Path) -> None:
        self.who = who
        self.programs = programs
        self.daemon = RunningDaemon([], log, env=who.environment(), cwd="/", **who.run_as)
        self.daemon.wait_until_ready()

    def __call__(self, script: str, stdin: str = "", **environment: str) -> Done:
        path = f"{self.programs}:/usr/bin:/bin"
        return subprocess.run(
            ["sh", "-c", script], input=stdin, capture_output=True, text=True, check=False,
            timeout=60, cwd=self.who.home,
            env=self.who.environment(**{"PATH": path, **environment}), **self.who.run_as,
        )  # fmt: skip

    def table(self) -> str:
        return self("crontab -l").stdout


@contextmanager
def crontab_user(directory: Path) -> Iterator[CrontabUser]:
    """A user with a daemon of their own, whose files are in a directory."""
    who = user_account(USERS[0], directory / "home")
    user = CrontabUser(who, programs_in(directory), directory / "log")
    try:
        yield user
    finally:
        user.daemon.stop()
