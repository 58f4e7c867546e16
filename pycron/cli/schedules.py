"""Schedules on the command line: of an expression, of table files, or of the daemon's Jobs.

The verbs import this module when they run: with the reader of tables it takes 50 ms to import.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple, TypedDict

from pycron.cli.errors import Failed, WrongUse
from pycron.cli.instants import local_text
from pycron.config import Config
from pycron.crontab import reader
from pycron.crontab.table import Table
from pycron.model.instants import rfc3339
from pycron.model.job import Source
from pycron.model.problem import Severity
from pycron.protocol.control_answers import JobRow
from pycron.schedule.expressions import Schedule, parse_resolved
from pycron.schedule.fire_times import fire_times
from pycron.system.accounts import own_account
from pycron.system.zone_data import UnknownZone, ZoneData
from pycron.tables.check import local_context, read_and_parse


class Scheduled(NamedTuple):
    """The values that fire times depend on; `zone` None is the machine's zone."""

    name: str
    line: int
    schedule: Schedule
    zone: str | None


class DueRow(TypedDict):
    """A fire time as --json shows it."""

    line: int
    job: str
    fire_time: str
    local: str


def zones_of(machine: str | None) -> ZoneData:
    """The zone data, with this zone instead of the machine's (None). Raises WrongUse."""
    try:
        return ZoneData(machine)
    except UnknownZone as error:
        raise WrongUse(f'bad --tz: "{error}" (no such time zone)') from None


def due_rows(job: Scheduled, zones: ZoneData, start: int, end: int) -> Iterator[tuple[int, DueRow]]:
    """The fire times of a Job in [start, end): the UTC second, and the row that shows it."""
    zone = zones.zone(job.zone)
    for fire in fire_times(job.schedule, zone, start, end):
        yield (
            fire,
            {
                "line": job.line,
                "job": job.name,
                "fire_time": rfc3339(fire),
                "local": local_text(fire, zone),
            },
        )


def read_sources(sources: Iterable[Source], zones: ZoneData) -> list[Table]:
    return [read_and_parse(source, Config().table_bytes, zones) for source in sources]


def of_table(table: Table) -> list[Scheduled]:
    """The Jobs of a table. Raises Failed if the table has an error."""
    errors = [problem for problem in table.problems if problem.severity is Severity.ERROR]
    if errors:
        raise Failed("\npycron: ".join(str(error) for error in errors))
    return [Scheduled(job.name, job.line, job.schedule, job.zone) for job in table.jobs]


def of_expression(expression: str, zones: ZoneData) -> Scheduled:
    """The expression as the schedule of an entry; settings may stand before it. Raises Failed."""
    if "\n" in expression:
        raise Failed("expression: one line")
    source = Source("expression", own_account().name)
    jobs = of_table(reader.parse(f"{expression} :\n", source, local_context(zones)))
    if not jobs:
        raise Failed(f'expression: no schedule: "{expression}"')
    return jobs[0]


def of_row(row: JobRow) -> Scheduled:
    """A Job as the daemon answers it."""
    return Scheduled(row["job"], row["line"], parse_resolved(row["resolved"]), row["zone"])
