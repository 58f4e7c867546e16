"""The end of a Run: in words, and as the exit status of the program that has followed it."""

from datetime import datetime

from pycron.model.run import OUTCOME_IN_WORDS, Outcome, status_of
from pycron.model.text import printable
from pycron.protocol.control_answers import RunRow


def run_status(row: RunRow) -> int:
    """The status of its last Attempt, as the shell and timeout(1) would report it."""
    return status_of(_outcome(row), row["exit_status"], row["signal"])


def end_in_words(row: RunRow) -> str:
    """Such as `failed, exit status 3, after 1.2 s`."""
    parts = [OUTCOME_IN_WORDS[_outcome(row)]]
    if row["exit_status"]:
        parts.append(f"exit status {row['exit_status']}")
    if row["signal"]:
        parts.append(f"signal {row['signal']}")
    if row["started"] and row["ended"]:
        took = datetime.fromisoformat(row["ended"]) - datetime.fromisoformat(row["started"])
        parts.append(f"after {took.total_seconds():.1f} s")
    if row["reason"]:
        parts.append(printable(row["reason"]))
    return ", ".join(parts)


def _outcome(row: RunRow) -> Outcome:
    """That of a Run that has ended."""
    return Outcome(str(row["outcome"]))
