"""What `pycron stats` prints: a table of Jobs, or a page about one."""

import argparse
from collections.abc import Iterator

from pycron.analysis.statistics import JobStatistics, Spread, statistics_of
from pycron.cli.clock import clock_for
from pycron.cli.daemon_choice import client_for
from pycron.cli.errors import Failed
from pycron.cli.instants import Looks, parse_instant
from pycron.cli.printing import Row, can_print, line_width, print_json, print_page, print_table
from pycron.cli.samples import read_samples, samples_of
from pycron.cli.sparkline import BARS, sparkline
from pycron.cli.table_layout import Column
from pycron.model.in_words import duration_in_words, end_in_words
from pycron.model.instants import rfc3339
from pycron.protocol.question_answers import SampleRow
from pycron.protocol.question_messages import SamplesRequest
from pycron.wording.cells import Cell, Tone, Value
from pycron.wording.clock import Clock

_OF_ALL = 100  # newest Runs of each Job
_OF_ONE = 1000
_BARS = 24  # in a table
_COLUMNS = (
    Column("job", least=8),
    Column("runs", right=True),
    Column("failed", right=True),
    Column("usual", right=True),
    Column("95 %", right=True, rank=1),
    Column("late", right=True, rank=3),
    Column("durations", rank=2),
    Column("slower since", optional=True),
    Column("owner", rank=4),
)


def print_statistics(options: argparse.Namespace) -> None:
    clock = clock_for(options)
    limit = options.limit or (_OF_ALL if options.job is None else _OF_ONE)
    wanted = SamplesRequest(
        limit=limit,
        job=options.job,
        user=options.owner,
        since=parse_instant(options.since, clock.zone, Looks.BACK) if options.since else None,
        until=parse_instant(options.until, clock.zone, Looks.BACK) if options.until else None,
    )
    rows = read_samples(client_for(options), wanted)
    found = ((row, statistics_of(samples_of(row))) for row in rows)
    if options.json:
        print_json(statistics_row(row, of_job) for row, of_job in found)
    elif options.job is None:
        in_order = sorted(found, key=lambda pair: (pair[0]["job"], pair[0]["id"]))
        table = (_line(row, of_job, clock) for row, of_job in in_order)
        print_table(_COLUMNS, table, "no runs", clock.title)
    else:
        _print_pages(found, clock, options.job)


def _line(row: SampleRow, of_job: JobStatistics, clock: Clock) -> list[Value]:
    """A line of the table, in the order of _COLUMNS."""
    duration, late, slower = of_job.duration, of_job.lateness, of_job.slower
    failures = of_job.failures
    return [
        row["job"],
        f"{of_job.runs:,}",
        Cell(f"{failures:,}", Tone.BAD) if failures else "0",
        duration_in_words(duration.median) if duration else None,
        duration_in_words(duration.p95) if duration else None,
        duration_in_words(late.median) if late else None,
        _bars(of_job, _BARS) or None,
        Cell(clock.at(slower.since), Tone.WARN) if slower else None,
        row["user"],
    ]


def _bars(of_job: JobStatistics, width: int) -> str:
    return sparkline(of_job.durations, width, plain=not can_print(BARS))


# ---- one Job


def _print_pages(found: Iterator[tuple[SampleRow, JobStatistics]], clock: Clock, job: str) -> None:
    """A page for the Job. Raises Failed if it has no Runs."""
    pages = list(found)
    if not pages:
        raise Failed(f"{job}: no Run of it has ended in this time")
    for row, of_job in pages:
        print_page(_page(row, of_job, clock))


def _page(
    row: SampleRow, of_job: JobStatistics, clock: Clock
) -> Iterator[tuple[str, Value | list[Value]]]:
    assert of_job.first is not None
    assert of_job.last is not None
    yield "job", f"{row['job']} ({row['user']}, {row['table']}:{row['line']})"
    yield "runs", f"{of_job.runs:,} from {clock.at(of_job.first)} to {clock.at(of_job.last)}"
    ends = [
        f"{number:,} {end_in_words(outcome, None, None)}"
        for outcome, number in of_job.outcomes.most_common()
    ]
    yield "ended", Cell(", ".join(ends), Tone.BAD if of_job.failures else Tone.GOOD)
    yield "takes", _spread(of_job.duration)
    width = (line_width() or 80) - 12
    yield "", _bars(of_job, min(width, 60)) or None
    yield "late", _spread(of_job.lateness)
    yield "slower", _slower(of_job, clock)


def _spread(spread: Spread | None) -> Value:
    if spread is None:
        return None
    usual, p95, largest = map(duration_in_words, (spread.median, spread.p95, spread.largest))
    return f"usually {usual}, 95 % at most {p95}, the longest {largest}"


def _slower(of_job: JobStatistics, clock: Clock) -> Value:
    slower = of_job.slower
    if slower is None:
        return None
    before, after = duration_in_words(slower.before), duration_in_words(slower.after)
    return Cell(f"since {clock.at(slower.since)}: {after} instead of {before}", Tone.WARN)


# ---- JSON


def statistics_row(row: SampleRow, of_job: JobStatistics) -> Row:
    slower = of_job.slower
    return {
        "job": row["job"],
        "id": row["id"],
        "user": row["user"],
        "table": row["table"],
        "line": row["line"],
        "runs": of_job.runs,
        "failures": of_job.failures,
        "outcomes": {outcome.value: number for outcome, number in of_job.outcomes.items()},
        "first": None if of_job.first is None else rfc3339(of_job.first),
        "last": None if of_job.last is None else rfc3339(of_job.last),
        **_spread_keys("seconds", of_job.duration),
        **_spread_keys("lateness", of_job.lateness),
        "slower_since": slower and rfc3339(slower.since),
        "seconds_before": slower and slower.before,
        "seconds_since": slower and slower.after,
    }


def _spread_keys(name: str, spread: Spread | None) -> Row:
    return {
        f"{name}_median": spread and spread.median,
        f"{name}_p95": spread and spread.p95,
        f"{name}_max": spread and spread.largest,
    }
