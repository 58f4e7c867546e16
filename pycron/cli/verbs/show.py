"""`pycron show`: one page about a Run: what happened, its Attempts, and the end of its output."""

import argparse
import shutil
from collections.abc import Iterator

from pycron.cli.arguments import add_cluster, add_run
from pycron.cli.clock import clock_for
from pycron.cli.daemon_choice import client_for
from pycron.cli.printing import (
    on_terminal,
    print_json,
    print_line,
    print_page,
    print_table,
    print_text,
)
from pycron.cli.run_output import Tail, read_tail
from pycron.cli.run_rows import find_run
from pycron.cli.table_layout import Column
from pycron.cli.verb import verb
from pycron.control.shown import shown_run
from pycron.model.in_words import ago_in_words, duration_in_words, size_in_words
from pycron.model.instants import parse_rfc3339
from pycron.model.text import printable
from pycron.protocol.control_answers import AttemptRow, RunAnswer, RunDetails
from pycron.protocol.control_messages import RunRequest
from pycron.wording.cells import Cell, Tone, Value
from pycron.wording.clock import Clock
from pycron.wording.job_words import end_cell
from pycron.wording.run_words import ended_as, took

_SHOWN_LINES = 20
_LEAST_LINES = 5  # of the output, on a small terminal
_ATTEMPTS = (
    Column("attempt", right=True),
    Column("started"),
    Column("took", right=True),
    Column("outcome", least=9),
    Column("cpu", right=True, rank=1),
    Column("memory", right=True, rank=1),
    Column("output", right=True, rank=1),
    Column("pid", right=True, rank=3),
    Column("reason", least=10, rank=2, optional=True),
)


def _arguments(parser: argparse.ArgumentParser) -> None:
    add_run(parser)
    add_cluster(parser)


@verb("show", "Show one Run and its Attempts.", _arguments)
def show(options: argparse.Namespace) -> None:
    if options.cluster:
        from pycron.cli import shared_run
        from pycron.cli.verbs.cluster import with_database

        with_database(options, shared_run.show)
        return
    client = client_for(options)
    run_id = find_run(client, options.run)
    answer = client.request(RunRequest(run_id))
    if options.json:
        print_json([shown_run(answer)])
        return
    clock = clock_for(options)
    tail = read_tail(client, run_id) if answer["attempts"] else None
    _print_run(answer, clock)
    if len(answer["attempts"]) > 1:
        print()
        print_table(_ATTEMPTS, [_attempt(each, clock) for each in answer["attempts"]], "")
    if tail and tail.lines:
        _print_tail(tail, used=20 + len(answer["attempts"]))


def _print_run(answer: RunAnswer, clock: Clock) -> None:
    row = answer["row"]
    print_line([Cell(f"{printable(row['job'])}: ", Tone.STRONG), ended_as(row)])
    print_page([*_what_happened(row, clock), *_what_it_is(row), *_what_it_cost(answer)])


def _what_happened(row: RunDetails, clock: Clock) -> Iterator[tuple[str, Value]]:
    fire, late = parse_rfc3339(row["fire_time"]), row["lateness_ms"]
    ago = ago_in_words(clock.now - fire)
    yield "due", f"{clock.at(fire)} ({ago}; {clock.title})"
    if row["started_by"] is not None:
        yield "by hand", f"started by {row['started_by']}"
    if row["started"] is not None:
        after = "" if late is None else f", {duration_in_words(late / 1000)} late"
        yield "started", clock.at_text(row["started"]) + after
    yield "took", took(row, clock.now)
    yield "attempts", str(row["attempts"]) if row["attempts"] > 1 else None
    yield "reason", None if row["reason"] is None else Cell(row["reason"], Tone.WARN)


def _what_it_is(row: RunDetails) -> Iterator[tuple[str, Value]]:
    yield "command", row["command"]
    yield "stdin", row.get("stdin")
    zone = row.get("zone")
    yield "schedule", f"{row['schedule']} ({zone})" if zone else row["schedule"]
    yield "entry", f"{row['table']}:{row['line']}, as {row['user']}"
    yield "tells of", row.get("about")
    yield "run", row["run_id"]


def _what_it_cost(answer: RunAnswer) -> Iterator[tuple[str, Value | list[Value]]]:
    row = answer["row"]
    if row["cpu_seconds"] is not None:
        memory = row["memory_peak_bytes"]
        most = "" if memory is None else f", at most {size_in_words(memory)} of memory"
        yield "cost", f"{duration_in_words(row['cpu_seconds'])} of processor time{most}"
    told: list[Value] = [
        Cell(f"{each.get('delivery') or each['job']}: {ended_as(each).text}", ended_as(each).tone)
        for each in answer.get("deliveries", [])
    ]
    yield "told", told


def _attempt(row: AttemptRow, clock: Clock) -> list[Value]:
    cpu, memory, output = row["cpu_seconds"], row["memory_peak_bytes"], row["output_bytes"]
    outcome = row["outcome"]
    return [
        str(row["attempt"]),
        None if row["started"] is None else clock.at_text(row["started"]),
        took(row, clock.now),
        end_cell(outcome, row["exit_status"], row["signal"]) if outcome else "running",
        None if cpu is None else duration_in_words(cpu),
        None if memory is None else size_in_words(memory),
        None if output is None else size_in_words(output),
        None if row["pid"] is None else str(row["pid"]),
        row["reason"],
    ]


def _print_tail(tail: Tail, used: int) -> None:
    """The last lines of the output. `used`: the lines of the terminal that are taken already."""
    most = _SHOWN_LINES
    if on_terminal():
        most = min(most, max(_LEAST_LINES, shutil.get_terminal_size().lines - used))
    left_out = ""
    if len(tail.lines) > most or not tail.whole:
        of = f" of {len(tail.lines)}" if tail.whole else ""
        left_out = f", the last {min(most, len(tail.lines))}{of} lines"
    print()
    print_text(f"output of attempt {tail.attempt}{left_out}:", Tone.FAINT)
    for line in tail.lines[-most:]:
        print_text(f"  {line}")
