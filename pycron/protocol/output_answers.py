"""Answers on the control socket about what commands print; see control_answers.py for the rules."""

from typing import TypedDict


class FollowedRow(TypedDict):
    """An Attempt. `output_bytes`: how long its output is by now. `outcome`: None while it runs."""

    run_id: str
    job: str
    attempt: int
    output_bytes: int
    outcome: str | None


class FollowAnswer(TypedDict):
    """`last`: the number of the last end. `forgotten`: so many Attempts ended, and are not listed.

    An Attempt is in `running` until it is in `ended`.
    """

    running: list[FollowedRow]
    ended: list[FollowedRow]
    last: int
    forgotten: int


class FoundLine(TypedDict):
    """A line of the output of an Attempt."""

    run_id: str
    job: str
    fire_time: str
    attempt: int
    line: str


class SearchAnswer(TypedDict):
    """Newest Run first. `before`: from where the search continues; None: all Runs were searched.

    `cut`: the last Run has more such lines.
    """

    rows: list[FoundLine]
    before: int | None
    cut: bool
