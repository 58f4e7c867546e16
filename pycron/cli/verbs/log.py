"""`pycron log`: the output of a Run."""

import argparse
import sys
import time

from pycron.cli.arguments import add_run, positive
from pycron.cli.daemon_choice import client_for
from pycron.cli.errors import Failed
from pycron.cli.printing import print_json
from pycron.cli.run_output import read_output
from pycron.cli.run_rows import find_run
from pycron.cli.terminal import write_bytes, write_raw
from pycron.cli.verb import verb
from pycron.control.client import ControlClient
from pycron.protocol.control_answers import OutputAnswer
from pycron.protocol.control_messages import OutputRequest

_POLL = 0.25  # seconds between two requests for an output that grows


def _arguments(parser: argparse.ArgumentParser) -> None:
    add_run(parser)
    parser.add_argument("-f", action="store_true", dest="follow",
                        help="follow the output until the Run has ended")  # fmt: skip
    parser.add_argument("--raw", action="store_true",
                        help="also to a terminal, write the output as it is")  # fmt: skip
    parser.add_argument("--attempt", type=positive, metavar="N",
                        help="the output of this Attempt; default: the last")  # fmt: skip


@verb("log", "Print the output of a Run.", _arguments)
def log(options: argparse.Namespace) -> None:
    """With -f: print the outputs of all further Attempts, too, until the Run has ended."""
    client = client_for(options)
    run_id = find_run(client, options.run)
    answer = _print_attempt(client, options, run_id, options.attempt)
    if answer["attempt"] > answer["attempts"]:
        raise Failed(f"{run_id} has {answer['attempts']} attempts")
    while options.follow and options.attempt is None and not answer["over"]:
        number = answer["attempt"]
        print(f"pycron: attempt {number}: {answer['outcome']}", file=sys.stderr)
        answer = _print_attempt(client, options, run_id, number + 1)


def _print_attempt(
    client: ControlClient, options: argparse.Namespace, run_id: str, number: int | None
) -> OutputAnswer:
    """Print the output of an Attempt (None: the last one); return the daemon's last answer.

    With -f: wait for the start of the Attempt and for its end.
    """
    offset, told = 0, None
    while True:
        wanted = OutputRequest(run_id, number, offset, options.follow)
        for answer, data in read_output(client, wanted):
            number = answer["attempt"]  # a later request must not mean a newer Attempt
            offset += len(data)
            _print_output(options, run_id, answer["attempt"], data)
        if answer["ended"] or not options.follow:
            break
        if answer["why"] not in (None, told):
            told = answer["why"]
            print(f"pycron: it waits: {told}", file=sys.stderr)
        time.sleep(_POLL)
    printed = answer["output_bytes"]
    if printed is not None and printed > offset:
        print(f"pycron: {printed - offset} more bytes were not kept", file=sys.stderr)
    return answer


def _print_output(options: argparse.Namespace, run_id: str, attempt: int, data: bytes) -> None:
    if not data:
        return
    if options.json:
        text = data.decode("utf-8", "backslashreplace")
        print_json([{"run_id": run_id, "attempt": attempt, "output": text}])
    else:
        (write_raw if options.raw else write_bytes)(data)
    sys.stdout.flush()
