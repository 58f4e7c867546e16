"""`pycron test`: run the command of an entry now, as the daemon would, without installing it."""

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pycron.cli.daemon_choice import client_for
from pycron.cli.errors import Failed, WrongUse
from pycron.cli.verb import verb
from pycron.control.client import ControlClient, ControlError, NoDaemon
from pycron.protocol.control_messages import KillRequest
from pycron.protocol.output_messages import TestRequest

if TYPE_CHECKING:
    from pycron.model.problem import Problem

_INTERRUPTED = 130  # as the shell has it, and pycron(1) in every verb


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("job", nargs="?", metavar="JOB",
                        help="a Job's name or id: of the daemon, or of the table that is "
                        "named")  # fmt: skip
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--line", metavar="LINE",
                      help='an entry such as "* * * * * backup", settings before it')  # fmt: skip
    what.add_argument("--table", metavar="FILE", help="a table without a user column; - is stdin")
    what.add_argument("--system-table", metavar="FILE",
                      help="a table with a user column; only root may test it")  # fmt: skip
    parser.add_argument("--owner", metavar="USER",
                        help="with --line and --table: as this user; only for root")  # fmt: skip
    parser.add_argument("--env", action="store_true", dest="environment",
                        help="print the variables that the command gets, instead of running "
                        "it")  # fmt: skip


@verb("test", "Run a command now as the daemon would, without installing it.", _arguments)
def test(options: argparse.Namespace) -> int:
    """The exit status is that of the command."""
    request = _request(options)
    with _daemon(options, has_text=request.text is not None) as client, _errors_of(options):
        return _run(client, request, options)


def _request(options: argparse.Namespace) -> TestRequest:
    if options.line is not None:
        if options.job is not None:
            raise WrongUse("a Job, or --line: one of them")
        return TestRequest("", f"{options.line}\n", False, options.owner, options.environment)
    file = options.table or options.system_table
    if file is not None:
        from pycron.cli.crontab_texts import read_text

        system = options.system_table is not None
        job = options.job or ""
        return TestRequest(job, read_text(file), system, options.owner, options.environment)
    if options.job is None:
        raise WrongUse('test: what? (a Job, --table FILE JOB, or --line "* * * * * COMMAND")')
    if options.owner is not None:
        raise WrongUse("--owner goes with --line or --table: a Job of the daemon has its owner")
    return TestRequest(options.job, environment=options.environment)


@contextmanager
def _daemon(options: argparse.Namespace, *, has_text: bool) -> Iterator[ControlClient]:
    """The daemon that runs the command; for a text, one of our own if none answers."""
    try:
        client = client_for(options)
    except NoDaemon:
        if not has_text:
            raise
    else:
        yield client
        return
    from pycron.cli.own_daemon import own_daemon

    with own_daemon(options) as client:
        yield client


@contextmanager
def _errors_of(options: argparse.Namespace) -> Iterator[None]:
    """Print the problems of a text that the daemon refuses, with the name that the user knows."""
    try:
        yield
    except ControlError as error:
        from pycron.model.problem import problem_from_row

        name = options.table or options.system_table or "line"
        problems = [problem_from_row(row).renamed(str(name)) for row in error.problems]
        if options.line is not None:
            raise Failed(_about_line(options.line, problems) or str(error)) from None
        for problem in problems:
            print(problem, file=sys.stderr)
        raise


def _about_line(line: str, problems: "list[Problem]") -> str:
    """What is wrong with a line; somebody may have given a command alone."""
    text = "; ".join(each.message for each in problems)
    if problems and line[:1].isalpha() and not line.startswith("CRON_"):
        text += f' (an entry: first its schedule, such as "* * * * * {line}")'
    return text


def _run(client: ControlClient, request: TestRequest, options: argparse.Namespace) -> int:
    """Print the output until the command has ended. Ctrl-C, and a closed terminal, end it."""
    from pycron.cli.run_end import run_status
    from pycron.cli.waiting import print_until_end, say_end, wait_silently

    run_id = None
    try:
        with _interrupts_wait():  # or a command could be left whose Run is not known yet
            run_id = client.request(request)["run_id"]
        row = print_until_end(client, run_id, as_json=options.json)
    except (KeyboardInterrupt, BrokenPipeError):
        if run_id is None:
            raise
        client.again().request(KillRequest(run_id))
        say_end(wait_silently(client, run_id))
        return _INTERRUPTED
    succeeded = row["outcome"] == "succeeded"
    if not (options.json or (options.environment and succeeded)):
        say_end(row)
    return run_status(row)


@contextmanager
def _interrupts_wait() -> Iterator[None]:
    """Let Ctrl-C wait for the end of the block, and SIGTERM and SIGHUP do what Ctrl-C does."""
    import signal

    ending = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    signal.pthread_sigmask(signal.SIG_BLOCK, ending)
    for number in ending:
        signal.signal(number, signal.default_int_handler)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, ending)
