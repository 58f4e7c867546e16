"""`pycron runs`: Runs, newest first."""

import argparse
import sys
import time
from dataclasses import replace

from pycron.cli.arguments import add_config, add_outcomes, positive, wanted_outcomes
from pycron.cli.clock import clock_for
from pycron.cli.daemon_choice import client_for
from pycron.cli.errors import WrongUse
from pycron.cli.instants import Looks, parse_instant
from pycron.cli.pages import read_runs
from pycron.cli.printing import print_json, print_table
from pycron.cli.run_rows import RunsForm, print_runs
from pycron.cli.table_layout import Column
from pycron.cli.verb import verb
from pycron.control.client import ControlClient, ControlError
from pycron.model.text import printable
from pycron.protocol.control_answers import RefusedRow, RunRow
from pycron.protocol.control_messages import RefusedRequest, RunsRequest
from pycron.wording.cells import Value

_DAY = 86_400  # seconds
_REFUSED_COLUMNS = (
    Column("owner"),
    Column("first"),
    Column("last"),
    Column("fire times", right=True),
    Column("reason", least=12),
)


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--job", metavar="JOB", help="Runs of this Job: its name or id")
    parser.add_argument("--owner", metavar="USER", help="Runs of this user's Jobs")
    add_outcomes(parser)
    parser.add_argument("--deliveries", action="store_true",
                        help="mails, notifications, pings and failure hooks")  # fmt: skip
    parser.add_argument("--refused", action="store_true",
                        help="fire times that got no Run: too many Runs waited")  # fmt: skip
    parser.add_argument("--since", metavar="T", help="due at this time or later")
    parser.add_argument("--until", metavar="T", help="due before this time")
    parser.add_argument("--limit", type=positive, metavar="N", default=20,
                        help="the newest N; default: 20")  # fmt: skip
    parser.add_argument("--wide", action="store_true",
                        help="all columns, also if lines are wider than the terminal")  # fmt: skip
    parser.add_argument("--csv", action="store_true", help="CSV, with the keys of --json")
    parser.add_argument("--cluster", action="store_true",
                        help="shared Runs of all hosts, as the database of the cluster has "
                        "them")  # fmt: skip
    add_config(parser)


@verb("runs", "List Runs, newest first.", _arguments)
def runs(options: argparse.Namespace) -> None:
    if options.cluster:
        _print_shared(options)
        return
    zone = clock_for(options).zone
    since = parse_instant(options.since, zone, Looks.BACK) if options.since else None
    until = parse_instant(options.until, zone, Looks.BACK) if options.until else None
    if options.csv and (options.json or options.refused):
        raise WrongUse("--csv, --json or --refused: one of them")
    client = client_for(options)
    refused = RefusedRequest(options.limit, options.owner, since, until)
    if options.refused:
        _print_refused(client.request(refused)["rows"], options)
        return
    wanted = RunsRequest(
        job=options.job,
        user=options.owner,
        outcome=wanted_outcomes(options),
        since=since,
        until=until,
        deliveries=options.deliveries,
    )
    rows = read_runs(client, wanted, options.limit)
    if options.json:
        print_json(rows)
    elif options.csv:
        from pycron.cli.csv_rows import print_csv

        print_csv(list(RunRow.__annotations__), rows)
    else:
        form = RunsForm.WIDE if options.wide else RunsForm.SHORT
        empty = "no deliveries" if options.deliveries else "no runs"
        print_runs(rows, empty, clock_for(options), form)
        _hint_at_refused(client, refused)


def _print_shared(options: argparse.Namespace) -> None:
    from pycron.cli.verbs.cluster import print_shared_runs, with_database

    if options.csv or options.refused or options.deliveries:
        raise WrongUse("--cluster goes with none of --csv, --refused and --deliveries")
    with_database(options, print_shared_runs)


def _print_refused(rows: list[RefusedRow], options: argparse.Namespace) -> None:
    if options.json:
        print_json(rows)
        return
    clock = clock_for(options)
    cells: list[list[Value]] = [
        [
            row["user"],
            clock.at_text(row["first"]),
            clock.at_text(row["last"]),
            f"{row['fire_times']:,}",
            row["reason"],
        ]
        for row in rows
    ]
    print_table(_REFUSED_COLUMNS, cells, "no fire time was refused", clock.title)


def _hint_at_refused(client: ControlClient, refused: RefusedRequest) -> None:
    """Say on stderr that fire times were refused; without --since, within a day."""
    since = int(time.time()) - _DAY if refused.since is None else refused.since
    try:
        rows = client.request(replace(refused, limit=1, since=since))["rows"]
    except ControlError:  # a daemon of an earlier version, or one that has just ended
        return
    if rows:
        user = printable(rows[0]["user"])
        text = f"fire times of {user} got no run: too many runs waited (pycron runs --refused)"
        print(f"pycron: {text}", file=sys.stderr)
