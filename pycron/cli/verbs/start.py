"""`pycron start`: start a Job now."""

import argparse
import sys

from pycron.cli.daemon_choice import client_for
from pycron.cli.printing import print_json
from pycron.cli.verb import verb
from pycron.protocol.control_messages import StartRequest


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("job", metavar="JOB", help="a Job's name or id")
    parser.add_argument("--force", action="store_true",
                        help="regardless of limits, policies and pauses")  # fmt: skip


@verb("start", "Start a Job now, as its owner.", _arguments)
def start(options: argparse.Namespace) -> None:
    answer = client_for(options).request(StartRequest(options.job, options.force))
    if options.json:
        print_json([answer])
        return
    print(answer["run_id"])
    if answer["why"]:
        print(f"pycron: it waits: {answer['why']}", file=sys.stderr)
