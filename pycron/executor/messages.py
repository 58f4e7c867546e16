"""Turns Jobs and Attempts into messages to the runner, and its messages into values."""

import os
from dataclasses import dataclass

from pycron.executor.environments import Passed, command_environment, program_environment
from pycron.model.job import Job
from pycron.model.run import AttemptKey, Cause, Ending
from pycron.ports import Program
from pycron.protocol.runner_messages import (
    EndedMessage,
    LeaseRequest,
    SessionRequest,
    StartMessage,
    UserIds,
)
from pycron.system.accounts import Account

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
    passed: Passed,
    program: Program | None = None,
    session: SessionRequest | None = None,
    lease: LeaseRequest | None = None,
) -> StartMessage:
    """The message that starts an Attempt as this account.

    `passed`: what the daemon passes on to commands. `program`: what sends a delivery or a message,
    instead of the command of the Job. `session`: None without PAM. `lease`: that of a shared Run.
    """
    what = _program(program, account) if program else _command(attempt, job, account, passed)
    user: UserIds = {"uid": account.uid, "gid": account.gid, "groups": list(account.groups)}
    settings = job.settings
    directory = None if program else settings.cwd  # the account of a program may not enter it
    return {
        "type": "start",
        "id": str(attempt),
        "argv": what.argv,
        "env": what.environment,
        "user": user if become else None,
        "cwd": directory or what.directory,
        "cwd_required": directory is not None,
        "umask": settings.umask,
        "nice": settings.nice,
        "stdin": what.stdin,
        "output": output,
        "output_limit": output_limit,
        "short_output": _SHORT_OUTPUT,
        "report_output": report_output,
        "timeout": settings.timeout,
        "kill_after": settings.kill_after,
        "memory_max": settings.memory_max,
        "processes_max": processes_max,
        "hold": hold,
        "session": session,
        # Its receipt says whether it was sent; to interrupt it could send it twice.
        "outlives_runner": program is not None,
        "lease": lease,
    }


@dataclass(frozen=True, slots=True)
class _Executed:
    """What the runner executes. `directory`: where, unless a setting says otherwise."""

    argv: list[str]
    stdin: str | None
    environment: dict[str, str]
    directory: str


def _command(attempt: AttemptKey, job: Job, account: Account, passed: Passed) -> _Executed:
    own = account.uid == os.geteuid()
    variables = passed.own if own else passed.others
    environment = command_environment(attempt, job, account, variables, passed.programs)
    directory = environment["HOME"]
    if own and passed.directory and "HOME" not in dict(job.environment):
        directory = passed.directory
    argv = [environment["SHELL"], "-c", job.command]
    return _Executed(argv, job.stdin, environment, directory)


def _program(program: Program, account: Account) -> _Executed:
    return _Executed(program.argv, program.stdin, program_environment(account), account.home)


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
