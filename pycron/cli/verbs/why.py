"""`pycron why`: what happened to a Job at a time, and why."""

import argparse

from pycron.cli.clock import clock_for
from pycron.cli.daemon_choice import client_for
from pycron.cli.instants import parse_asked
from pycron.cli.printing import print_columns, print_fields, print_json
from pycron.cli.run_rows import print_runs
from pycron.cli.verb import verb
from pycron.model.text import printable
from pycron.protocol.control_answers import WhyRow
from pycron.protocol.control_messages import WhyRequest

_FIELD_COLUMNS = (("field", "field"), ("says", "says"), ("was", "was"), ("does", "matches"))


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("job", metavar="JOB", help="a Job's name or id")
    parser.add_argument("time", metavar="TIME",
                        help="such as 2026-03-08T02:30; in the Job's zone")  # fmt: skip


@verb("why", "Say what happened to a Job at a time, and why.", _arguments)
def why(options: argparse.Namespace) -> None:
    second, wall = parse_asked(options.time, clock_for(options).zone)
    request = WhyRequest(job=options.job, time=second, wall=wall)
    rows = client_for(options).request(request)["rows"]
    if options.json:
        print_json(rows)
        return
    for number, row in enumerate(rows):
        if number:
            print()
        _print_answer(row)


def _print_answer(row: WhyRow) -> None:
    """First the verdict, in one sentence; then the facts behind it."""
    job = f"{row['job']} ({row['user']}, {row['table']}:{row['line']})"
    verdict = row["verdict"].replace("_", " ")
    print(printable(f"{job} at {row['time']}: {verdict}: {row['reason']}"))
    for note in row["notes"]:
        print(printable(note))
    if row["runs"]:
        print()
        print_runs(row["runs"], "")
    if row["fields"]:
        print()
        checks = [{**check, "does": "yes" if check["matches"] else "no"} for check in row["fields"]]
        print_columns(_FIELD_COLUMNS, checks, "")
    print()
    before, after = row["before"], row["after"]
    print_fields(
        {
            "schedule": row["schedule"],
            "zone": row["zone"],
            "before": before and before["local"],
            "after": after and after["local"],
        }
    )
