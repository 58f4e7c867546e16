"""One shared Run as the database of the cluster has it: for --cluster of show, log and why."""

import argparse
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from pycron.cli.clock import clock_for
from pycron.cli.cluster_rows import hosts_serving, run_json, state_cell
from pycron.cli.errors import Failed
from pycron.cli.following import say
from pycron.cli.instants import parse_asked
from pycron.cli.printing import print_json, print_line, print_page, print_text
from pycron.cli.run_rows import run_id_in
from pycron.cli.terminal import write_bytes, write_raw
from pycron.config import Config
from pycron.model.in_words import ago_in_words, duration_in_words, size_in_words
from pycron.model.text import printable
from pycron.wording.cells import Cell, Tone, Value
from pycron.wording.clock import Clock
from pycron.wording.job_words import end_cell

if TYPE_CHECKING:
    from pycron.cluster.operations import Operations, SharedRow

_SHOWN_LINES = 20
_MINUTE = 60


def show(options: argparse.Namespace, operations: "Operations", _config: Config) -> None:
    """A page about a Run."""
    row = _found(options.run, operations)
    if options.json:
        print_json([run_json(row)])
        return
    _print_run(row, clock_for(options), operations)
    lines = operations.output(row).decode("utf-8", "backslashreplace").splitlines()
    if lines:
        print()
        print_text("the last lines of its output:", Tone.FAINT)
        for line in lines[-_SHOWN_LINES:]:
            print_text(f"  {line}")


def log(options: argparse.Namespace, operations: "Operations", _config: Config) -> None:
    """The end of what the last Attempt has printed that has ended."""
    row = _found(options.run, operations)
    data, begin = operations.output(row), row.result.output_begin or 0
    if begin:
        say(f"the first {size_in_words(begin)} are on {row.host} only")
    if options.json:
        text = data.decode("utf-8", "backslashreplace")
        print_json([{"run_id": row.run_id, "attempt": row.attempt, "output": text}])
    else:
        (write_raw if options.raw else write_bytes)(data)
    sys.stdout.flush()


def why(options: argparse.Namespace, operations: "Operations", _config: Config) -> None:
    """What became of the Runs of a Job in a minute."""
    from pycron.cluster.operations import Wanted

    clock = clock_for(options)
    second, _ = parse_asked(options.time, clock.zone)
    begin = second // _MINUTE * _MINUTE
    wanted = Wanted(name=options.job, since=begin, until=begin + _MINUTE, limit=_MINUTE)
    rows = operations.runs(wanted)
    if options.json:
        print_json(map(run_json, rows))
        return
    if not rows:
        raise Failed(f"{options.job}: the database has no run of that minute ({clock.title})")
    for number, row in enumerate(reversed(rows)):
        if number:
            print()
        _print_run(row, clock, operations)


def _found(text: str, operations: "Operations") -> "SharedRow":
    """The Run with this id, or the last one of the Job with this name. Raises Failed."""
    from pycron.cluster.operations import Wanted

    if run_id_in(text) is not None:
        row = operations.find(text)
    else:
        row = next(iter(operations.runs(Wanted(name=text, limit=1))), None)
    if row is None:
        raise Failed(f"{printable(text)}: no such run in this cluster (pycron cluster runs)")
    return row


def _print_run(row: "SharedRow", clock: Clock, operations: "Operations") -> None:
    state, result = state_cell(row), row.result
    if row.state == "ended" and row.outcome is not None:
        state = end_cell(row.outcome, result.exit_status, result.signal)
    print_line([Cell(f"{printable(row.key.name)}: ", Tone.STRONG), state])
    print_page([*_what_happened(row, clock), *_what_it_lacks(row, operations), *_what_it_is(row)])


def _what_it_lacks(row: "SharedRow", operations: "Operations") -> Iterator[tuple[str, Value]]:
    """A Run may wait for a worker that there is not."""
    if row.state == "waiting" and row.queue and not hosts_serving(row.queue, operations.hosts()):
        nobody = f"no worker serves the queue {row.queue} at present"
        yield "waits", Cell(nobody, Tone.WARN)


def _what_happened(row: "SharedRow", clock: Clock) -> Iterator[tuple[str, Value]]:
    fire, result = row.key.fire_time, row.result
    yield "due", f"{clock.at(fire)} ({ago_in_words(clock.now - fire)}; {clock.title})"
    yield "started", None if result.first is None else clock.at(result.first)
    if result.started is not None and result.ended is not None:
        yield "took", duration_in_words(result.ended - result.started)
    yield "host", row.host
    yield "attempts", str(row.attempt) if row.attempt > 1 else None
    yield "reason", None if row.reason is None else Cell(row.reason, Tone.WARN)
    if row.state == "waiting":
        yield from _what_it_waits_for(row, clock)


def _what_it_waits_for(row: "SharedRow", clock: Clock) -> Iterator[tuple[str, Value]]:
    yield "next", None if row.not_before is None else f"not before {clock.at(row.not_before)}"
    yield "until", None if row.expires is None else clock.at(row.expires)
    if row.queue is not None:
        yield "published", f"{row.publications} times"
        yield "refused", None if row.refusal is None else Cell(row.refusal, Tone.WARN)


def _what_it_is(row: "SharedRow") -> Iterator[tuple[str, Value]]:
    cost, memory = row.result.cpu_seconds, row.result.memory_peak_bytes
    if cost is not None:
        most = "" if memory is None else f", at most {size_in_words(memory)} of memory"
        yield "cost", f"{duration_in_words(cost)} of processor time{most}"
    yield "queue", row.queue
    where = "" if row.table is None else f"{row.table}:{row.line}, "
    yield "entry", f"{where}as {row.key.owner}"
    yield "run", row.run_id
