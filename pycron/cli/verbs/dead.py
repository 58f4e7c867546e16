"""`pycron dead`: list, redrive and drop dead letters."""

import argparse
import sys
from itertools import chain

from pycron.cli.arguments import add_quiet, say
from pycron.cli.clock import clock_for
from pycron.cli.daemon_choice import client_for
from pycron.cli.done import dropped, redriven
from pycron.cli.errors import Failed, WrongUse
from pycron.cli.pages import read_runs
from pycron.cli.printing import print_json
from pycron.cli.run_rows import RunsForm, print_runs, run_id_in
from pycron.cli.verb import verb
from pycron.control.client import ControlClient
from pycron.protocol.control_messages import DropRequest, RedriveRequest, RunsRequest


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", choices=("list", "redrive", "drop"),
                        help="redrive: try again now; drop: give up")  # fmt: skip
    add_quiet(parser)
    parser.add_argument("run", nargs="*", metavar="RUN",
                        help="the run_ids to redrive or to drop, or Jobs: all their dead "
                        "letters")  # fmt: skip


@verb("dead", "List, redrive or drop Runs that have used up their retries.", _arguments)
def dead(options: argparse.Namespace) -> None:
    if options.action == "list":
        _list(options)
    elif not options.run:
        raise WrongUse(f"dead {options.action}: which run? (pycron dead list)")
    else:
        client = client_for(options)
        handle = _redrive if options.action == "redrive" else _drop
        for run_id in chain.from_iterable(_meant(client, text) for text in options.run):
            handle(client, options, run_id)


def _meant(client: ControlClient, text: str) -> list[str]:
    """The run_id that a text is, or those of the dead letters of a Job, the oldest first."""
    if run_id := run_id_in(text):
        return [run_id]
    wanted = RunsRequest(dead=True, job=text)
    found = [row["run_id"] for row in read_runs(client, wanted, sys.maxsize)]
    if not found:
        raise Failed(f"{text}: no dead letters (pycron dead list)")
    return found[::-1]


def _list(options: argparse.Namespace) -> None:
    rows = list(read_runs(client_for(options), RunsRequest(dead=True), sys.maxsize))
    if options.json:
        print_json(rows)
    else:
        print_runs(rows, "no dead letters", clock_for(options), RunsForm.WITH_IDS)


def _redrive(client: ControlClient, options: argparse.Namespace, run_id: str) -> None:
    answer = client.request(RedriveRequest(run_id))
    if options.json:
        print_json([answer])
    job, why = answer.get("job", run_id), answer.get("why")
    say(options, redriven(job, run_id, answer["attempt"], why))


def _drop(client: ControlClient, options: argparse.Namespace, run_id: str) -> None:
    answer = client.request(DropRequest(run_id))
    if options.json:
        print_json([answer])
    say(options, dropped(answer.get("job", run_id), run_id))
