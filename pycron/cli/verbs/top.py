"""`pycron top`: what runs, what waits and why, and what comes next."""

import argparse
import datetime
import sys
import time
from collections.abc import Sequence

from pycron.cli.arguments import positive
from pycron.cli.daemon_choice import client_for
from pycron.cli.printing import Row, print_columns, print_json
from pycron.cli.terminal import clear_screen
from pycron.cli.verb import verb
from pycron.protocol.control_answers import LiveRow, TopAnswer
from pycron.protocol.control_messages import TopRequest

_EVERY = 2.0  # seconds between two requests on a terminal
_RUNNING = (
    ("job", "job"), ("user", "user"), ("attempt", "attempt"), ("pid", "pid"),
    ("seconds", "seconds"), ("memory", "memory"), ("cpu_seconds", "cpu s"),
    ("command", "command"),
)  # fmt: skip
_WAITING = (
    ("job", "job"), ("user", "user"), ("priority", "priority"), ("planned", "planned"),
    ("state", "state"), ("why", "why"),
)  # fmt: skip
_NEXT = (("fire_time", "fire time"), ("job", "job"), ("user", "user"), ("command", "command"))


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--limit", type=positive, metavar="N", default=20,
                        help="at most N of each; default: 20")  # fmt: skip


@verb("top", "Show what runs, what waits and why, and what comes next.", _arguments)
def top(options: argparse.Namespace) -> None:
    """On a terminal again and again, until it is interrupted; otherwise once."""
    client = client_for(options)
    request = TopRequest(options.limit)
    if options.json:
        answer = client.request(request)
        running = [{**row, **_cost(row["pid"])} for row in answer["running"]]
        print_json([{**answer, "running": running}])
        return
    if not sys.stdout.isatty():
        _show(client.request(request))
        return
    try:
        while True:
            answer = client.request(request)
            clear_screen()
            _show(answer)
            time.sleep(_EVERY)
    except KeyboardInterrupt:
        return


def _show(answer: TopAnswer) -> None:
    counts, limits = answer["counts"], answer["limits"]
    print(f"{counts['running']} running, {counts['waiting']} waiting")
    used = [f"{name}: {use[0]} of {use[1]}" for name, use in limits.items()
            if isinstance(use, list)]  # fmt: skip
    print("   ".join(used))
    if limits["closed"]:
        print(f"nothing begins: {limits['closed']}")
    for row in answer["pauses"]:
        print(f"paused: {row['what']} by {row['by']}, until {row['until'] or 'it is resumed'}")
    sys.stdout.flush()
    _show_section("running", _RUNNING, [_running_row(row) for row in answer["running"]])
    _show_section("waiting", _WAITING, answer["waiting"])
    _show_section("next", _NEXT, answer["next"])
    sys.stdout.flush()


def _show_section(title: str, columns: Sequence[tuple[str, str]], rows: Sequence[Row]) -> None:
    if rows:
        print(f"\n{title}:")
        print_columns(columns, rows, "")


def _running_row(row: LiveRow) -> Row:
    """A running Run with its age in seconds and its memory in mebibytes."""
    cost = _cost(row["pid"])
    began = row["started"] and datetime.datetime.fromisoformat(row["started"]).timestamp()
    memory = cost["memory_bytes"]
    return {
        **row,
        **cost,
        "seconds": None if not began else round(time.time() - began),
        "memory": None if memory is None else f"{memory / 2**20:.1f}M",
    }


def _cost(pid: int | None) -> dict[str, float | None]:
    """Memory and processor time of a command and its children, as far as they can be seen."""
    import psutil  # 15 ms, and only top needs it

    memory, cpu = 0, 0.0
    if pid is None:
        return {"memory_bytes": None, "cpu_seconds": None}
    try:
        process = psutil.Process(pid)
        for each in [process, *process.children(recursive=True)]:
            memory += each.memory_info().rss
            times = each.cpu_times()
            cpu += times.user + times.system
    except psutil.Error:  # the process has ended, or this user may not look at it
        return {"memory_bytes": None, "cpu_seconds": None}
    return {"memory_bytes": memory, "cpu_seconds": round(cpu, 2)}
