"""`pycron explain`: a schedule in words, and its next fire times."""

import argparse
import time
from itertools import islice

from pycron.cli.arguments import positive
from pycron.cli.expression import add_expression, expression_of
from pycron.cli.instants import local_text
from pycron.cli.printing import print_columns, print_fields, print_json
from pycron.cli.verb import verb
from pycron.model.hosts import in_words
from pycron.schedule.zone import END_OF_TIME


def _arguments(parser: argparse.ArgumentParser) -> None:
    add_expression(parser, "+", "a schedule; settings may stand before it")
    parser.add_argument("--count", type=positive, metavar="N", default=5,
                        help="this number of fire times; default: 5")  # fmt: skip
    parser.add_argument("--tz", metavar="ZONE", help="use this zone as the machine's zone")


@verb("explain", "Describe a schedule in words, and list its next fire times.", _arguments)
def explain(options: argparse.Namespace) -> None:
    """Each fire time is shown in the zone of the entry and in that of the reader."""
    from pycron.cli import schedules
    from pycron.schedule import words

    zones = schedules.zones_of(options.tz)
    expression = expression_of(options.expression) or ""
    job = schedules.of_expression(expression, zones, schedules.local_config(options))
    zone, reader = zones.zone(job.zone), zones.machine
    due = schedules.due_rows(job, zones, int(time.time()) + 1, END_OF_TIME)
    upcoming = [
        {"fire_time": row["fire_time"], "local": row["local"], "reader": local_text(fire, reader)}
        for fire, row in islice(due, options.count)
    ]
    about = {
        "schedule": job.schedule.text,
        "words": words.explain(job.schedule),
        "runs_on": in_words(job.runs_on),
        "zone": zone.name,
        "daylight_saving": words.daylight_saving(job.schedule),
    }
    if options.json:
        print_json([about | {"next": upcoming}])
        return
    print_fields({key.replace("_", " "): value for key, value in about.items() if value})
    print()
    columns = [("local", f"in {zone.name}"), ("fire_time", "utc")]
    if zone is not reader:
        columns.insert(1, ("reader", f"in {reader.name}"))
    print_columns(columns, upcoming, "no fire time is known before it comes")
