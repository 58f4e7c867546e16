"""pycron beside other crons and beside plain spawning: `python bench/compare MEASURE…`, as root.

MEASURE is the name of a measure, the first word of several names (`burst`), or `all`. The tables go
to standard output and, with date, machine and versions, to the end of
bench/results/YYYY-MM-DD.txt.
"""

import argparse
import ctypes
import os
import platform
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from box import Unable, mount_points
from daemons import NAMES, Daemon, build, find
from measures import MEASURES, Plan, Row, Table

_PR_SET_CHILD_SUBREAPER = 36
_RESULTS = Path(__file__).resolve().parent.parent / "results"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="bench/compare", description=f"Measures: {', '.join(MEASURES)}; or all."
    )
    parser.add_argument("measures", nargs="+", metavar="MEASURE")
    parser.add_argument("--daemons", default=",".join(NAMES), help="names with commas, in order")
    parser.add_argument("--program", action="append", default=[], metavar="NAME=PATH",
                        help="the path of a daemon")  # fmt: skip
    parser.add_argument("--pycron", metavar="DIR", default=Path(sys.executable).parent,
                        help="pycron's programs; default: beside this interpreter")  # fmt: skip
    parser.add_argument("--jobs", type=int, default=1000, help="due in the minute of a burst")
    parser.add_argument(
        "--minutes", type=int, default=3, help="measured by burst, flood, first and idle"
    )
    parser.add_argument("--flood", type=int, default=10_000, help="jobs due in a flood")
    parser.add_argument(
        "--limit", type=int, default=200, help="how many jobs of a flood may run at once"
    )
    parser.add_argument("--entries", default="100000,1000000",
                        help="for load; change and idle use the first number")  # fmt: skip
    parser.add_argument("--patience", type=float, default=300,
                        help="seconds after which a busy daemon is given up")  # fmt: skip
    parser.add_argument("--cache", type=Path, default=Path("/tmp/pycron-bench"),
                        help="directory of built and downloaded programs, and boxes")  # fmt: skip
    parser.add_argument("--results", type=Path, default=_RESULTS, help="directory of the results")
    return parser


def main() -> int:
    options = _parser().parse_args()
    wanted = [name for name in MEASURES if _is_wanted(name, options.measures)]
    if not wanted:
        _parser().error(f"no such measure (there are: {', '.join(MEASURES)})")
    if os.geteuid() != 0:
        _parser().error("it needs root: daemons that serve every user, mount namespaces")
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    build(options.cache)
    daemons = _found(options)
    plan = Plan(
        daemons, options.cache, options.jobs, options.minutes, options.flood, options.limit,
        [int(count) for count in options.entries.split(",")], options.patience,
    )  # fmt: skip
    options.results.mkdir(parents=True, exist_ok=True)
    file = options.results / time.strftime("%Y-%m-%d.txt")
    with mount_points():
        _tell(_heading(daemons), file)
        for name in wanted:
            part = replace(plan, unable={})
            table = MEASURES[name](part)
            rows = table.rows + part.rows_of_unable()
            _tell(_text(Table(f"{name}: {table.title}", rows)), file)
    return 0


def _is_wanted(name: str, measures: Sequence[str]) -> bool:
    """Whether a measure was requested, by its name, by the first word of its name, or by `all`."""
    return any(measure in ("all", name, name.partition("-")[0]) for measure in measures)


def _found(options: argparse.Namespace) -> list[Daemon]:
    named = {"pycron": options.pycron, **dict(text.split("=", 1) for text in options.program)}
    daemons: list[Daemon] = []
    for name in options.daemons.split(","):
        try:
            path = named.get(name)
            daemons.append(find(name, Path(path).absolute() if path else None, options.cache))
        except (Unable, subprocess.CalledProcessError) as error:
            print(f"{name} is passed over: {error}", file=sys.stderr)
    return daemons


def _heading(daemons: Sequence[Daemon]) -> str:
    processors = [
        line.partition(": ")[2]
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    load = " ".join(f"{number:.2f}" for number in os.getloadavg())
    lines = [
        f"{time.strftime('%Y-%m-%d %H:%M %Z')}, {os.cpu_count()} x {(processors or ['?'])[0]}",
        f"{platform.freedesktop_os_release().get('PRETTY_NAME', '?')}, kernel"
        f" {platform.release()}, Python {platform.python_version()}, load {load}",
        *(f"{daemon.name}: {daemon.version()}" for daemon in daemons),
    ]
    return "\n".join(lines)


def _text(table: Table) -> str:
    """A table as text with aligned columns: all keys of all rows, in order of appearance."""
    columns = list(dict.fromkeys(key for row in table.rows for key in row))
    shown = [columns, *([_cell(row, column) for column in columns] for row in table.rows)]
    widths = [max(map(len, column)) for column in zip(*shown, strict=True)]
    lines = [
        "  ".join(
            cell.ljust(width) if column in ("daemon", "program", "note") else cell.rjust(width)
            for cell, width, column in zip(row, widths, columns, strict=True)
        ).rstrip()
        for row in shown
    ]
    return "\n".join([table.title, *lines])


def _cell(row: Row, column: str) -> str:
    value = row.get(column, "")
    if isinstance(value, str):
        return value
    if isinstance(value, int) or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.2f}"


def _tell(text: str, file: Path) -> None:
    print(text, end="\n\n", flush=True)
    with file.open("a") as results:
        results.write(text + "\n\n")


if __name__ == "__main__":
    sys.exit(main())
