"""The verbs of pycron(1): each asks, or computes, and prints. They return the exit status."""

import argparse
import base64
import heapq
import sys
import time
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

from pycron.cli.daemon_choice import chosen_paths
from pycron.cli.instants import local_text, parse_instant
from pycron.cli.printing import Row, print_columns, print_fields, print_json
from pycron.config import Config
from pycron.control.client import ControlClient
from pycron.crontab import reader
from pycron.model.instants import rfc3339
from pycron.model.job import Job, Source
from pycron.model.problem import Problem, Severity, problem_row
from pycron.model.run import RunKey
from pycron.model.text import printable
from pycron.schedule.expressions import Schedule, parse_resolved
from pycron.schedule.fire_times import fire_times
from pycron.schedule.words import daylight_saving
from pycron.schedule.words import explain as in_words
from pycron.schedule.zone import END_OF_TIME
from pycron.system.accounts import own_account
from pycron.system.zone_data import UnknownZone, ZoneData
from pycron.tables.check import local_context, read_and_parse

_PAGE = 500  # rows of one answer
_POLL = 0.25  # seconds between looks at a growing output
_SHOWN_LINES = 20  # of an output, beside what else there is to show


class Failed(Exception):
    """It did not work: what to tell the user."""


def _client(options: argparse.Namespace) -> ControlClient:
    return ControlClient(chosen_paths(options).socket)


# ---- status, list


def status(options: argparse.Namespace) -> int:
    answer = _client(options).ask("status")
    answer.pop("ok")
    answer["since"] = rfc3339(answer["since"])
    wakeup = answer["next_fire_time"]
    answer["next_fire_time"] = None if wakeup is None else rfc3339(wakeup)
    if options.json:
        print_json([answer])
        return 0
    processes = answer.pop("processes")
    for name, process in processes.items():
        megabytes = process["memory_bytes"] / 1e6
        answer[name] = (
            f"pid {process['pid']}, {megabytes:.1f} MB, {process['cpu_seconds']:.2f} CPU seconds"
        )
    print_fields(answer)
    return 0


def list_jobs(options: argparse.Namespace) -> int:
    rows = list(_all_jobs(_client(options)))
    if options.json:
        print_json(rows)
        return 0
    columns = [("job", "job"), ("user", "user"), ("schedule", "schedule"), ("zone", "zone"),
               ("table", "table"), ("line", "line"), ("command", "command")]  # fmt: skip
    print_columns(columns, rows, "no jobs")
    return 0


def _all_jobs(client: ControlClient) -> Iterator[Row]:
    first, more = 0, True
    while more:
        answer = client.ask("jobs", first=first)
        yield from answer["rows"]
        first += len(answer["rows"])
        more = answer["more"]


# ---- next


def next_fire_times(options: argparse.Namespace) -> int:
    zones = _zones(_zone_of_daemon(options) if options.tz is None else options.tz)
    start = parse_instant(options.start, zones.machine)
    end = parse_instant(options.until, zones.machine) if options.until else END_OF_TIME
    count = None if options.until else options.count
    merged = heapq.merge(*(_fire_times_of(job, zones, start, end) for job in _jobs(options, zones)),
                         key=lambda row: row["_order"])  # fmt: skip
    rows = (_without_order(row) for row in islice(merged, count))
    if options.json:
        print_json(rows)
        return 0
    print_columns([("local", "local"), ("fire_time", "utc"), ("job", "job")],
                  list(rows), "nothing is due")  # fmt: skip
    return 0


def _zones(machine: str | None) -> ZoneData:
    try:
        return ZoneData(machine)
    except UnknownZone as error:
        raise argparse.ArgumentTypeError(f'bad --tz: "{error}" (no such time zone)') from None


def _zone_of_daemon(options: argparse.Namespace) -> str | None:
    """The machine's zone where the daemon runs; None where no daemon is asked."""
    if options.expression is not None or _named_sources(options):
        return None
    zone = str(_client(options).ask("status")["zone"])
    return zone if ZoneData().exists(zone) else None


def _fire_times_of(
    job: tuple[str, int, Schedule, str | None], zones: ZoneData, start: int, end: int
) -> Iterator[Row]:
    name, line, schedule, zone_name = job
    zone = zones.zone(zone_name)
    for fire in fire_times(schedule, zone, start, end):
        yield {
            "line": line,
            "job": name,
            "fire_time": rfc3339(fire),
            "local": local_text(fire, zone),
            "_order": (fire, line),
        }


def _without_order(row: Row) -> Row:
    del row["_order"]
    return row


def _jobs(
    options: argparse.Namespace, zones: ZoneData
) -> list[tuple[str, int, Schedule, str | None]]:
    """Name, line, schedule and zone of what was named: an expression, tables, or the daemon's."""
    if options.expression is not None:
        if options.table or options.system_table:
            raise argparse.ArgumentTypeError("an expression, or tables: not both")
        return _jobs_of_expression(options.expression, zones)
    sources = _named_sources(options)
    if not sources:
        return [_schedule_of_row(row) for row in _all_jobs(_client(options))]
    jobs: list[tuple[str, int, Schedule, str | None]] = []
    for source in sources:
        table = read_and_parse(source, Config().table_bytes, zones)
        jobs += _good_jobs(table.jobs, table.problems)
    return jobs


