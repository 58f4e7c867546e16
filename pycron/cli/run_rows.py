"""Runs at the command line: printed in columns, and found by the name of their Job."""

import time
from collections.abc import Iterable

from pycron.cli.errors import Failed
from pycron.cli.printing import print_columns
from pycron.control.client import ControlClient
from pycron.model.run import RunKey
from pycron.protocol.control_answers import RunRow
from pycron.protocol.control_messages import RunsRequest

_COLUMNS = (
    ("run_id", "run"), ("job", "job"), ("user", "user"), ("fire_time", "fire time"),
    ("lateness_ms", "late ms"), ("attempts", "attempts"), ("ended_as", "outcome"),
    ("reason", "reason"),
)  # fmt: skip


def print_runs(rows: Iterable[RunRow], empty: str) -> None:
    print_columns(_COLUMNS, [{**row, "ended_as": _ended_as(row)} for row in rows], empty)


def _ended_as(row: RunRow) -> str:
    """`failed (9)`, `killed (15)`, or the state of a Run that has not ended."""
    if row["outcome"] is None:
        return "waiting" if row["started"] is None or row["ended"] else "running"
    number = row["exit_status"] or row["signal"]
    return f"{row['outcome']} ({number})" if number else row["outcome"]


def find_run(client: ControlClient, text: str) -> str:
    """The run_id in a text, or that of the last Run of the Job whose name or id it is.

    If several users have a Job of this name, it is one's own. Raises ControlError if it is not
    clear which one is meant, and Failed if the Job has not run.
    """
    try:
        return str(RunKey.parse(text))
    except ValueError:
        begun = int(time.time()) + 1  # the daemon may have recorded Runs that are due in a moment
        rows = client.request(RunsRequest(job=text, one=True, limit=1, until=begun))["rows"]
    if not rows:
        raise Failed(f"{text}: it has not run yet")
    return rows[0]["run_id"]
