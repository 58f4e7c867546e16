"""`pycron runs`: Runs, newest first."""

import argparse

from pycron.cli.arguments import positive
from pycron.cli.daemon_choice import client_for
from pycron.cli.instants import parse_instant
from pycron.cli.pages import read_runs
from pycron.cli.printing import print_json
from pycron.cli.run_rows import print_runs
from pycron.cli.verb import verb
from pycron.protocol.control_messages import RunsRequest
from pycron.system.zone_data import ZoneData


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--job", metavar="JOB", help="Runs of this Job: its name or id")
    parser.add_argument("--owner", metavar="USER", help="Runs of this user's Jobs")
    parser.add_argument("--outcome", metavar="OUTCOME", help="Runs that ended in this way")
    parser.add_argument("--deliveries", action="store_true",
                        help="mails, notifications, pings and failure hooks")  # fmt: skip
    parser.add_argument("--since", metavar="T", help="due at this time or later")
    parser.add_argument("--until", metavar="T", help="due before this time")
    parser.add_argument("--limit", type=positive, metavar="N", default=20,
                        help="the newest N; default: 20")  # fmt: skip


@verb("runs", "List Runs, newest first.", _arguments)
def runs(options: argparse.Namespace) -> None:
    zone = ZoneData().machine
    client = client_for(options)
    wanted = RunsRequest(
        job=options.job,
        user=options.owner,
        outcome=options.outcome,
        since=parse_instant(options.since, zone) if options.since else None,
        until=parse_instant(options.until, zone) if options.until else None,
        deliveries=options.deliveries,
    )
    rows = read_runs(client, wanted, options.limit)
    if options.json:
        print_json(rows)
    else:
        print_runs(rows, "no deliveries" if options.deliveries else "no runs")
