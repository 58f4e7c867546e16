"""`pycron` without a verb, on a terminal: what is wrong now, what comes next, what to try."""

import argparse
import sys
import time
from collections.abc import Iterator

from pycron.cli.clock import clock_for
from pycron.cli.daemon_choice import client_for
from pycron.cli.done import resume_command
from pycron.cli.printing import print_page, print_text
from pycron.control.client import ControlClient, ControlError, NoDaemon
from pycron.model.in_words import ahead_in_words, end_in_words, number_of
from pycron.model.instants import parse_rfc3339
from pycron.model.run import FAILURES, TEST_SUFFIX, Outcome
from pycron.protocol.control_answers import RunRow, StatusAnswer
from pycron.protocol.control_messages import (
    HealthRequest,
    RunsRequest,
    StatusRequest,
    TopRequest,
)
from pycron.wording.cells import Cell, Tone
from pycron.wording.clock import Clock

_DAY = 86_400  # seconds
_SHOWN = 3  # Jobs that fail, and fire times
_WITHOUT_DAEMON = (
    ("pycron explain '0 9 * * 1-5'", "a schedule in words"),
    ("pycron check FILE", "what is wrong with a table"),
    ("man pycron", "all verbs"),
)
_CALM = (
    ("pycron list", "all Jobs"),
    ("pycron runs", "what ran, and how it ended"),
    ("pycron next", "what runs when"),
)
_TROUBLED = (
    ("pycron runs --failed", "what went wrong"),
    ("pycron log JOB", "the output of its last Run"),
    ("pycron check", "what is wrong with tables and configuration"),
)


def overview(options: argparse.Namespace) -> int:
    """Print it; the exit status is 1 if no daemon answers."""
    try:
        client = client_for(options)
        status = client.request(StatusRequest())
        clock = clock_for(options)
        wrong = list(_wrong(client, status, clock))
        coming = list(_next(client, clock))
    except NoDaemon as error:
        print(f"pycron: {error}", file=sys.stderr)
        print_page([("try", _tries(_WITHOUT_DAEMON))])
        return 1
    except ControlError as error:
        print(f"pycron: {error}", file=sys.stderr)
        return 1
    print_text(f"{_summary(status)}; {clock.title}", Tone.STRONG)
    print_page([
        ("wrong now", wrong or [Cell("nothing", Tone.GOOD)]),
        ("next", coming),
        ("try", _tries(_TROUBLED if wrong else _CALM)),
    ])  # fmt: skip
    return 0


def _tries(tries: tuple[tuple[str, str], ...]) -> list[str]:
    width = max(len(command) for command, _ in tries)
    return [f"{command.ljust(width)}  {what}" for command, what in tries]


def _summary(status: StatusAnswer) -> str:
    counts = f"{number_of(status['jobs'], 'Job')}, {status['running']} running"
    return f"pycron {status['version']} ({status['mode']}): {counts}"


def _wrong(client: ControlClient, status: StatusAnswer, clock: Clock) -> Iterator[Cell]:
    """A line for each thing that is wrong now."""
    for row in _failing(client):
        words = end_in_words(Outcome(row["outcome"] or ""), row["exit_status"], row["signal"])
        when = clock.at_text(row["fire_time"])
        yield Cell(f"{row['job']}: {words} at {when} (pycron log {row['job']})", Tone.BAD)
    dead = client.request(RunsRequest(dead=True, limit=100))["rows"]
    if dead:
        yield Cell(f"{number_of(len(dead), 'dead letter')} (pycron dead list)", Tone.WARN)
    if status["problems"]:
        yield Cell(
            f"{number_of(status['problems'], 'problem')} in tables (pycron check)", Tone.WARN
        )
    for reason in client.request(HealthRequest())["reasons"]:
        yield Cell(reason, Tone.BAD)


def _failing(client: ControlClient) -> Iterator[RunRow]:
    """The last Run of Jobs that have failed within a day and have not succeeded since."""
    since = int(time.time()) - _DAY
    failed = client.request(RunsRequest(outcome=",".join(FAILURES), since=since, limit=100))["rows"]
    failed = [row for row in failed if not row["job"].endswith(TEST_SUFFIX)]  # of `pycron test`
    newest = {row["run_id"][:16]: row for row in reversed(failed)}
    for job_id, row in list(newest.items())[-_SHOWN:]:
        last = client.request(RunsRequest(job=job_id, outcome="succeeded", since=since, limit=1))
        if not last["rows"] or last["rows"][0]["fire_time"] <= row["fire_time"]:
            yield row


def _next(client: ControlClient, clock: Clock) -> Iterator[str]:
    """The next fire times, and the pauses in which nothing starts."""
    answer = client.request(TopRequest(_SHOWN))
    for row in answer["next"]:
        fire = parse_rfc3339(row["fire_time"])
        yield f"{clock.at(fire)}  {row['job']} ({ahead_in_words(fire - clock.now)})"
    for pause in answer["pauses"]:
        until = pause["until"]
        end = f"until {clock.at_text(until)}" if until else "until it is resumed"
        yield f"paused: {pause['what']}, {end} ({resume_command(pause)})"
