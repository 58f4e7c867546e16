"""The tables of a running daemon, as `pycron check` checks them when none is named."""

import argparse
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from itertools import islice

from pycron.cli import schedules
from pycron.cli.checked_tables import TableChecker
from pycron.cli.crontab_texts import read_text
from pycron.cli.daemon_choice import client_for
from pycron.cli.errors import Failed
from pycron.cli.pages import read_jobs, read_runs
from pycron.config import ConfigError, ConfigUnreadable
from pycron.control.client import ControlClient, ControlError, NoDaemon
from pycron.lint.history import OVERLAP, overlap
from pycron.model.job import Source
from pycron.model.problem import Problem, problem_from_row
from pycron.protocol.control_answers import RunRow
from pycron.protocol.control_messages import ProblemsRequest, RunsRequest
from pycron.protocol.job_answers import JobRow
from pycron.protocol.table_messages import TableRequest
from pycron.schedule.day_rules import Calendar
from pycron.schedule.zone import END_OF_TIME
from pycron.system.zone_data import ZoneData

_LAST_RUNS = 500
_FIRE_TIMES = 8


def problems(options: argparse.Namespace, checker: TableChecker) -> Iterator[Problem]:
    """The problems of the daemon's tables, of the machine, and of the configuration.

    If no daemon answers, its configuration may be the reason. Raises ControlError.
    """
    try:
        client = client_for(options)
        known = [problem_from_row(row) for row in client.request(ProblemsRequest())["rows"]]
        jobs = list(read_jobs(client))
        runs = list(read_runs(client, RunsRequest(), _LAST_RUNS))
    except NoDaemon as error:
        bad = _problem_of_configuration(options)
        if bad is None:
            raise
        print(f"pycron: {error}", file=sys.stderr)
        yield bad
        return
    tables = {job["table"]: job for job in reversed(jobs)}
    yield from (problem for problem in known if problem.file not in tables)
    for name, first in sorted(tables.items()):
        own = tuple(problem for problem in known if problem.file == name)
        yield from _of_table(client, checker, first, own)
    yield from _overlaps(jobs, runs, schedules.DaemonCalendars(client))


def _of_table(
    client: ControlClient, checker: TableChecker, job: JobRow, known: tuple[Problem, ...]
) -> Sequence[Problem]:
    """The problems of the table of a Job; only what the daemon knows if its text cannot be read."""
    name = job["table"]
    try:
        is_file = "/" in name
        text = read_text(name) if is_file else client.request(TableRequest(name))["text"]
    except (Failed, ControlError):
        return known
    if text is None:
        return known
    owner = job["user"] if not is_file or _is_own_table(text, job) else None
    return checker.of_text(text, Source(name, owner), True, known)


def _is_own_table(text: str, job: JobRow) -> bool:
    """Whether the table of a Job has no user column, as one that pycrond is started with."""
    line = text.split("\n")[job["line"] - 1 : job["line"]]
    before, _, _ = "".join(line).partition(job["command"])
    return job["user"] not in before.split()


def _overlaps(
    jobs: Sequence[JobRow], runs: Sequence[RunRow], calendars: Mapping[str, Calendar]
) -> Iterator[Problem]:
    """Jobs whose last Runs took longer than the time between two fire times."""
    durations: dict[tuple[str, str], list[float]] = defaultdict(list)
    for run in runs:
        if run["started"] and run["ended"]:
            durations[run["table"], run["job"]].append(_seconds(run["started"], run["ended"]))
    zones = ZoneData()
    for job in jobs:
        took = durations.get((job["table"], job["job"]), ())
        if took and zones.exists(job["zone"] or "UTC"):
            scheduled = schedules.of_row(job, calendars)
            due = schedules.due_rows(scheduled, zones, int(time.time()), END_OF_TIME)
            message = overlap(took, [fire for fire, _ in islice(due, _FIRE_TIMES)])
            if message:
                remedy = "set CRON_CONCURRENCY=forbid, or a longer period"
                yield Problem(job["table"], job["line"], 1, OVERLAP.severity, OVERLAP.name, message,
                              remedy=remedy)  # fmt: skip


def _seconds(started: str, ended: str) -> float:
    return (datetime.fromisoformat(ended) - datetime.fromisoformat(started)).total_seconds()


def _problem_of_configuration(options: argparse.Namespace) -> Problem | None:
    """The problem of the file that the daemon would read; None also if it is not readable."""
    try:
        schedules.config_of_daemon(options)
    except ConfigUnreadable:
        return None
    except ConfigError as error:
        return error.problem
    return None
