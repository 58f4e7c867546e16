"""Turns Jobs and Attempts into messages to the runner, and its messages into values."""

import os
from collections.abc import Iterable
from pathlib import Path

from pycron.model.instants import rfc3339
from pycron.model.job import Job
from pycron.model.run import AttemptKey, Cause, Ending
from pycron.ports import Program
from pycron.protocol.runner_messages import EndedMessage, SessionRequest, StartMessage, UserIds
from pycron.system.accounts import Account

DEFAULT_PATH = "/usr/bin:/bin"  # as in Debian's cron
_REACHING = ("TZ", "SSL_CERT_FILE", "SSL_CERT_DIR", "http_proxy", "https_proxy", "no_proxy")
# What a program needs that shows something on the desktop of its user, such as notify-send(1).
_DESKTOP = ("DBUS_SESSION_BUS_ADDRESS", "XDG_RUNTIME_DIR", "DISPLAY", "WAYLAND_DISPLAY",
            "XAUTHORITY")  # fmt: skip
_SHORT_OUTPUT = 1000  # bytes: four rows of this size fit in a page of the database


def start_message(
    attempt: AttemptKey,
    job: Job,
    account: Account,
    *,
    become: bool,
    output: str,
    output_limit: int,
    report_output: bool,
    processes_max: int,
    hold: int | None,
    desktop: bool = False,
    program: Program | None = None,
    session: SessionRequest | None = None,
) -> StartMessage:
    """The message that starts an Attempt as this account.

    `desktop`: the command gets what the daemon knows of the desktop of its user. `program`: of a
    delivery, instead of the command of the Job. `session`: None without PAM.
    """
    environment = command_environment(attempt, job, account, desktop=desktop)
    argv, stdin = [environment["SHELL"], "-c", job.command], job.stdin
    if program is not None:
        environment = program_environment(account)
        argv, stdin = program.argv, program.stdin
    user: UserIds = {"uid": account.uid, "gid": account.gid, "groups": list(account.groups)}
    settings = job.settings
    return {
        "type": "start",
        "id": str(attempt),
        "argv": argv,
        "env": environment,
        "user": user if become else None,
        "cwd": settings.cwd or environment["HOME"],
        "cwd_required": settings.cwd is not None,
        "umask": settings.umask,
        "nice": settings.nice,
        "stdin": stdin,
        "output": output,
        "output_limit": output_limit,
        "short_output": 0 if report_output else _SHORT_OUTPUT,
        "report_output": report_output,
        "timeout": settings.timeout,
        "kill_after": settings.kill_after,
        "memory_max": settings.memory_max,
        "processes_max": processes_max,
        "hold": hold,
        "session": session,
    }


def session_request(service: str, account: Account, timeout: int) -> SessionRequest:
    """The PAM session of a command.

    The account of root is not checked: when root's password has expired, its Jobs still run, as in
    cronie.
    """
    return {
        "service": service,
        "user": account.name,
        "check_account": account.uid != 0,
        "timeout": timeout,
    }


def command_environment(
    attempt: AttemptKey, job: Job, account: Account, *, desktop: bool
) -> dict[str, str]:
    """The environment of a command, as crontab(5) describes it.

    The variables of the table, with defaults for HOME, SHELL and PATH, and variables that describe
    the Run. A table cannot override LOGNAME and USER.
    """
    return {
        **(_inherited(_DESKTOP) if desktop else {}),
        "HOME": account.home,
        "SHELL": "/bin/sh",
        "PATH": DEFAULT_PATH,
        **dict(job.environment),
        "LOGNAME": account.name,
        "USER": account.name,
        "CRON_JOB": job.name,
        "CRON_RUN_ID": str(attempt.run),
        "CRON_FIRE_TIME": rfc3339(attempt.run.fire_time),
        "CRON_ATTEMPT": str(attempt.number),
    }


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


def ending_of(message: EndedMessage) -> Ending:
    """The Ending in a runner's message about an Attempt that has ended."""
    output = message["output"]
    return Ending(
        ended=message["ended"],
        exit_status=message["exit_status"],
        signal=message["signal"],
        cpu_seconds=message["cpu_seconds"],
        memory_peak=message["memory_peak"],
        output_bytes=message["output_bytes"],
        output_kept=message["output_kept"],
        cause=Cause(message["cause"]) if message["cause"] else None,
        reason=message["reason"],
        output=output.encode("latin-1") if output else None,
    )
