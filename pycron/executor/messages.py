"""Turns Jobs and Attempts into messages to the runner, and its messages into values."""

from pycron.model.instants import rfc3339
from pycron.model.job import Job
from pycron.model.run import AttemptKey, Cause, Ending
from pycron.protocol.runner_messages import EndedMessage, StartMessage, UserIds
from pycron.system.accounts import Account

DEFAULT_PATH = "/usr/bin:/bin"  # as in Debian's cron
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
) -> StartMessage:
    """The message that starts an Attempt as this account."""
    environment = command_environment(attempt, job, account)
    user: UserIds = {"uid": account.uid, "gid": account.gid, "groups": list(account.groups)}
    settings = job.settings
    return {
        "type": "start",
        "id": str(attempt),
        "argv": [environment["SHELL"], "-c", job.command],
        "env": environment,
        "user": user if become else None,
        "cwd": settings.cwd or environment["HOME"],
        "cwd_required": settings.cwd is not None,
        "umask": settings.umask,
        "nice": settings.nice,
        "stdin": job.stdin,
        "output": output,
        "output_limit": output_limit,
        "short_output": 0 if report_output else _SHORT_OUTPUT,
        "report_output": report_output,
        "timeout": settings.timeout,
        "kill_after": settings.kill_after,
        "memory_max": settings.memory_max,
        "processes_max": processes_max,
        "hold": hold,
    }


def command_environment(attempt: AttemptKey, job: Job, account: Account) -> dict[str, str]:
    """The environment of a command, as crontab(5) describes it.

    The variables of the table, with defaults for HOME, SHELL and PATH, and variables that describe
    the Run. A table cannot override LOGNAME and USER.
    """
    return {
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
