"""`pycron list`: the Jobs of all tables, how they ended last, and when they are due next."""

import argparse
from collections.abc import Iterator

from pycron.cli.clock import clock_for
from pycron.cli.daemon_choice import client_for
from pycron.cli.pages import read_jobs
from pycron.cli.printing import print_json, print_table
from pycron.cli.table_layout import Column
from pycron.cli.verb import verb
from pycron.model.in_words import duration_in_words
from pycron.model.instants import parse_rfc3339
from pycron.protocol.control_messages import JobsRequest
from pycron.protocol.job_answers import ListedJobRow
from pycron.wording.cells import Cell, Tone, Value
from pycron.wording.clock import Clock
from pycron.wording.job_words import end_cell

_COLUMNS = (
    Column("job", least=10),
    Column("schedule", least=9),
    Column("zone", least=8, rank=4, optional=True),
    Column("owner", rank=5),
    Column("last", least=9),
    Column("when", rank=2),
    Column("usual", right=True, rank=3),
    Column("next", least=12),
    Column("in", right=True, rank=1),
    Column("command", least=20, rank=6),
)


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--owner", metavar="USER", help="the Jobs of this user")
    parser.add_argument("--match", metavar="TEXT",
                        help="whose name or command contains this text")  # fmt: skip
    parser.add_argument("--failed", action="store_true", help="whose last Run did not succeed")


@verb("list", "List the Jobs of all tables that you may see.", _arguments)
def list_jobs(options: argparse.Namespace) -> None:
    wanted = JobsRequest(
        details=True, user=options.owner, match=options.match, failed=options.failed
    )
    rows = _selected(read_jobs(client_for(options), wanted), options)
    if options.json:
        print_json(rows)
    else:
        clock = clock_for(options)
        print_table(_COLUMNS, (_cells(row, clock) for row in rows), "no jobs", clock.title)


def _selected(rows: Iterator[ListedJobRow], options: argparse.Namespace) -> Iterator[ListedJobRow]:
    """A daemon of an earlier version answers all Jobs."""
    text = (options.match or "").casefold()
    for row in rows:
        is_owned = options.owner in (None, row["user"])
        is_like = text in row["job"].casefold() or text in row["command"].casefold()
        if is_owned and is_like and (row.get("last") or not options.failed):
            yield row


def _cells(row: ListedJobRow, clock: Clock) -> list[Value]:
    zone = None if row["zone"] == clock.zone.name else row["zone"]
    usual = row.get("usual_seconds")
    paused = row.get("paused")
    return [
        Cell(row["job"], Tone.FAINT if paused else Tone.PLAIN),
        row["schedule"],
        zone,
        row["user"],
        *_last(row, clock),
        None if usual is None else duration_in_words(usual),
        *_next(row, clock),
        Cell(row["command"], Tone.FAINT),
    ]


def _last(row: ListedJobRow, clock: Clock) -> tuple[Value, Value]:
    """How it ended last, and when; or since when it is running."""
    running, last = row.get("running_since"), row.get("last")
    if running:
        return Cell("running", Tone.LIVE), clock.at_text(running)
    if last is None:
        return None, None
    when = clock.at_text(last["ended"] or last["fire_time"])
    return end_cell(last["outcome"], last["exit_status"], last["signal"]), when


def _next(row: ListedJobRow, clock: Clock) -> tuple[Value, Value]:
    """When it is due next and in how long; or why it will not run then."""
    fire, pause = row.get("next_fire_time"), row.get("paused")
    if pause:
        until = "" if pause["until"] is None else f" until {clock.at_text(pause['until'])}"
        return Cell(f"paused{until}", Tone.WARN), None
    if fire is None:
        return None, None
    away = parse_rfc3339(fire) - clock.now
    return clock.at_text(fire), duration_in_words(max(0, round(away)))
