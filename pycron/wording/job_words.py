"""Words of the views about Jobs: pauses, and how their Runs ended."""

from pycron.model.in_words import duration_in_words, end_in_words
from pycron.model.run import Outcome
from pycron.protocol.control_answers import PauseRow
from pycron.protocol.job_answers import NextRow, PausedRow
from pycron.wording.cells import Cell, Tone, outcome_tone
from pycron.wording.clock import Clock


def end_cell(outcome: str, exit_status: int | None, signal: int | None) -> Cell:
    """How a Run or an Attempt ended, in words and in the colour of its outcome."""
    return Cell(end_in_words(Outcome(outcome), exit_status, signal), outcome_tone(outcome))


def waits_for(row: NextRow, clock: Clock) -> Cell | None:
    """What the Run of a fire time waits for, or why there will be none; None: it starts then."""
    if row["paused"] is not None:
        return pause_cell(row["paused"], clock)
    parts = [f"after {' and '.join(row['after'])}"] if row["after"] else []
    if row["delay"]:
        parts.append(f"starts {duration_in_words(row['delay'])} later")
    return Cell(", ".join(parts)) if parts else None


def scope_cell(row: PauseRow, clock: Clock) -> Cell:
    """What is paused, by whom and until when: `all Jobs: paused by root`."""
    pause: PausedRow = {"by": row["by"], "reason": row["reason"], "until": row["until"]}
    return Cell(f"{row['what']}: {pause_cell(pause, clock).text}", Tone.WARN)


def pause_cell(pause: PausedRow, clock: Clock) -> Cell:
    """`paused by root until 15:00: maintenance`."""
    until = "" if pause["until"] is None else f" until {clock.at_text(pause['until'])}"
    reason = f": {pause['reason']}" if pause["reason"] else ""
    return Cell(f"paused by {pause['by']}{until}{reason}", Tone.WARN)
