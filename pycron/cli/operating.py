"""The verbs of pycron(1) that operators act with: start, kill, pause, resume, top."""

import argparse
import datetime
import sys
import time
from collections.abc import Iterable
from typing import Any

from pycron.cli.daemon_choice import chosen_paths
from pycron.cli.printing import Row, print_columns, print_json
from pycron.control.client import ControlClient
from pycron.schedule.durations import parse_duration

_EVERY = 2.0  # seconds between looks of `pycron top`
_CLEAR = "\x1b[H\x1b[2J"


def _client(options: argparse.Namespace) -> ControlClient:
    return ControlClient(chosen_paths(options).socket)


def duration(text: str) -> int:
    """Seconds, for argparse."""
    try:
        return parse_duration(text)
    except ValueError:
        message = f'bad duration: "{text}" (such as 90s, 15m or 1h30m)'
        raise argparse.ArgumentTypeError(message) from None


def start(options: argparse.Namespace) -> int:
    answer = _client(options).ask("start", job=options.job, force=options.force)
    if options.json:
        print_json([{key: answer[key] for key in ("run_id", "state", "why")}])
        return 0
    print(answer["run_id"])
    if answer["why"]:
        print(f"pycron: it waits: {answer['why']}", file=sys.stderr)
    return 0


def kill(options: argparse.Namespace) -> int:
    rows = _client(options).ask("kill", run_id=options.run, kill_after=options.kill_after)["rows"]
    if options.json:
        print_json(rows)
    return 0


# ---- pause, resume

_WHAT = "what? (a job, --owner, --pool or --all)"
_PAUSE_COLUMNS = (
    ("what", "what"), ("since", "since"), ("until", "until"), ("by", "by"), ("reason", "reason"),
)  # fmt: skip


def pause(options: argparse.Namespace) -> int:
    """Without a scope: what is paused."""
    client = _client(options)
    scope = _scope(options)
    if not scope and (options.seconds is not None or options.reason):
        raise argparse.ArgumentTypeError(f"pause: {_WHAT}")
    if not scope:
        rows = client.ask("pauses")["rows"]
        if options.json:
            print_json(rows)
        else:
            print_columns(_PAUSE_COLUMNS, rows, "nothing is paused")
        return 0
    answer = client.ask("pause", seconds=options.seconds, reason=options.reason, **scope)
    if options.json:
        print_json([answer["row"]])
    return 0


def resume(options: argparse.Namespace) -> int:
    scope = _scope(options)
    if not scope:
        raise argparse.ArgumentTypeError(f"resume: {_WHAT}")
    answer = _client(options).ask("resume", **scope)
    if options.json:
        print_json([answer["row"]])
    return 0


def _scope(options: argparse.Namespace) -> dict[str, Any]:
    named = {
        "job": options.job,
        "user": options.owner,
        "pool": options.pool,
        "all": options.all or None,
    }
    found = {kind: value for kind, value in named.items() if value is not None}
    if len(found) > 1:
        raise argparse.ArgumentTypeError("a job, --owner, --pool or --all: one of them")
    for kind, value in found.items():
        return {"scope": kind, kind: value}
    return {}


# ---- top

_RUNNING = (
    ("job", "job"), ("user", "user"), ("attempt", "attempt"), ("pid", "pid"),
    ("seconds", "seconds"), ("memory", "memory"), ("cpu", "cpu s"), ("command", "command"),
)  # fmt: skip
_WAITING = (
    ("job", "job"), ("user", "user"), ("priority", "priority"), ("planned", "planned"),
    ("state", "state"), ("why", "why"),
)  # fmt: skip
_NEXT = (("fire_time", "fire time"), ("job", "job"), ("user", "user"), ("command", "command"))


def top(options: argparse.Namespace) -> int:
    """On a terminal again and again, until it is interrupted; else once."""
    client = _client(options)
    if options.json or not sys.stdout.isatty():
        _show_top(options, client.ask("top", limit=options.limit))
        return 0
    try:
        while True:
            answer = client.ask("top", limit=options.limit)
            sys.stdout.write(_CLEAR)
            _show_top(options, answer)
            time.sleep(_EVERY)
    except KeyboardInterrupt:
        return 0


def _show_top(options: argparse.Namespace, answer: Row) -> None:
    answer.pop("ok")
    answer["running"] = [row | _cost(row["pid"]) for row in answer["running"]]
    if options.json:
        print_json([answer])
        return
    limits = answer["limits"]
    closed = limits.pop("closed")
    counts = answer["counts"]
    print(f"{counts['running']} running, {counts['waiting']} waiting")
    print("   ".join(f"{name}: {used} of {most}" for name, (used, most) in limits.items()))
    if closed:
        print(f"nothing begins: {closed}")
    for row in answer["pauses"]:
        print(f"paused: {row['what']} by {row['by']}, until {row['until'] or 'it is resumed'}")
    sys.stdout.flush()
    _section("running", _RUNNING, [row | _age(row) for row in answer["running"]])
    _section("waiting", _WAITING, answer["waiting"])
    _section("next", _NEXT, answer["next"])
    sys.stdout.flush()


def _section(title: str, columns: Iterable[tuple[str, str]], rows: list[Row]) -> None:
    if rows:
        print(f"\n{title}:")
        print_columns(tuple(columns), rows, "")


def _age(row: Row) -> Row:
    """What people read more easily."""
    began = row["started"] and datetime.datetime.fromisoformat(row["started"]).timestamp()
    memory = row["memory_bytes"]
    return {
        "seconds": None if began is None else round(time.time() - began),
        "memory": None if memory is None else f"{memory / 2**20:.1f}M",
        "cpu": row["cpu_seconds"],
    }


def _cost(pid: int | None) -> Row:
    """Memory and processor time of a command and its children, where they can be seen."""
    import psutil  # 15 ms, and only top asks for it

    memory, cpu = 0, 0.0
    if pid is None:
        return {"memory_bytes": None, "cpu_seconds": None}
    try:
        process = psutil.Process(pid)
        for each in [process, *process.children(recursive=True)]:
            memory += each.memory_info().rss
            times = each.cpu_times()
            cpu += times.user + times.system
    except psutil.Error:  # it has ended, or is not ours to look at
        return {"memory_bytes": None, "cpu_seconds": None}
    return {"memory_bytes": memory, "cpu_seconds": round(cpu, 2)}
