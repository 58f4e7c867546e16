"""The environments of commands, and of the programs that send deliveries."""

import os
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from pycron.model.instants import rfc3339
from pycron.model.job import Job
from pycron.model.run import TEST_SUFFIX, AttemptKey
from pycron.system.accounts import Account
from pycron.system.host import DESKTOP_VARIABLES
from pycron.system.programs import DEFAULT_PATH

_REACHING = ("TZ", "SSL_CERT_FILE", "SSL_CERT_DIR", "http_proxy", "https_proxy", "no_proxy")
# What concerns the daemon itself, from its service manager. SHELL is the shell of whoever started
# the daemon; the shell of commands is cron's, unless the table names another one.
_DAEMONS = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "JOURNAL_STREAM", "SHELL")
_DAEMONS_PREFIX = "LISTEN_"


@dataclass(frozen=True, slots=True)
class Passed:
    """What a daemon passes on to commands from what it was started with.

    `own`: variables for commands of the daemon's user. `others`: for those of other users.
    `directory`: where commands of the daemon's user start; None for HOME. `programs`: the directory
    of pycron's programs, which commands find behind their PATH; None if it is not known.
    """

    own: Mapping[str, str] = field(default_factory=dict)
    others: Mapping[str, str] = field(default_factory=dict)
    directory: str | None = None
    programs: str | None = None

    def with_variable(self, name: str, value: str) -> "Passed":
        """The same, and one more variable for all commands."""
        more = {name: value}
        return replace(self, own={**self.own, **more}, others={**self.others, **more})


NOTHING_PASSED = Passed()


def passed_to_desktop() -> Passed:
    """For a user's own daemon."""
    return Passed(own=_inherited(DESKTOP_VARIABLES))


def passed_in_foreground(names: Collection[str], *, clean: bool) -> Passed:
    """For a foreground daemon: everything, but to commands of other users only these variables.

    Root's environment may have secrets. `clean`: also the daemon's user gets only these.
    """
    named = _inherited(names)
    if clean:
        return Passed(named, named)
    everything = {
        name: value
        for name, value in os.environ.items()
        if name not in _DAEMONS and not name.startswith(_DAEMONS_PREFIX)
    }
    return Passed(everything, named, os.getcwd())


def command_environment(
    attempt: AttemptKey,
    job: Job,
    account: Account,
    passed: Mapping[str, str],
    programs: str | None = None,
) -> dict[str, str]:
    """The environment of a command, as crontab(5) describes it.

    The variables of the table, with defaults for HOME, SHELL and PATH, and variables that describe
    the Run. A table cannot override LOGNAME and USER. `passed`: stands for the defaults.
    `programs`: a directory that stands last in PATH, so that it hides no other program.
    """
    environment = {
        "HOME": account.home,
        "SHELL": "/bin/sh",
        "PATH": DEFAULT_PATH,
        **passed,
        **dict(job.environment),
        "LOGNAME": account.name,
        "USER": account.name,
        "CRON_JOB": job.name.removesuffix(TEST_SUFFIX),
        "CRON_RUN_ID": str(attempt.run),
        "CRON_FIRE_TIME": rfc3339(attempt.run.fire_time),
        "CRON_ATTEMPT": str(attempt.number),
    }
    directories = environment["PATH"].split(":")
    if programs is not None and programs not in directories:
        environment["PATH"] = ":".join([*directories, programs])
    return environment


def program_environment(account: Account) -> dict[str, str]:
    """The environment of a program that sends a delivery: nothing from a table.

    What the daemon was started with to reach the world holds for these programs, too.
    """
    return {
        "HOME": account.home,
        "LOGNAME": account.name,
        "USER": account.name,
        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
        "PYTHONPATH": str(Path(__file__).resolve().parents[2]),
        "PYTHONUTF8": "1",
        **_inherited(_REACHING),
    }


def _inherited(names: Iterable[str]) -> dict[str, str]:
    """Those of these variables that the daemon was started with."""
    return {name: os.environ[name] for name in names if name in os.environ}
