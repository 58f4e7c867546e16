"""`pycron dead`: list, redrive and drop dead letters."""

import argparse
import sys
from collections.abc import Mapping

from pycron.cli.daemon_choice import client_for
from pycron.cli.errors import WrongUse
from pycron.cli.pages import read_runs
from pycron.cli.printing import print_json
from pycron.cli.run_rows import print_runs
from pycron.cli.verb import verb
from pycron.protocol.control_messages import DropRequest, RedriveRequest, Request, RunsRequest


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", choices=("list", "redrive", "drop"),
                        help="redrive: try again now; drop: give up")  # fmt: skip
    parser.add_argument("run", nargs="*", metavar="RUN", help="the run_ids to redrive or to drop")


@verb("dead", "List, redrive or drop Runs that have used up their retries.", _arguments)
def dead(options: argparse.Namespace) -> None:
    if options.action == "list":
        _list(options)
    elif not options.run:
        raise WrongUse(f"dead {options.action}: which run?")
    else:
        client = client_for(options)
        done = [client.request(_request(options.action, run_id)) for run_id in options.run]
        if options.json:
            print_json(done)


def _list(options: argparse.Namespace) -> None:
    rows = list(read_runs(client_for(options), RunsRequest(dead=True), sys.maxsize))
    if options.json:
        print_json(rows)
    else:
        print_runs(rows, "no dead letters")


def _request(action: str, run_id: str) -> Request[Mapping[str, object]]:
    return RedriveRequest(run_id) if action == "redrive" else DropRequest(run_id)
