"""Captures the output of every view on terminals of two sizes.

    python bench/captures.py DIRECTORY

Daemons with 0, 3, 200 and 10,000 Jobs, one of them with a long name; and no daemon at all.
DIRECTORY gets a file for each view, size and number of Jobs. A line that is wider than its terminal
is an error.
"""

import os
import re
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.support.pseudo_terminal import Shown, show
from tests.support.running_daemon import foreground, program

SIZES = [(80, 24), (160, 50)]
JOBS = [0, 3, 200, 10_000]
LONG = "a-name-that-is-longer-than-any-column-of-a-small-terminal"
FIRST = f"""CRON_NAME=backup @every 5s echo begin; echo 'no space left on device'; exit 7
CRON_NAME={LONG} CRON_TZ=Asia/Tokyo 0 9 * * 1-5 /usr/local/bin/report --{"long" * 30}
CRON_NAME=sync @every 3s sleep 2
"""
VIEWS = {
    "list": ["list"],
    "next": ["next", "--count", "20"],
    "runs": ["runs"],
    "show": ["show", "backup"],
    "why": ["why", "backup", "now"],
    "status": ["status"],
    "top": ["top"],
}


def table(jobs: int) -> str:
    lines = FIRST.splitlines()[:jobs]
    lines += [
        f"{n % 60} {n // 60 % 24} * * * /usr/local/bin/job --number {n}" for n in range(3, jobs)
    ]
    return "# a table\n" + "".join(f"{line}\n" for line in lines)


def main() -> None:
    directory = Path(sys.argv[1])
    directory.mkdir(parents=True, exist_ok=True)
    too_wide = 0
    for jobs in JOBS:
        with (
            tempfile.TemporaryDirectory() as scratch,
            foreground(table(jobs), Path(scratch), "--allow-empty") as daemon,
        ):
            daemon.wait_for("table_loaded")
            time.sleep(8 if jobs else 0)  # some Runs
            too_wide += capture(directory, Path(scratch) / "state", f"{jobs}-jobs")
    too_wide += capture(directory, Path("/nonexistent"), "no-daemon")
    sys.exit(1 if too_wide else 0)


def capture(directory: Path, state: Path, name: str) -> int:
    """Write a file for each view and size; how many lines were too wide."""
    too_wide = 0
    for view, words in VIEWS.items():
        for columns, rows in SIZES:
            shown = on_a_terminal(state, words, columns, rows)
            lines = last_screen(shown)
            # A message goes to the standard error, and the terminal breaks its line.
            wide = [line for line in lines if len(line) > columns and line[:8] != "pycron: "]
            for line in wide:
                print(f"{view}, {name}, {columns}x{rows}: {len(line)} characters: {line}")
            too_wide += len(wide)
            path = directory / f"{view}-{name}-{columns}x{rows}.txt"
            path.write_text("".join(f"{line}\n" for line in lines))
    return too_wide


def on_a_terminal(state: Path, words: list[str], columns: int, rows: int) -> Shown:
    command = program("pycron", "--state-dir", state, *words)
    return show(command, columns, rows, keys=OneKey() if words == ["top"] else None)


class OneKey:
    """Types q once, when the first screen is there."""

    typed = False

    def __call__(self, shown: str) -> bytes:
        if self.typed or "\x1b[J" not in shown:
            return b""
        self.typed = True
        return b"q"


def last_screen(shown: Shown) -> list[str]:
    """The lines that were shown; of a program with a screen of its own, the last ones."""
    last = shown.raw.split("\x1b[H")[-1].replace("\r", "")
    return [line.rstrip() for line in re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", last).splitlines()]


if __name__ == "__main__":
    os.environ["PYTHONPATH"] = str(Path(__file__).parents[1])  # for the programs
    main()
