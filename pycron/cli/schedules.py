"""Schedules on the command line: of an expression, of table files, or of the daemon's Jobs.

The verbs import this module when they run: with the reader of tables it takes 50 ms to import.
"""

import argparse
import datetime
import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple, TypedDict

from pycron.cli.daemon_choice import choice_for
from pycron.cli.errors import Failed, WrongUse
from pycron.cli.instants import local_text
from pycron.config import Config, ConfigError, read_config
from pycron.control.client import ControlClient
from pycron.crontab import reader
from pycron.crontab.day_rules import day_rules, parse_day_settings
from pycron.crontab.known_names import UNKNOWN_CALENDAR
from pycron.crontab.table import Table
from pycron.model.hosts import EACH, RunsOn
from pycron.model.instants import rfc3339
from pycron.model.job import Source
from pycron.model.problem import Problem, Severity
from pycron.protocol.control_messages import CalendarRequest
from pycron.protocol.job_answers import JobRow, ListedJobRow, NextRow
from pycron.schedule.day_rules import Calendar
from pycron.schedule.expressions import (
    Schedule,
    ScheduleError,
    is_random,
    limited,
    parse_nickname,
    parse_resolved,
    resolved_text,
)
from pycron.schedule.fire_times import fire_times
from pycron.system.accounts import own_account
from pycron.system.files import ROOTS, own_rules
from pycron.system.paths import SYSTEM_CONFIG
from pycron.system.zone_data import UnknownZone, ZoneData
from pycron.tables.check import local_context, read_and_parse

_COMMAND = "_"  # stands behind an expression, so that it can be read as an entry
_CHOSEN = (
    "H and ~ stand for values that depend on the entry and on the host: in a table, the same fields"
    " may choose other times"
)
_FIELDS = "five fields: minute, hour, day of month, month, day of week; no seconds, no command"


class Scheduled(NamedTuple):
    """The values that fire times depend on; `zone` None is the machine's zone.

    `runs_on`: the hosts.
    """

    name: str
    line: int
    schedule: Schedule
    zone: str | None
    runs_on: RunsOn = EACH


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
        reason = "no such time zone; a name such as Europe/Berlin"
        raise WrongUse(f'bad --tz: "{error}" ({reason})') from None


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


def config_of_daemon(options: argparse.Namespace) -> Config | None:
    """The configuration of the daemon that the options select; None if it has no file.

    Raises ConfigError.
    """
    path = choice_for(options).config
    rules = ROOTS if path == SYSTEM_CONFIG else own_rules()
    return read_config(path, required=False, rules=rules) if path else None


def is_of_system(options: argparse.Namespace) -> bool:
    """Whether the daemon that the options select is the system's."""
    return choice_for(options).config == SYSTEM_CONFIG


def local_config(options: argparse.Namespace) -> Config | None:
    """The same; None also if it cannot be read here."""
    try:
        return config_of_daemon(options)
    except ConfigError:
        return None


def read_sources(
    sources: Iterable[Source], zones: ZoneData, config: Config | None = None
) -> list[Table]:
    """The tables of these files. `config`: see `local_context`."""
    return [read_and_parse(source, Config().table_bytes, zones, config) for source in sources]


def of_table(table: Table) -> list[Scheduled]:
    """The Jobs of a table. Raises Failed if it has an error, or if a calendar is not known."""
    errors = [
        problem
        for problem in table.problems
        if problem.severity is Severity.ERROR or problem.code == UNKNOWN_CALENDAR
    ]
    if errors:
        raise Failed("\npycron: ".join(str(error) for error in errors))
    return [
        Scheduled(job.name, job.line, job.schedule, job.zone, job.settings.runs_on)
        for job in table.jobs
    ]


def of_expression(expression: str, zones: ZoneData, config: Config | None) -> Scheduled:
    """The expression as the schedule of an entry; settings may stand before it. Raises Failed.

    `config`: see `local_context`.
    """
    if "\n" in expression:
        raise Failed("expression: one line")
    if expression.startswith("@after"):  # only a table has the Jobs that it names
        return Scheduled("expression", 1, _of_after(expression), None)
    source = Source("expression", own_account().name)
    table = reader.parse(f"{expression} {_COMMAND}\n", source, local_context(zones, config))
    for error in table.errors:
        if better := _explained(error, expression):
            raise Failed(f"expression: {better}")
    jobs = of_table(table)
    if not jobs:
        raise Failed(f'expression: no schedule: "{expression}"')
    behind = table.jobs[0].command.removesuffix(_COMMAND).strip()
    if behind:
        raise Failed(f'expression: "{behind}" stands behind the schedule ({_FIELDS})')
    if _is_chosen(jobs[0].schedule):
        print(f"pycron: {_CHOSEN}", file=sys.stderr)
    return jobs[0]


def _is_chosen(schedule: Schedule) -> bool:
    """Whether `H` or `~` has got a value; `THU` contains an H, too."""
    return is_random(schedule.text) and resolved_text(schedule) != schedule.text


def _explained(error: Problem, expression: str) -> str | None:
    """An error of an expression in terms of a command line, where that is not as in a table."""
    field, _, rest = error.message.partition(f': "{_COMMAND}"')
    if rest:
        return f'{field}: "" ({_FIELDS})'
    is_word = " " not in expression and "did you mean" not in error.message
    if error.code == "prose" and is_word:
        return f'"{expression}" is no schedule (of a Job: pycron next --job {expression})'
    return None


def _of_after(expression: str) -> Schedule:
    try:
        return parse_nickname(*expression.split(maxsplit=1))
    except ScheduleError as error:
        raise Failed(f"expression: {error}") from None


def of_row(row: JobRow, calendars: Mapping[str, Calendar]) -> Scheduled:
    """A Job as the daemon answers it."""
    schedule = parse_resolved(row["resolved"])
    rules = day_rules(parse_day_settings(row.get("days") or ""), calendars)
    return Scheduled(row["job"], row["line"], limited(schedule, rules), row["zone"])


def next_rows(
    row: ListedJobRow, job: Scheduled, zones: ZoneData, start: int, end: int
) -> Iterator[tuple[int, NextRow]]:
    """The fire times of a Job of the daemon in [start, end), as the daemon answers them."""
    schedule, paused = row["schedule"], row.get("paused")
    names = schedule.split()[1].split(",") if schedule.startswith("@after ") else []
    for fire, due in due_rows(job, zones, start, end):
        holds = paused and (paused["until"] is None or due["fire_time"] < paused["until"])
        yield (
            fire,
            {
                "line": row["line"],
                "job": row["job"],
                "fire_time": due["fire_time"],
                "local": due["local"],
                "id": row["id"],
                "table": row["table"],
                "user": row["user"],
                "delay": row.get("delay", 0),
                "after": names,
                "paused": paused if holds else None,
            },
        )


class DaemonCalendars(Mapping[str, Calendar]):
    """The calendars of the daemon; it is asked for the days of each year that is needed."""

    def __init__(self, client: ControlClient) -> None:
        self._client = client
        self._known: dict[str, Calendar] = {}

    def __getitem__(self, name: str) -> Calendar:
        if name not in self._known:
            self._known[name] = Calendar(name, "daemon", lambda year: self._days(name, year))
        return self._known[name]

    def __contains__(self, name: object) -> bool:
        return True

    def __iter__(self) -> Iterator[str]:
        return iter(self._known)

    def __len__(self) -> int:
        return len(self._known)

    def _days(self, name: str, year: int) -> list[datetime.date]:
        answer = self._client.request(CalendarRequest(name, year))
        return [datetime.date.fromisoformat(day) for day in answer["days"]]
