"""`pycron top`: what runs, what waits and why, and what comes next."""

import argparse
import contextlib
import shutil
import signal
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from pycron.cli.arguments import positive
from pycron.cli.clock import clock_for
from pycron.cli.daemon_choice import client_for
from pycron.cli.keyboard import DOWN, UP, next_key, single_keys
from pycron.cli.printing import cut, paint, print_json, write_line
from pycron.cli.process_costs import UNKNOWN, Cost, costs_of
from pycron.cli.terminal import raw
from pycron.cli.top_screen import View, lines_of
from pycron.cli.verb import verb
from pycron.control.client import ControlClient, ControlError
from pycron.model.text import printable
from pycron.protocol.control_messages import KillRequest, TopRequest
from pycron.wording.cells import Cell, Tone

_EVERY = 2.0  # seconds between two requests on a terminal
_BEGIN = "\x1b[?1049h\x1b[?25l"  # a screen of its own, without a cursor
_END = "\x1b[?25h\x1b[?1049l"
_HOME, _END_OF_LINE, _REST = "\x1b[H", "\x1b[K", "\x1b[J"
_KEYS = "q quit   s sort   arrows choose   k kill"
_TERMINATED = 128 + signal.SIGTERM


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--limit", type=positive, metavar="N", default=20,
                        help="at most N of each; default: 20, on a terminal what fits")  # fmt: skip
    parser.add_argument("--once", action="store_true",
                        help="print it once, also on a terminal")  # fmt: skip


@verb("top", "Show what runs, what waits and why, and what comes next.", _arguments)
def top(options: argparse.Namespace) -> None:
    """On a terminal again and again, until it is interrupted; otherwise once."""
    client = client_for(options)
    if options.json:
        answer = client.request(TopRequest(options.limit))
        costs = costs_of(row["pid"] for row in answer["running"])
        print_json(
            [{**answer, "running": [_with_cost(dict(row), costs) for row in answer["running"]]}]
        )
    elif options.once or not sys.stdout.isatty():
        for line in lines_of(_view(client, options, options.limit), None):
            write_line(line)
    else:
        _watch(client, options)


def _with_cost(row: dict[str, object], costs: dict[int, Cost]) -> dict[str, object]:
    pid = row["pid"]
    cost = costs.get(pid, UNKNOWN) if isinstance(pid, int) else UNKNOWN
    return {**row, "memory_bytes": cost.memory, "cpu_seconds": cost.cpu}


def _view(client: ControlClient, options: argparse.Namespace, limit: int) -> View:
    answer = client.request(TopRequest(limit))
    return View(answer, costs_of(row["pid"] for row in answer["running"]), clock_for(options))


# ---- on a terminal


@dataclass(slots=True)
class _Screen:
    """What is shown, and what its user does. `says`: in the last line, instead of the keys."""

    client: ControlClient
    options: argparse.Namespace
    view: View
    says: str = ""
    asks_about: str | None = field(default=None)  # the Run that is killed if the answer is yes

    def draw(self) -> None:
        width, height = shutil.get_terminal_size()
        footer = self.says or f"{_KEYS}   running: {self.view.order.value}"
        tone = Tone.WARN if self.says else Tone.FAINT
        last = paint(cut(Cell(printable(footer), tone), width))
        lines = lines_of(self.view, height - 1)
        lines += [""] * (height - 1 - len(lines))
        stream = raw(sys.stdout)
        text = "\n".join([f"{line}{_END_OF_LINE}" for line in [*lines, last]])
        stream.write(_HOME + text.encode(stream.encoding, "replace").decode(stream.encoding))
        stream.write(_REST)
        stream.flush()

    def refresh(self) -> None:
        """Ask again: as many rows as the terminal has lines."""
        new = _view(self.client, self.options, shutil.get_terminal_size().lines)
        self.view = replace(new, order=self.view.order, chosen=self.view.chosen)

    def press(self, key: str) -> bool:
        """Do what a key is for; False if it ends the program."""
        if self.asks_about is not None:
            self._answer(yes=key in "yY")
        elif key == "s":
            self.view = replace(self.view, order=self.view.order.following)
        elif key in (UP, DOWN):
            self._choose(-1 if key == UP else 1)
        elif key == "k":
            self._ask()
        return key != "q"

    def _choose(self, step: int) -> None:
        runs = [row["run_id"] for row in self.view.running()]
        if runs:
            now = runs.index(self.view.chosen) + step if self.view.chosen in runs else 0
            self.view = replace(self.view, chosen=runs[min(max(now, 0), len(runs) - 1)])

    def _ask(self) -> None:
        rows = {row["run_id"]: row for row in self.view.answer["running"]}
        chosen = rows.get(self.view.chosen or "")
        if chosen is None:
            self.says = "choose a running Job first: arrow up or down"
            return
        self.asks_about = chosen["run_id"]
        self.says = f"end {chosen['job']} of {chosen['user']} (pid {chosen['pid']})? y or n"

    def _answer(self, *, yes: bool) -> None:
        run_id, self.asks_about, self.says = self.asks_about, None, ""
        if yes:
            try:
                self.client.request(KillRequest(run_id or ""))
                self.says = f"{run_id} is being ended"
            except ControlError as error:
                self.says = str(error)


def _watch(client: ControlClient, options: argparse.Namespace) -> None:
    lines = shutil.get_terminal_size().lines
    screen = _Screen(client, options, _view(client, options, lines))
    with _own_screen(), single_keys(), contextlib.suppress(KeyboardInterrupt):
        while True:
            screen.draw()
            key = next_key(_EVERY)
            if key is not None and not screen.press(key):
                return
            if key is None:
                if screen.asks_about is None:
                    screen.says = ""
                screen.refresh()


@contextlib.contextmanager
def _own_screen() -> Iterator[None]:
    """Within, the program has the screen; afterwards the terminal shows what it showed before."""
    stream = raw(sys.stdout)
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(_TERMINATED))
    stream.write(_BEGIN)
    try:
        yield
    finally:
        stream.write(_END)
        stream.flush()
        signal.signal(signal.SIGTERM, before)
