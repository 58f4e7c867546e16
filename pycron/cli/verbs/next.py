"""`pycron next`: fire times to come, of an expression, of tables or of the daemon's Jobs."""

import argparse
import heapq
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, TypeVar

from pycron.cli.arguments import positive
from pycron.cli.clock import clock_for
from pycron.cli.daemon_choice import client_for
from pycron.cli.errors import WrongUse
from pycron.cli.expression import add_expression, expression_of
from pycron.cli.instants import Looks, parse_instant
from pycron.cli.printing import print_json, print_table
from pycron.cli.table_layout import Column
from pycron.cli.table_options import add_table_options, named_sources
from pycron.cli.verb import verb
from pycron.control.client import ControlClient, ControlError
from pycron.model.in_words import duration_in_words
from pycron.model.instants import parse_rfc3339
from pycron.protocol.control_messages import JobsRequest, NextRequest, StatusRequest
from pycron.protocol.job_answers import NextRow
from pycron.schedule.zone import END_OF_TIME, Zone
from pycron.wording.cells import Cell, Tone, Value
from pycron.wording.clock import Clock
from pycron.wording.job_words import waits_for

if TYPE_CHECKING:
    from pycron.cli.schedules import DueRow, Scheduled
    from pycron.system.zone_data import ZoneData

_COLUMNS = (
    Column("when"),
    Column("in", right=True),
    Column("job", least=10),
    Column("waits for", least=12, optional=True),
    Column("owner", rank=2, optional=True),
    Column("in its zone", rank=1, optional=True),
)
R = TypeVar("R", "NextRow", "DueRow")

_MOST_OF_DAEMON = 1000  # fire times that it answers at once


def _arguments(parser: argparse.ArgumentParser) -> None:
    add_table_options(parser)
    add_expression(parser, "*", 'a schedule such as "0 9 * * 1-5"')
    parser.add_argument("--job", metavar="JOB", help="of this Job of the daemon: its name or id")
    parser.add_argument("--from", dest="start", metavar="T", default="now",
                        help="fire times from this time on; default: now")  # fmt: skip
    end = parser.add_mutually_exclusive_group()
    end.add_argument("--until", metavar="T", help="fire times before this time")
    end.add_argument("--count", type=positive, metavar="N", default=10,
                     help="this number of fire times; default: 10")  # fmt: skip
    parser.add_argument("--tz", metavar="ZONE", help="use this zone as the machine's zone")


@verb("next", "List fire times to come, in order.", _arguments)
def next_fire_times(options: argparse.Namespace) -> None:
    if _is_local(options):
        _print_local(options)
        return
    client = client_for(options)
    rows = _of_daemon(client, options)
    if options.json:
        print_json(rows)
    else:
        clock = clock_for(options)
        cells = (_cells(row, clock) for row in rows)
        print_table(_COLUMNS, cells, "nothing is due", clock.title)


def _is_local(options: argparse.Namespace) -> bool:
    """Whether the fire times are those of an expression or of tables, without a daemon."""
    is_local = options.expression or options.table or options.system_table
    if is_local and options.job is not None:
        raise WrongUse("--job names a Job of the daemon: leave out the expression and the tables")
    return bool(is_local)


# ---- the Jobs of the daemon


def _of_daemon(client: ControlClient, options: argparse.Namespace) -> Iterable[NextRow]:
    """The daemon knows its fire times in order; the program finds those that may be many."""
    if options.until or options.count > _MOST_OF_DAEMON or options.tz is not None:
        return _found_here(client, options)
    start = None
    if options.start != "now":
        zone = clock_for(options, _zones_of(client, options).machine).zone
        start = parse_instant(options.start, zone, Looks.AHEAD)
    try:
        rows = client.request(NextRequest(options.count, start, options.job))["rows"]
    except ControlError as error:
        if "unknown verb" not in str(error):  # a daemon of an earlier version
            raise
        rows = []
    return rows if len(rows) == options.count else _found_here(client, options)


