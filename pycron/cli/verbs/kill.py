"""`pycron kill`: end a Run, or all commands, with all their processes."""

import argparse

from pycron.cli.arguments import add_quiet, duration, say
from pycron.cli.daemon_choice import choice_for, client_for
from pycron.cli.done import killed
from pycron.cli.errors import Failed, WrongUse
from pycron.cli.printing import print_json
from pycron.cli.verb import verb
from pycron.control.client import NoDaemon
from pycron.protocol.control_answers import StateRow
from pycron.protocol.control_messages import KillRequest


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", nargs="?",
                        help="a run_id, or a Job's name for all its Runs")  # fmt: skip
    parser.add_argument("--all", action="store_true", dest="everything",
                        help="all running commands: yours; as root, everybody's")  # fmt: skip
    parser.add_argument("--kill-after", type=duration, metavar="DURATION",
                        help="from TERM to KILL; default: the Job's CRON_KILL_AFTER")  # fmt: skip
    add_quiet(parser)


@verb("kill", "End a Run, or all commands, with all their processes.", _arguments)
def kill(options: argparse.Namespace) -> None:
    if options.everything == (options.run is not None):
        raise WrongUse("name one Run or one Job, or give --all")
    rows = _kill_all(options) if options.everything else _kill(options)
    if options.json:
        print_json({"run_id": row["run_id"], "state": row["state"]} for row in rows)
    say(options, killed(rows, options.kill_after))


def _kill(options: argparse.Namespace) -> list[StateRow]:
    request = KillRequest(options.run or "", options.everything, options.kill_after)
    return client_for(options).request(request)["rows"]


def _kill_all(options: argparse.Namespace) -> list[StateRow]:
    """Also without a daemon: the runner outlives it, and can be told to end its commands."""
    try:
        return _kill(options)
    except NoDaemon as no_daemon:
        from pycron.cli.runner_end import end_commands
        from pycron.system.accounts import own_account

        runner = choice_for(options).paths.runner_socket
        try:
            ended = end_commands(runner, own_account().name, options.kill_after)
        except PermissionError:
            raise Failed(f"{no_daemon}; until then, only root can end commands") from None
        if ended is None:
            raise
        return [{"run_id": each.rpartition(".")[0], "state": "running"} for each in ended]
