"""`pycron why`: what happened to a Job at a time, and why."""

import argparse
from collections.abc import Iterator, Sequence

from pycron.cli.arguments import add_cluster
from pycron.cli.clock import clock_for
from pycron.cli.daemon_choice import client_for
from pycron.cli.instants import parse_asked
from pycron.cli.printing import print_columns, print_json, print_page, print_text
from pycron.cli.run_output import read_tail
from pycron.cli.run_rows import print_runs
from pycron.cli.verb import verb
from pycron.control.client import ControlClient
from pycron.protocol.control_answers import WhyRow
from pycron.protocol.control_messages import WhyRequest
from pycron.wording.advice import meaning, to_do
from pycron.wording.cells import Cell, Tone, Value, outcome_tone
from pycron.wording.clock import Clock

_FIELD_COLUMNS = (("field", "field"), ("says", "says"), ("was", "was"), ("does", "matches"))


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("job", metavar="JOB", help="a Job's name or id")
    parser.add_argument("time", metavar="TIME",
                        help="such as 2026-03-08T02:30; in the Job's zone")  # fmt: skip
    add_cluster(parser)


@verb("why", "Say what happened to a Job at a time, and why.", _arguments)
def why(options: argparse.Namespace) -> None:
    if options.cluster:
        from pycron.cli import shared_run
        from pycron.cli.verbs.cluster import with_database

        with_database(options, shared_run.why)
        return
    clock = clock_for(options)
    second, wall = parse_asked(options.time, clock.zone)
    request = WhyRequest(job=options.job, time=second, wall=wall and not options.utc)
    client = client_for(options)
    rows = client.request(request)["rows"]
    if options.json:
        print_json(rows)
        return
    for number, row in enumerate(rows):
        if number:
            print()
        _print_answer(client, row, clock)


def _print_answer(client: ControlClient, row: WhyRow, clock: Clock) -> None:
    """First the verdict, in one sentence; then the facts behind it; at last what to do."""
    job = f"{row['job']} ({row['user']}, {row['table']}:{row['line']})"
    verdict = row["verdict"].replace("_", " ")
    print_text(f"{job} at {row['time']}: {verdict}: {row['reason']}", _tone(row))
    for note in row["notes"]:
        print_text(note)
    if row["runs"]:
        print()
        print_runs(row["runs"], "", clock)
    if row["fields"]:
        print()
        checks = [{**check, "does": "yes" if check["matches"] else "no"} for check in row["fields"]]
        print_columns(_FIELD_COLUMNS, checks, "")
    print()
    print_page([*_schedule(row), *_what_to_do(client, row)])


def _tone(row: WhyRow) -> Tone:
    outcome = row["runs"][-1]["outcome"] if row["runs"] else None
    return Tone.STRONG if outcome is None else outcome_tone(outcome)


def _schedule(row: WhyRow) -> Iterator[tuple[str, Value]]:
    before, after = row["before"], row["after"]
    yield "schedule", f"{row['schedule']}, zone {row['zone']}"
    yield "due before", before and before["local"]
    yield "due after", after and after["local"]


def _what_to_do(
    client: ControlClient, row: WhyRow
) -> Iterator[tuple[str, Value | Sequence[Value]]]:
    run = row["runs"][-1] if row["runs"] else None
    has_failed = run is not None and run["outcome"] not in (None, "succeeded")
    if run is not None and has_failed and run["attempts"]:
        lines = [line for line in read_tail(client, run["run_id"]).lines if line.strip()]
        yield "last line", lines[-1] if lines else Cell("(no output)", Tone.FAINT)
    yield "meaning", meaning(row)
    yield "to do", list(to_do(row))
