"""`pycron why`: what became of a Job at a time, and why."""

import argparse

from pycron.cli.daemon_choice import chosen_paths
from pycron.cli.instants import parse_asked
from pycron.cli.printing import Row, print_columns, print_fields, print_json
from pycron.cli.verbs import print_runs
from pycron.control.client import ControlClient
from pycron.model.text import printable
from pycron.system.zone_data import ZoneData


def why(options: argparse.Namespace) -> int:
    second, wall = parse_asked(options.time, ZoneData().machine)
    client = ControlClient(chosen_paths(options).socket)
    rows = client.ask("why", job=options.job, time=second, wall=wall)["rows"]
    if options.json:
        print_json(rows)
        return 0
    for number, row in enumerate(rows):
        if number:
            print()
        _print_answer(row)
    return 0


def _print_answer(row: Row) -> None:
    """The verdict first, in one sentence; then what it rests on."""
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
        columns = [("field", "field"), ("says", "says"), ("was", "was"), ("does", "matches")]
        checks = [check | {"does": "yes" if check["matches"] else "no"} for check in row["fields"]]
        print_columns(columns, checks, "")
    print()
    print_fields({"schedule": row["schedule"], "zone": row["zone"]} | _neighbours(row))


def _neighbours(row: Row) -> dict[str, str | None]:
    """The fire times before and after."""
    return {key: row[key] and row[key]["local"] for key in ("before", "after")}
