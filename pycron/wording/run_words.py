"""Words of the views about Runs: how late, how long, and how they ended."""

from pycron.model.in_words import duration_in_words
from pycron.model.instants import parse_rfc3339
from pycron.protocol.control_answers import AttemptRow, RunRow
from pycron.wording.cells import Cell, Tone
from pycron.wording.job_words import end_cell

LATE = 60_000  # milliseconds of a start that one should look at


def lateness_cell(milliseconds: int) -> Cell:
    """How late a start was; a minute is something to look at."""
    tone = Tone.WARN if milliseconds >= LATE else Tone.PLAIN
    return Cell(duration_in_words(milliseconds / 1000), tone)


def took(row: RunRow | AttemptRow, now: float) -> str | None:
    """How long a Run or an Attempt took; how long it has taken so far, if it is running."""
    if row["started"] is None:
        return None
    ended = now if row["ended"] is None else parse_rfc3339(row["ended"])
    return duration_in_words(max(0, ended - parse_rfc3339(row["started"])))


def ended_as(row: RunRow) -> Cell:
    """`failed, exit status 7`, or the state of a Run that has not ended."""
    if row["outcome"] is not None:
        return end_cell(row["outcome"], row["exit_status"], row["signal"])
    waits = row["started"] is None or row["ended"]
    return Cell("waiting", Tone.WARN) if waits else Cell("running", Tone.LIVE)
