"""The end of a Run: in words, and as the exit status of the program that has followed it."""

from pycron.model.in_words import duration_in_words, end_in_words
from pycron.model.instants import parse_rfc3339
from pycron.model.run import Outcome, status_of
from pycron.model.text import printable
from pycron.protocol.control_answers import RunRow


def run_status(row: RunRow) -> int:
    """The status of its last Attempt, as the shell and timeout(1) would report it."""
    return status_of(Outcome(str(row["outcome"])), row["exit_status"], row["signal"])


def end_of_run(row: RunRow) -> str:
    """Such as `failed, exit status 3, after 1.2 s`; of a Run that has ended."""
    text = end_in_words(Outcome(str(row["outcome"])), row["exit_status"], row["signal"])
    if row["started"] and row["ended"]:
        seconds = parse_rfc3339(row["ended"]) - parse_rfc3339(row["started"])
        text += f", after {duration_in_words(seconds)}"
    return f"{text} ({printable(row['reason'])})" if row["reason"] else text
