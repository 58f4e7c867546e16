"""What `pycron calendar` prints: a day by the minute, by plan and by history."""

import argparse
import time
from collections.abc import Callable, Iterator

from pycron.analysis.minute_counts import MINUTE, MinuteCounts
from pycron.analysis.planned_starts import PlannedStarts
from pycron.cli.clock import clock_for
from pycron.cli.daemon_choice import client_for
from pycron.cli.days import in_reach
from pycron.cli.errors import WrongUse
from pycron.cli.heat_map import print_heat_map
from pycron.cli.instants import parse_instant
from pycron.cli.plan import plan_for
from pycron.cli.printing import Row, print_json, print_line, print_table, print_text
from pycron.cli.table_layout import Column
from pycron.cli.table_options import named_sources
from pycron.control.client import ControlClient
from pycron.model.in_words import number_of
from pycron.model.instants import rfc3339
from pycron.protocol.control_messages import RunsRequest
from pycron.protocol.question_messages import StartsRequest
from pycron.schedule.local_days import day_of
from pycron.wording.cells import Cell, Tone, Value
from pycron.wording.clock import Clock

_JobsIn = Callable[[int, int], list[str]]  # the Jobs that start in a minute, at most so many

_BUSIEST = 3  # minutes that are named
_NAMED = 6  # Jobs of each
_COLUMNS = (Column("minute"), Column("starts", right=True), Column("jobs", least=10))


def print_calendar(options: argparse.Namespace) -> None:
    clock = clock_for(options)
    start, end = day_of(in_reach(parse_instant(options.day, clock.zone)), clock.zone)
    plan, history = _counts(options, start, end)
    if options.json:
        print_json(_json(plan and plan[1], history and history[1], clock))
        return
    print_text(f"{clock.zone.local(start):%A %Y-%m-%d}, {clock.title}", Tone.FAINT)
    if plan:
        _print("by plan", plan[1], clock, plan[0].jobs_in)
    if history:
        _print("by history", history[1], clock, lambda minute, most: _ran(history[0], minute, most))


def _counts(
    options: argparse.Namespace, start: int, end: int
) -> tuple[tuple[PlannedStarts, MinuteCounts] | None, tuple[ControlClient, MinuteCounts] | None]:
    """The starts by plan and by history, each with what knows the names of their Jobs."""
    tables = bool(named_sources(options))
    if tables and options.history:
        raise WrongUse("--history is the daemon's: without --table")
    plan = history = None
    if not options.history:
        planned = _planned(options)
        plan = planned, planned.count(start, end)
    if not (options.plan or tables or start > time.time()):
        client = client_for(options)
        history = client, MinuteCounts(start, end)
        request = StartsRequest(since=start, until=end, user=options.owner)
        history[1].add_all(client.request(request)["counts"])
    return plan, history


def _planned(options: argparse.Namespace) -> PlannedStarts:
    plan = plan_for(options)
    entries = [table.jobs for table in plan.tables]
    return PlannedStarts(entries, plan.zones.zone, plan.host, options.owner)


def _ran(client: ControlClient, minute: int, most: int) -> list[str]:
    """The names of Jobs that were due in a minute, each once."""
    request = RunsRequest(limit=100, since=minute, until=minute + MINUTE)
    names = dict.fromkeys(row["job"] for row in client.request(request)["rows"])
    return list(names)[:most]


def _print(title: str, counts: MinuteCounts, clock: Clock, jobs_in: _JobsIn) -> None:
    print()
    print_line([Cell(title, Tone.STRONG), Cell(f": {number_of(counts.total, 'start')}")])
    print_heat_map(counts, clock.zone)
    if counts.total:
        print()
        print_table(_COLUMNS, _busiest(counts, clock, jobs_in), "")


def _busiest(counts: MinuteCounts, clock: Clock, jobs_in: _JobsIn) -> Iterator[list[Value]]:
    for minute, number in counts.busiest(_BUSIEST):
        names = jobs_in(minute, _NAMED + 1)
        shown = ", ".join(names[:_NAMED]) + (", …" if len(names) > _NAMED else "")
        yield [f"{clock.zone.local(minute):%H:%M}", f"{number:,}", shown]


def _json(plan: MinuteCounts | None, history: MinuteCounts | None, clock: Clock) -> Iterator[Row]:
    """A row for each minute with starts."""
    known = [counts for counts in (plan, history) if counts is not None]
    first = known[0]
    for index in range(len(first.counts)):
        if any(counts.counts[index] for counts in known):
            minute = first.start + MINUTE * index
            yield {
                "minute": rfc3339(minute),
                "local": clock.zone.local(minute).isoformat(),
                "plan": None if plan is None else plan.counts[index],
                "history": None if history is None else history.counts[index],
            }
