"""The plan: tables as the daemon has loaded them, or as files say, with what decides about them.

The program reads the text again by itself, so a question about a million entries costs the daemon
no more than to hand the text over.
"""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pycron.cli import schedules
from pycron.cli.daemon_choice import client_for
from pycron.cli.errors import Failed
from pycron.cli.table_options import named_sources
from pycron.config import Config, ConfigError, read_config
from pycron.control.client import ControlClient, ControlError
from pycron.crontab.reader import ReaderContext, parse
from pycron.crontab.table import Table
from pycron.engine.limits import UNLIMITED, Limits
from pycron.model.in_words import number_of
from pycron.model.instants import parse_rfc3339
from pycron.model.job import Source
from pycron.model.pause import Pause, Scope
from pycron.protocol.control_answers import PauseRow, StatusAnswer
from pycron.protocol.control_messages import PausesRequest, StatusRequest
from pycron.protocol.question_messages import TableTextRequest
from pycron.system.files import ROOTS, own_rules
from pycron.system.paths import SYSTEM_CONFIG
from pycron.system.zone_data import ZoneData
from pycron.tables.check import find, local_context

_MOST_ENTRIES = 1 << 24


@dataclass(frozen=True, slots=True)
class Plan:
    """Tables and what decides about their Jobs.

    `host`: the value that `~`, `H` and delays depend on. `notes`: what is not known here.
    """

    tables: Sequence[Table]
    zones: ZoneData
    host: str
    limits: Limits
    pauses: Sequence[Pause] = ()
    notes: Sequence[str] = ()


def plan_for(options: argparse.Namespace) -> Plan:
    """The plan of the tables that the options name, or else of the daemon's.

    Raises ControlError, and Failed for a table that has an error.
    """
    sources = named_sources(options)
    return _of_files(options, sources) if sources else _of_daemon(client_for(options))


def _of_files(options: argparse.Namespace, sources: Sequence[Source]) -> Plan:
    config = schedules.config_of_daemon(options) or Config()
    zones = ZoneData()
    context = _context(zones, config)
    tables = []
    for source in sources:
        found = find(source, config.table_bytes)
        if found.text is None:
            raise Failed(str(found.problem))
        tables.append(parse(found.text, source, context))
    errors = [str(error) for table in tables for error in table.errors]
    if errors:
        raise Failed("\npycron: ".join(errors))
    return Plan(tables, zones, context.host, config.limits)


def _context(zones: ZoneData, config: Config) -> ReaderContext:
    context = local_context(zones, config)
    return replace(
        context,
        user_exists=None,
        most_entries=_MOST_ENTRIES,
        defaults=config.defaults,
        ceilings=config.ceilings,
    )


# ---- the daemon's tables


def _of_daemon(client: ControlClient) -> Plan:
    status = client.request(StatusRequest())
    zones = ZoneData(status["zone"] if ZoneData().exists(status["zone"]) else None)
    config = _config_of(status)
    context = replace(
        _context(zones, config or Config()), calendars=schedules.DaemonCalendars(client)
    )
    notes = [] if config else ["its configuration cannot be read here: no limit is assumed"]
    tables, host = [], ""
    for source, host, text in _texts(client):
        tables.append(parse(text, source, replace(context, host=host)))
    left = status["jobs"] - sum(len(table.jobs) for table in tables)
    if left > 0:
        notes.append(f"{number_of(left, 'Job')} left out: you may not read their tables")
    pauses = [_pause(row) for row in client.request(PausesRequest())["rows"]]
    limits = config.limits if config else UNLIMITED
    return Plan(tables, zones, host, limits, pauses, notes)


def _config_of(status: StatusAnswer) -> Config | None:
    """The configuration that the daemon has read; None if this user cannot read it."""
    row = status.get("config")
    if row is None:
        return None
    if row["file"] is None:
        return Config()
    path = Path(row["file"])
    try:
        return read_config(
            path, required=False, rules=ROOTS if path == SYSTEM_CONFIG else own_rules()
        )
    except ConfigError:
        return None


def _texts(client: ControlClient) -> Iterator[tuple[Source, str, str]]:
    """The tables that the user may read: the source, the daemon's host value, and the text."""
    number = 0
    while True:
        answer = client.request(TableTextRequest(number))
        if answer["table"] is None:
            return
        parts = [answer["text"]]
        while answer["rest"] is not None:
            answer = client.request(TableTextRequest(number, answer["rest"]))
            parts.append(answer["text"])
        name = answer["table"]
        if name is None:
            raise ControlError("the tables have changed meanwhile: try again")
        yield Source(name, answer["owner"]), answer["host"], "".join(parts)
        number += 1


def _pause(row: PauseRow) -> Pause:
    until = None if row["until"] is None else parse_rfc3339(row["until"])
    return Pause(
        Scope.parse(row["scope"]), parse_rfc3339(row["since"]), until, row["by"], row["reason"]
    )