def _jobs_of_expression(
    expression: str, zones: ZoneData
) -> list[tuple[str, int, Schedule, str | None]]:
    """One Job: the expression as an entry whose command does nothing."""
    if "\n" in expression:
        raise Failed("expression: one line")
    source = Source("expression", own_account().name)
    table = reader.parse(f"{expression} :\n", source, local_context(zones))
    jobs = _good_jobs(table.jobs, table.problems)
    if not jobs:
        raise Failed(f'expression: no schedule: "{expression}"')
    return jobs


def _good_jobs(
    jobs: Iterable[Job], problems: Iterable[Problem]
) -> list[tuple[str, int, Schedule, str | None]]:
    errors = [problem for problem in problems if problem.severity is Severity.ERROR]
    if errors:
        raise Failed("\npycron: ".join(str(error) for error in errors))
    return [(job.name, job.line, job.schedule, job.zone) for job in jobs]


def _schedule_of_row(row: Row) -> tuple[str, int, Schedule, str | None]:
    return row["job"], row["line"], parse_resolved(row["resolved"]), row["zone"]


def _named_sources(options: argparse.Namespace) -> list[Source]:
    own = [Source(str(path), own_account().name) for path in options.table]
    return own + [Source(str(path), None) for path in options.system_table]


# ---- explain


def explain(options: argparse.Namespace) -> int:
    """The fire times are shown in the zone of the entry and in that of the reader."""
    zones = _zones(options.tz)
    ((_, _, schedule, zone_name),) = _jobs_of_expression(options.expression, zones)
    zone = zones.zone(zone_name)
    times = islice(fire_times(schedule, zone, int(time.time()) + 1, END_OF_TIME), options.count)
    upcoming = [
        {
            "fire_time": rfc3339(fire),
            "local": local_text(fire, zone),
            "reader": local_text(fire, zones.machine),
        }
        for fire in times
    ]
    about: Row = {
        "schedule": schedule.text,
        "words": in_words(schedule),
        "zone": zone.name,
        "daylight_saving": daylight_saving(schedule),
    }
    if options.json:
        print_json([about | {"next": upcoming}])
        return 0
    print_fields({key.replace("_", " "): value for key, value in about.items() if value})
    print()
    columns = [("local", f"in {zone.name}"), ("fire_time", "utc")]
    if zone is not zones.machine:
        columns.insert(1, ("reader", f"in {zones.machine.name}"))
    print_columns(columns, upcoming, "no fire time is known before it comes")
    return 0


# ---- runs, dead, show, log

_RUN_COLUMNS = (
    ("run_id", "run"), ("job", "job"), ("user", "user"), ("fire_time", "fire time"),
    ("lateness_ms", "late ms"), ("attempts", "attempts"), ("ended_as", "outcome"),
    ("reason", "reason"),
)  # fmt: skip


def print_runs(rows: Iterable[Row], empty: str) -> None:
    print_columns(_RUN_COLUMNS, [row | {"ended_as": _ended_as(row)} for row in rows], empty)


def _ended_as(row: Row) -> str:
    """`failed (9)`, `killed (15)`, or what a Run that has not ended does."""
    if row["outcome"] is None:
        return "waiting" if row["started"] is None or row["ended"] else "running"
    number = row["exit_status"] or row["signal"]
    return f"{row['outcome']} ({number})" if number else str(row["outcome"])


def runs(options: argparse.Namespace) -> int:
    zone = ZoneData().machine
    client = _client(options)
    wanted: dict[str, Any] = {
        "job": options.job,
        "user": options.owner,
        "outcome": options.outcome,
        "since": parse_instant(options.since, zone) if options.since else None,
        "until": parse_instant(options.until, zone) if options.until else None,
    }
    rows = _pages(client, wanted, options.limit)
    if options.json:
        print_json(rows)
        return 0
    print_runs(rows, "no runs")
    return 0


def _pages(client: ControlClient, wanted: dict[str, Any], limit: int) -> Iterator[Row]:
    before = None
    while limit > 0:
        answer = client.ask("runs", limit=min(limit, _PAGE), before=before, **wanted)
        yield from answer["rows"]
        limit -= len(answer["rows"])
        before = answer["before"]
        if before is None:
            return


def dead(options: argparse.Namespace) -> int:
    client = _client(options)
    if options.action == "list":
        rows = list(_pages(client, {"dead": True}, sys.maxsize))
        if options.json:
            print_json(rows)
        else:
            print_runs(rows, "no dead letters")
        return 0
    if not options.run:
        raise argparse.ArgumentTypeError(f"dead {options.action}: which run?")
    done = [client.ask(options.action, run_id=run) for run in options.run]
    for answer in done:
        del answer["ok"]
    if options.json:
        print_json(done)
    return 0


