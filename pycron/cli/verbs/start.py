"""`pycron start`: start a Job now."""

import argparse

from pycron.cli.arguments import add_quiet, say
from pycron.cli.daemon_choice import client_for
from pycron.cli.done import started
from pycron.cli.printing import print_json
from pycron.cli.verb import verb
from pycron.control.client import ControlClient
from pycron.protocol.control_answers import StartAnswer
from pycron.protocol.control_messages import StartRequest


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("job", metavar="JOB", help="a Job's name or id")
    parser.add_argument("--force", action="store_true",
                        help="regardless of limits, policies and pauses")  # fmt: skip
    add_quiet(parser)
    parser.add_argument("--wait", action="store_true",
                        help="print the output, and exit with the status of the Run")  # fmt: skip


@verb("start", "Start a Job now, as its owner.", _arguments)
def start(options: argparse.Namespace) -> int | None:
    client = client_for(options)
    answer = client.request(StartRequest(options.job, options.force))
    if options.wait:
        return _wait(client, answer, options)
    if options.json:
        print_json([answer])
        return None
    print(answer["run_id"], flush=True)
    say(options, started(answer.get("job", options.job), answer["run_id"], answer["why"]))
    return None


def _wait(client: ControlClient, answer: StartAnswer, options: argparse.Namespace) -> int:
    """Print the output of all Attempts; the exit status of the last one.

    Ctrl-C ends the waiting alone: the Run is the Job's, as any other.
    """
    from pycron.cli.run_end import run_status
    from pycron.cli.waiting import print_until_end, say_end

    run_id = answer["run_id"]
    say(options, f"run {run_id}")
    try:
        row = print_until_end(client, run_id, as_json=options.json)
    except KeyboardInterrupt:
        say(options, f"the Run goes on (pycron log -f {run_id}, pycron kill {run_id})")
        raise
    if not options.json and not options.quiet:
        say_end(row)
    return run_status(row)
