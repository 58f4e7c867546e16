"""docs/tour.md: each command runs, and prints what the page shows.

`python -m tests.integration.test_tour` writes the outputs into the page.
"""

import getpass
import os
import re
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.support.pseudo_terminal import show
from tests.support.running_daemon import program
from tests.support.waiting import until

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "tour.md"
_BLOCK = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_DAY = r"(?:(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)[a-z]* )?"
_MONTH = r"(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)"

# What differs from one tour to the next, in the order in which it is looked for.
_MASKS = [
    (r"\s+", " "),
    (r"\b[0-9a-f]{16}-\d{8}T\d{6}Z(-\d+)?", "RUN"),
    (r"\b\d{4}-\d\d-\d\d(T[0-9:.]+(Z|[+-]\d\d:\d\d)?)?", "DATE"),
    (rf"\b{_DAY}{_MONTH} \d+\b", "DATE"),
    (r"\b(\d+ d \d+ h|\d+ h \d+ min|\d+ min \d+ s|\d+(\.\d+)? (ms|s|min|h|d))\b", "DURATION"),
    (r"\bin a moment|\bnow\b|\bat once\b", "DURATION"),
    (r"\b\d\d:\d\d(:\d\d)?\b", "TIME"),
    (r"\b\d+(\.\d+)? (KiB|MiB|bytes)", "SIZE"),
    (r"\bin DURATION", "DURATION"),
    (r"(DATE )?TIME", "DATE"),
    (r"\b\d+ on record", "SOME on record"),
    (r"\b\d{3,7}\b", "NUMBER"),
]  # fmt: skip


_DEPENDS_ON_THE_TIME = {"WAS", "MATCHES"}  # columns of `why`


@dataclass(frozen=True)
class Step:
    command: str
    printed: str


def steps(page: str) -> list[Step]:
    """The commands of the page, and what it says that they print."""
    found = []
    for block in _BLOCK.findall(page):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, printed = part.partition("\n")
            found.append(Step(command, printed))
    return found


class Tour:
    """Runs commands as a person would type them, one after the other, in one directory."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._daemon: subprocess.Popen[bytes] | None = None
        programs = home / "bin"
        programs.mkdir()
        for name in ("pycron", "pycrond", "pycrontab"):
            path = programs / name
            path.write_text(f'#!/bin/sh\nexec {shlex.join(program(name))} "$@"\n')
            path.chmod(0o755)
        (home / "state of the shell").write_text("")
        self._environment = {
            "PATH": f"{programs}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "HOME": str(home),
            "USER": getpass.getuser(),
            "TZ": "Europe/Berlin",
            "NO_COLOR": "1",
        }

    def run(self, command: str) -> str:
        """What a command prints on a terminal."""
        if command == "kill %1":
            self.close()
            return ""
        if command.startswith("pycron start"):
            # A later command asks what happened `now`, which is this minute.
            until(lambda: time.time() % 60 < 40, 30)
        state = shlex.quote(str(self._home / "state of the shell"))
        if command.endswith(" &"):
            self._begin(f". {state}; exec {command.removesuffix(' &')}")
            return ""
        script = f"cd {self._home}; . {state}; {command}\n{{ export -p; echo cd $PWD; }} >{state}"
        user = getpass.getuser()
        columns = 100 + len(user) - len("anna")  # the other columns have the room of the page
        shown = show(["bash", "-c", script], columns=columns, environment=self._environment)
        return shown.text.replace(str(self._home), "/home/anna").replace(user, "anna")

    def _begin(self, script: str) -> None:
        with open(self._home / "log", "wb") as log:
            self._daemon = subprocess.Popen(
                ["bash", "-c", script], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                env={**os.environ, **self._environment},
            )  # fmt: skip
        until((self._home / "tour/state/pycron.sock").is_socket)

    def close(self) -> None:
        if self._daemon is not None:
            self._daemon.terminate()
            self._daemon.wait(30)
            self._daemon = None


def masked(text: str, columns: Collection[str]) -> str:
    """The text without what differs from one tour to the next; of tables only these columns."""
    text = "\n".join(_only(text.splitlines(), columns))
    for pattern, name in _MASKS:
        text = re.sub(pattern, name, text)
    return text.strip()


def _only(lines: Iterable[str], columns: Collection[str]) -> Iterator[str]:
    kept: list[int] | None = None
    for line in lines:
        cells = re.split(" {2,}", line.strip())
        if _is_head(line):
            kept = [place for place, title in enumerate(cells) if title in columns]
        elif not line:
            kept = None
        yield line if kept is None else "  ".join(cells[place] for place in kept)


def _is_head(line: str) -> bool:
    return bool(re.fullmatch(r" *[A-Z/_ ]+", line)) and "  " in line.strip()


def columns_in(text: str) -> set[str]:
    """The titles of the tables in a text: which of them fit depends on the length of names."""
    heads = [line for line in text.splitlines() if _is_head(line)]
    return {title for line in heads for title in re.split(" {2,}", line.strip())}


def test_the_tour(tmp_path: Path) -> None:
    tour = Tour(tmp_path)
    try:
        for step in steps(PAGE.read_text()):
            if step.command == "pycron status":  # a Job may be running at this very moment
                until(lambda: " 0 running" in tour.run("pycron status"))
            printed = tour.run(step.command)
            columns = (columns_in(printed) & columns_in(step.printed)) - _DEPENDS_ON_THE_TIME
            assert masked(printed, columns) == masked(step.printed, columns), step.command
            assert len(columns) >= min(2, len(columns_in(step.printed)))
    finally:
        tour.close()


def main() -> int:
    """Write what the commands print into the page."""
    with tempfile.TemporaryDirectory() as directory:
        tour = Tour(Path(directory))
        try:
            new = _BLOCK.sub(lambda block: _printed_anew(tour, block[1]), PAGE.read_text())
        finally:
            tour.close()
    PAGE.write_text(new)
    return 0


def _printed_anew(tour: Tour, block: str) -> str:
    text = "```console\n"
    for step in steps(f"```console\n{block}```\n"):
        lines = [line.rstrip() for line in tour.run(step.command).splitlines()]
        text += "\n".join([f"$ {step.command}", *lines, ""])
    return text + "```"


if __name__ == "__main__":
    sys.exit(main())
