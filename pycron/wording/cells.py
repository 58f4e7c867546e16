"""A value and what its colour says."""

from enum import Enum
from typing import NamedTuple

from pycron.model.run import Outcome


class Tone(Enum):
    """What a colour says; the value is a style of rich."""

    PLAIN = ""
    GOOD = "green"
    BAD = "bold red"
    WARN = "yellow"
    LIVE = "cyan"
    FAINT = "bright_black"
    STRONG = "bold"


class Cell(NamedTuple):
    """A value and what its colour says."""

    text: str
    tone: Tone = Tone.PLAIN


Value = str | Cell | None  # None: there is none; a table shows "-", a page leaves its line out

_OUTCOME_TONES = {
    Outcome.SUCCEEDED: Tone.GOOD,
    Outcome.FAILED: Tone.BAD,
    Outcome.TIMED_OUT: Tone.BAD,
    Outcome.OUT_OF_MEMORY: Tone.BAD,
    Outcome.LOST: Tone.BAD,
    Outcome.KILLED: Tone.WARN,
    Outcome.MISSED: Tone.WARN,
    Outcome.SKIPPED: Tone.FAINT,
    Outcome.CANCELLED: Tone.FAINT,
}


def outcome_tone(outcome: str | None) -> Tone:
    """The colour of an outcome, by its word in JSON; None: of a Run that has not ended."""
    return Tone.LIVE if outcome is None else _OUTCOME_TONES[Outcome(outcome)]
