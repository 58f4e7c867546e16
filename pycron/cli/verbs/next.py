"""`pycron next`: fire times to come, of an expression, of tables or of the daemon's Jobs."""

import argparse
import heapq
from itertools import islice
from typing import TYPE_CHECKING

from pycron.cli.arguments import positive
from pycron.cli.clock import clock_for
from pycron.cli.daemon_choice import client_for
from pycron.cli.errors import WrongUse
from pycron.cli.expression import add_expression, expression_of
from pycron.cli.instants import Looks, parse_instant
from pycron.cli.pages import read_jobs
from pycron.cli.printing import print_columns, print_json
from pycron.cli.table_options import add_table_options, named_sources
from pycron.cli.verb import verb
from pycron.protocol.control_messages import StatusRequest
from pycron.schedule.zone import END_OF_TIME

if TYPE_CHECKING:
    from pycron.cli.schedules import Scheduled
    from pycron.system.zone_data import ZoneData

_COLUMNS = (("local", "local"), ("fire_time", "utc"), ("job", "job"))


def _arguments(parser: argparse.ArgumentParser) -> None:
    add_table_options(parser)
    add_expression(parser, "*", 'a schedule such as "0 9 * * 1-5"')
    parser.add_argument("--from", dest="start", metavar="T", default="now",
                        help="fire times from this time on; default: now")  # fmt: skip
    end = parser.add_mutually_exclusive_group()
    end.add_argument("--until", metavar="T", help="fire times before this time")
    end.add_argument("--count", type=positive, metavar="N", default=10,
                     help="this number of fire times; default: 10")  # fmt: skip
    parser.add_argument("--tz", metavar="ZONE", help="use this zone as the machine's zone")


@verb("next", "List fire times to come, in order.", _arguments)
def next_fire_times(options: argparse.Namespace) -> None:
    from pycron.cli import schedules

    zones = schedules.zones_of(_zone_of_daemon(options) if options.tz is None else options.tz)
    zone = clock_for(options, zones.machine).zone
    start = parse_instant(options.start, zone, Looks.AHEAD)
    end = parse_instant(options.until, zone, Looks.AHEAD) if options.until else END_OF_TIME
    of_jobs = [schedules.due_rows(job, zones, start, end) for job in _scheduled(options, zones)]
    in_order = heapq.merge(*of_jobs, key=lambda due: (due[0], due[1]["line"]))
    count = None if options.until else options.count
    rows = (row for _, row in islice(in_order, count))
    if options.json:
        print_json(rows)
    else:
        print_columns(_COLUMNS, list(rows), "nothing is due")


def _scheduled(options: argparse.Namespace, zones: "ZoneData") -> list["Scheduled"]:
    """The schedules of the expression, of the named tables, or of the daemon's Jobs."""
    from pycron.cli import schedules

    sources = named_sources(options)
    expression = expression_of(options.expression)
    if expression is not None:
        if sources:
            raise WrongUse("an expression, or tables: not both")
        config = schedules.local_config(options)
        return [schedules.of_expression(expression, zones, config)]
    if not sources:
        client = client_for(options)
        calendars = schedules.DaemonCalendars(client)
        return [schedules.of_row(row, calendars) for row in list(read_jobs(client))]
    tables = schedules.read_sources(sources, zones, schedules.local_config(options))
    return [job for table in tables for job in schedules.of_table(table)]


def _zone_of_daemon(options: argparse.Namespace) -> str | None:
    """The machine's zone where the daemon runs; None if the daemon is not asked."""
    from pycron.system.zone_data import ZoneData

    if options.expression or options.table or options.system_table:
        return None
    zone = client_for(options).request(StatusRequest())["zone"]
    return zone if ZoneData().exists(zone) else None
