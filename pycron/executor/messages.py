"""Turns Jobs and Attempts into messages to the runner, and its messages into values."""

import os
from dataclasses import dataclass

from pycron.executor.environments import Passed, command_environment, program_environment
from pycron.executor.known_shells import KnownShells
from pycron.executor.simple_commands import simple_command
from pycron.model.job import Job
from pycron.model.run import AttemptKey, Cause, Ending
from pycron.ports import Program
from pycron.protocol.runner_messages import (
    STDERR,
    STDOUT,
    STREAMS,
    DirectRequest,
    EndedMessage,
    LeaseRequest,
    RedirectionRow,
    SessionRequest,
    StartMessage,
    UserIds,
)
from pycron.system.accounts import Account
from pycron.system.shells import BASH

_NULL = "/dev/null"
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
    shells: KnownShells | None = None,
) -> StartMessage:
    """The message that starts an Attempt as this account.

    `passed`: what the daemon passes on to commands. `program`: what sends a delivery or a message,
    instead of the command. `session`: None without PAM. `shells`: what simple commands do without.
    """
    what = _program(program, account) if program else _command(attempt, job, account, passed)
    settings = job.settings
    directory = None if program else settings.cwd  # the account of a program may not enter it
    return {
        "type": "start",
        "id": str(attempt),
        "argv": what.argv,
        "env": what.environment,
        "user": _ids(account) if become else None,
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
        "outlives_runner": program is not None,  # to interrupt it could make it send twice
        "lease": lease,
        "direct": direct_request(job.command, what.argv[0], shells) if shells else None,
    }


def _ids(account: Account) -> UserIds:
    return {"uid": account.uid, "gid": account.gid, "groups": list(account.groups)}


def direct_request(command: str, path: str, shells: KnownShells) -> DirectRequest | None:
    """How a simple command is executed without its shell at `path`; None: only the shell can."""
    simple = simple_command(command)
    shell = None if simple is None else shells.find(path)
    if simple is None or shell is None:
        return None
    argv, redirections = simple
    stderr = _ends_of(redirections)[2]
    # A shell that waits tells of a signal. bash says more than the runner knows, and the runner
    # writes to no file of a user.
    if (redirections or shell.waits) and (shell.name == BASH or stderr not in (*STREAMS, _NULL)):
        return None
    return {
        "shell": shell.name,
        "shell_waits": shell.waits,
        "shell_stderr": None if stderr == _NULL else stderr,
        "argv": argv,
        "redirections": redirections,
    }


def _ends_of(redirections: list[RedirectionRow]) -> list[str]:
    """To where each of the three descriptors leads in the end: a path, or a stream."""
    ends = ["", STDOUT, STDERR]
    for descriptor, operator, target in redirections:
        ends[descriptor] = ends[target] if operator == ">&" else target
    return ends


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