def show(options: argparse.Namespace) -> int:
    client = _client(options)
    run_id = _run_id(client, options.run)
    answer = client.ask("run", run_id=run_id)
    if options.json:
        print_json([answer["row"] | {"attempt_list": answer["attempts"]}])
        return 0
    print_fields(answer["row"])
    print()
    columns = [(key, key.replace("_", " ")) for key in (
        "attempt", "pid", "started", "ended", "outcome", "exit_status", "signal", "cpu_seconds",
        "memory_peak_bytes", "output_bytes", "reason")]  # fmt: skip
    print_columns(columns, answer["attempts"], "no attempts")
    if answer["attempts"]:
        _print_end_of_output(client, run_id)
    return 0


def _print_end_of_output(client: ControlClient, run_id: str) -> None:
    """The last lines that the last Attempt has printed."""
    answers, parts = zip(*_parts_of_output(client, run_id), strict=True)
    lines = b"".join(parts).decode("utf-8", "surrogateescape").splitlines()
    if not lines:
        return
    many = len(lines) > _SHOWN_LINES
    left_out = f", the last {_SHOWN_LINES} of {len(lines)} lines" if many else ""
    print(f"\noutput of attempt {answers[-1]['attempt']}{left_out}:")
    for line in lines[-_SHOWN_LINES:]:
        print(f"  {printable(line)}")


def _run_id(client: ControlClient, text: str) -> str:
    """A run_id as it is; a Job's name or id stands for its last Run."""
    try:
        return str(RunKey.parse(text))
    except ValueError:
        begun = int(time.time()) + 1  # what will be due in a moment may be on record already
        rows = client.ask("runs", job=text, limit=1, until=begun)["rows"]
    if not rows:
        raise Failed(f"{text}: it has not run yet")
    return str(rows[0]["run_id"])


def log(options: argparse.Namespace) -> int:
    """Followed, a Run is shown to its end, however many Attempts that takes."""
    client = _client(options)
    run_id = _run_id(client, options.run)
    answer = _print_attempt(client, options, run_id, options.attempt)
    if answer["attempt"] > answer["attempts"]:
        raise Failed(f"{run_id} has {answer['attempts']} attempts")
    while options.follow and options.attempt is None and not answer["over"]:
        number = answer["attempt"]
        print(f"pycron: attempt {number}: {answer['outcome']}", file=sys.stderr)
        answer = _print_attempt(client, options, run_id, number + 1)
    return 0


def _print_attempt(
    client: ControlClient, options: argparse.Namespace, run_id: str, number: int | None
) -> Row:
    """What an Attempt (None: the last one) has printed; the last answer of the daemon.

    Followed, it is waited for, and for its end.
    """
    offset, told = 0, None
    while True:
        for answer, data in _parts_of_output(client, run_id, number, offset, options.follow):
            number = answer["attempt"]  # there may be another one by now
            offset += len(data)
            _print_output(options, run_id, answer["attempt"], data)
        if answer["ended"] or not options.follow:
            break
        if answer["why"] not in (None, told):
            told = answer["why"]
            print(f"pycron: it waits: {told}", file=sys.stderr)
        time.sleep(_POLL)
    printed = answer["output_bytes"]
    if printed is not None and printed > offset:
        print(f"pycron: {printed - offset} more bytes were not kept", file=sys.stderr)
    return answer


def _parts_of_output(
    client: ControlClient,
    run_id: str,
    number: int | None = None,
    offset: int = 0,
    follow: bool = False,
) -> Iterator[tuple[Row, bytes]]:
    """What an Attempt (None: the last one) has printed from there on; one part at the least.

    Each with the answer that it came with.
    """
    more = True
    while more:
        answer = client.ask("output", run_id=run_id, attempt=number, offset=offset, follow=follow)
        data = base64.b64decode(answer["data"])
        number, offset, more = answer["attempt"], offset + len(data), answer["more"]
        yield answer, data


def _print_output(options: argparse.Namespace, run_id: str, attempt: int, data: bytes) -> None:
    if not data:
        return
    if options.json:
        text = data.decode("utf-8", "backslashreplace")
        print_json([{"run_id": run_id, "attempt": attempt, "output": text}])
    else:
        _write_output(data)
    sys.stdout.flush()


def _write_output(data: bytes) -> None:
    """As it is into a file or a pipe; a terminal obeys nothing of it."""
    if not sys.stdout.isatty():
        sys.stdout.buffer.write(data)
        return
    text = data.decode("utf-8", "surrogateescape")
    sys.stdout.write("".join(c if c in "\n\t" else printable(c) for c in text))


# ---- check


def check(options: argparse.Namespace) -> int:
    sources = _named_sources(options)
    if sources:
        zones = ZoneData()
        most = Config().table_bytes
        tables = [read_and_parse(source, most, zones) for source in sources]
        rows = [problem_row(problem) for table in tables for problem in table.problems]
    else:
        rows = _client(options).ask("problems")["rows"]
    if options.json:
        print_json(rows)
    else:
        for row in rows:
            mark = "warning: " if row["severity"] == "warning" else ""
            place = f"{row['file']}:{row['line']}" if row["line"] else row["file"]
            print(f"{place}: {mark}{row['message']}")
    return 1 if any(row["severity"] == "error" for row in rows) else 0
