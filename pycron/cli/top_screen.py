"""The screen of `pycron top`: its lines, which rows there is room for, and the chosen one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from pycron.cli.printing import cut, line_width, paint, table_lines
from pycron.cli.process_costs import UNKNOWN, Cost
from pycron.cli.table_layout import Column
from pycron.model.in_words import duration_in_words, size_in_words
from pycron.model.instants import parse_rfc3339
from pycron.model.text import printable
from pycron.protocol.control_answers import LiveRow, TopAnswer
from pycron.protocol.job_answers import DueRow
from pycron.wording.cells import Cell, Tone, Value
from pycron.wording.clock import Clock
from pycron.wording.job_words import scope_cell

_RUNNING = (
    Column("", optional=True),
    Column("job", least=10),
    Column("for", right=True),
    Column("cpu", right=True),
    Column("memory", right=True, rank=1),
    Column("owner", rank=2),
    Column("attempt", right=True, rank=4),
    Column("pid", right=True, rank=3),
    Column("command", least=16, rank=5),
)
_WAITING = (
    Column("job", least=10),
    Column("waits for", least=16),
    Column("planned", rank=1),
    Column("owner", rank=2),
    Column("priority", right=True, rank=4),
)
_NEXT = (
    Column("next"),
    Column("in", right=True),
    Column("job", least=10),
    Column("owner", rank=2),
    Column("command", least=16, rank=5),
)
_HEAD = 2  # lines of a section besides its rows: an empty one, and the titles


class Order(Enum):
    """What the running commands are sorted by; the value is what the screen says."""

    AGE = "the longest first"
    MEMORY = "most memory first"
    CPU = "most processor time first"
    JOB = "by Job"

    @property
    def following(self) -> "Order":
        orders = list(Order)
        return orders[(orders.index(self) + 1) % len(orders)]


@dataclass(frozen=True, slots=True)
class View:
    """What the daemon answered, and how it is to be shown.

    `chosen`: the running Run that a key would end. `costs`: by pid.
    """

    answer: TopAnswer
    costs: Mapping[int, Cost]
    clock: Clock
    order: Order = Order.AGE
    chosen: str | None = None

    def running(self) -> list[LiveRow]:
        """The running Runs in the order in which they are shown."""
        return sorted(self.answer["running"], key=self._key)

    def _key(self, row: LiveRow) -> tuple[float, str]:
        cost = self.costs.get(row["pid"] or 0, UNKNOWN)
        match self.order:
            case Order.MEMORY:
                return -(cost.memory or 0), row["job"]
            case Order.CPU:
                return -(cost.cpu or 0), row["job"]
            case Order.JOB:
                return 0, row["job"]
        return parse_rfc3339(row["started"]) if row["started"] else self.clock.now, row["job"]


def lines_of(view: View, height: int | None) -> list[str]:
    """The lines of the screen: at most `height`, None: as many as there are rows."""
    head = [*_summary(view)]
    answer = view.answer
    sections: list[tuple[Sequence[Column], list[list[Value]]]] = [
        (_RUNNING, [_running(row, view) for row in view.running()]),
        (_WAITING, [_waiting(row, view.clock) for row in answer["waiting"]]),
        (_NEXT, [_next(row, view.clock) for row in answer["next"]]),
    ]
    sections = [(columns, rows) for columns, rows in sections if rows]
    if height is not None:
        head = head[: max(1, height - 1)]
        room = height - len(head) - _HEAD * len(sections)
        shares = share_out(room, [len(rows) for _, rows in sections])
        sections = [
            (columns, rows[:share]) for (columns, rows), share in zip(sections, shares, strict=True)
        ]
    lines = head
    for columns, rows in sections:
        if rows:
            lines += ["", *table_lines(columns, rows)]
    return lines


def share_out(room: int, needs: Sequence[int]) -> list[int]:
    """How many of `room` lines each section gets: what it needs, or else as much as the others."""
    shares = [0] * len(needs)
    left = max(0, room)
    while left:
        hungry = [i for i, need in enumerate(needs) if shares[i] < need]
        if not hungry:
            break
        for i in hungry[:left]:
            shares[i] += 1
        left -= len(hungry[:left])
    return shares


def _summary(view: View) -> list[str]:
    answer = view.answer
    counts, limits = answer["counts"], answer["limits"]
    used = [f"{name} {use[0]}/{use[1]}" for name, use in limits.items() if isinstance(use, list)]
    words = f"{counts['running']} running, {counts['waiting']} waiting"
    said = [Cell(", ".join([words, *used]), Tone.STRONG)]
    if limits["closed"]:
        said.append(Cell(f"nothing begins: {limits['closed']}", Tone.BAD))
    said += [scope_cell(row, view.clock) for row in answer["pauses"]]
    width = line_width()
    shown = [Cell(printable(cell.text), cell.tone) for cell in said]
    return [paint(cell if width is None else cut(cell, width)) for cell in shown]


def _running(row: LiveRow, view: View) -> list[Value]:
    cost = view.costs.get(row["pid"] or 0, UNKNOWN)
    began = row["started"] and view.clock.now - parse_rfc3339(row["started"])
    chosen = row["run_id"] == view.chosen
    return [
        Cell(">", Tone.STRONG) if chosen else None,
        Cell(row["job"], Tone.STRONG if chosen else Tone.LIVE),
        None if began is None or began == "" else duration_in_words(max(0, round(began))),
        None if cost.cpu is None else duration_in_words(cost.cpu),
        None if cost.memory is None else size_in_words(cost.memory),
        row["user"],
        str(row["attempt"]),
        None if row["pid"] is None else str(row["pid"]),
        Cell(row["command"], Tone.FAINT),
    ]


def _waiting(row: LiveRow, clock: Clock) -> list[Value]:
    return [
        row["job"],
        Cell(row["why"] or row["state"], Tone.WARN),
        None if row["planned"] is None else clock.at_text(row["planned"]),
        row["user"],
        str(row["priority"]),
    ]


def _next(row: DueRow, clock: Clock) -> list[Value]:
    away = parse_rfc3339(row["fire_time"]) - clock.now
    return [
        clock.at_text(row["fire_time"]),
        duration_in_words(max(0, round(away))),
        row["job"],
        row["user"],
        Cell(row["command"], Tone.FAINT),
    ]