def _zones_of(client: ControlClient, options: argparse.Namespace) -> "ZoneData":
    """The zone data, with the machine's zone of the daemon, or that of --tz."""
    from pycron.cli import schedules
    from pycron.system.zone_data import ZoneData

    if options.tz is not None:
        return schedules.zones_of(options.tz)
    zone = client.request(StatusRequest())["zone"]
    return schedules.zones_of(zone if ZoneData().exists(zone) else None)


def _found_here(client: ControlClient, options: argparse.Namespace) -> Iterator[NextRow]:
    from pycron.cli import schedules
    from pycron.cli.pages import read_jobs

    zones = _zones_of(client, options)
    start, end = _window(options, zones.machine)
    calendars = schedules.DaemonCalendars(client)
    jobs = list(read_jobs(client, JobsRequest(details=True, job=options.job)))
    of_jobs = [
        schedules.next_rows(row, schedules.of_row(row, calendars), zones, start, end)
        for row in jobs
    ]
    return _in_order(of_jobs, options)


def _in_order(
    of_jobs: Iterable[Iterator[tuple[int, R]]], options: argparse.Namespace
) -> Iterator[R]:
    """The rows of all Jobs by fire time and line, as many as the options want."""
    in_order = heapq.merge(*of_jobs, key=lambda due: (due[0], due[1]["line"]))
    return (row for _, row in islice(in_order, None if options.until else options.count))


def _window(options: argparse.Namespace, machine: Zone) -> tuple[int, int]:
    """The UTC seconds of --from and --until. `machine`: the machine's zone."""
    zone = clock_for(options, machine).zone
    start = parse_instant(options.start, zone, Looks.AHEAD)
    end = parse_instant(options.until, zone, Looks.AHEAD) if options.until else END_OF_TIME
    return start, end


def _cells(row: NextRow, clock: Clock) -> list[Value]:
    instant = parse_rfc3339(row["fire_time"])
    waits = waits_for(row, clock)
    return [
        clock.at(instant),
        duration_in_words(max(0, round(instant - clock.now))),
        Cell(row["job"], Tone.FAINT if row["paused"] else Tone.PLAIN),
        waits,
        row["user"],
        _in_its_zone(row["local"], instant, clock),
    ]


def _in_its_zone(local: str, instant: float, clock: Clock) -> str | None:
    """The time on the clock of the Job's zone, if it is another than that of the reader."""
    ours = clock.zone.local(int(instant)).isoformat()
    return None if local == ours else local[:16].replace("T", " ") + local[19:]


# ---- an expression, or tables


def _print_local(options: argparse.Namespace) -> None:
    from pycron.cli import schedules

    zones = schedules.zones_of(options.tz)
    start, end = _window(options, zones.machine)
    of_jobs = [schedules.due_rows(job, zones, start, end) for job in _scheduled(options, zones)]
    rows = _in_order(of_jobs, options)
    if options.json:
        print_json(rows)
    else:
        clock = clock_for(options, zones.machine)
        cells = (_local_cells(row, clock) for row in rows)
        print_table(_COLUMNS, cells, "nothing is due", clock.title)


def _local_cells(row: "DueRow", clock: Clock) -> list[Value]:
    instant = parse_rfc3339(row["fire_time"])
    away = duration_in_words(round(instant - clock.now)) if instant >= clock.now else None
    job = None if row["job"] == "expression" else row["job"]
    return [clock.at(instant), away, job, None, None, _in_its_zone(row["local"], instant, clock)]


def _scheduled(options: argparse.Namespace, zones: "ZoneData") -> list["Scheduled"]:
    """The schedules of the expression or of the named tables."""
    from pycron.cli import schedules

    sources = named_sources(options)
    config = schedules.local_config(options)
    if options.expression:
        if sources:
            raise WrongUse("an expression, or tables: not both")
        return [schedules.of_expression(expression_of(options.expression) or "", zones, config)]
    tables = schedules.read_sources(sources, zones, config)
    return [job for table in tables for job in schedules.of_table(table)]
