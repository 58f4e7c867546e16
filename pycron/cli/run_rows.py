"""Runs at the command line: printed in columns, and found by the name of their Job."""

import time
from collections.abc import Iterable
from dataclasses import replace
from enum import Enum

from pycron.cli.errors import Failed
from pycron.cli.printing import print_table
from pycron.cli.table_layout import Column
from pycron.control.client import ControlClient
from pycron.model.in_words import duration_in_words, size_in_words
from pycron.model.run import RunKey
from pycron.protocol.control_answers import RunRow
from pycron.protocol.control_messages import RunsRequest
from pycron.wording.cells import Value
from pycron.wording.clock import Clock
from pycron.wording.run_words import ended_as, lateness_cell, took

_COLUMNS = {
    "when": Column("when"),
    "job": Column("job", least=10),
    "late": Column("late", right=True),
    "took": Column("took", right=True),
    "outcome": Column("outcome", least=9),
    "delivery": Column("delivery", optional=True),
    "reason": Column("reason", least=14, rank=1, optional=True),
    "run": Column("run", rank=2),
    "owner": Column("owner", rank=3),
    "attempts": Column("attempts", right=True, rank=4),
    "cpu": Column("cpu", right=True, rank=5),
    "memory": Column("memory", right=True, rank=5),
    "entry": Column("entry", rank=6),
    "started by": Column("started by", rank=6, optional=True),
}


class RunsForm(Enum):
    """Which columns of Runs a terminal shows, if it is not wide; a file or a pipe gets all."""

    SHORT = "those that tell what happened"
    WITH_IDS = "the same, with the run_id: for those who have to name a Run"
    WIDE = "all, also if the lines are wider than the terminal"


def print_runs(
    rows: Iterable[RunRow], empty: str, clock: Clock, form: RunsForm = RunsForm.SHORT
) -> None:
    names = list(_COLUMNS)
    if form is RunsForm.WITH_IDS:
        names = ["run", *(name for name in names if name != "run")]
    columns = [_COLUMNS[name] for name in names]
    if form is RunsForm.WITH_IDS:
        columns[0] = replace(columns[0], rank=0)
    cells = (_cells(row, clock) for row in rows)
    chosen = ([by_name[name] for name in names] for by_name in cells)
    print_table(columns, chosen, empty, clock.title, whole=form is RunsForm.WIDE)


def _cells(row: RunRow, clock: Clock) -> dict[str, Value]:
    late, cpu, memory = row["lateness_ms"], row["cpu_seconds"], row["memory_peak_bytes"]
    return {
        "when": clock.at_text(row["started"] or row["fire_time"]),
        "job": row["job"],
        "late": None if late is None else lateness_cell(late),
        "took": took(row, clock.now),
        "outcome": ended_as(row),
        "delivery": row.get("delivery"),
        "reason": row["reason"],
        "run": row["run_id"],
        "owner": row["user"],
        "attempts": str(row["attempts"]),
        "cpu": None if cpu is None else duration_in_words(cpu),
        "memory": None if memory is None else size_in_words(memory),
        "entry": f"{row['table']}:{row['line']}",
        "started by": row["started_by"],
    }


def run_id_in(text: str) -> str | None:
    """The run_id that a text is; None for the name or the id of a Job."""
    try:
        return str(RunKey.parse(text))
    except ValueError:
        return None


def find_run(client: ControlClient, text: str) -> str:
    """The run_id in a text, or that of the last Run of the Job whose name or id it is.

    If several users have a Job of this name, it is one's own. Raises ControlError if it is not
    clear which one is meant, and Failed if the Job has not run.
    """
    if run_id := run_id_in(text):
        return run_id
    begun = int(time.time()) + 1  # the daemon may have recorded Runs that are due in a moment
    rows = client.request(RunsRequest(job=text, one=True, limit=1, until=begun))["rows"]
    if not rows:
        raise Failed(f"{text}: it has not run yet")
    return rows[0]["run_id"]
