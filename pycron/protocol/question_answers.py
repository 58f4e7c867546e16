"""Answers on the control socket from which `pycron stats`, `calendar` and `simulate` compute.

See control_answers.py for the rules. Instants are UTC seconds here.
"""

from typing import TypedDict


class SampleRow(TypedDict):
    """A recorded Job and its newest Runs that have ended, the oldest first: a list for each fact.

    `seconds`: what the last Attempt took. `lateness_ms` is null for a Run that a user started, and
    both are null for a Run without an Attempt.
    """

    job: str
    id: str
    table: str
    line: int
    user: str
    fire_times: list[int]
    lateness_ms: list[int | None]
    seconds: list[float | None]
    outcomes: list[str]


class SamplesAnswer(TypedDict):
    """One page. `after`: from where the next page continues; null on the last one."""

    rows: list[SampleRow]
    after: int | None


class StartsAnswer(TypedDict):
    """How many Runs were started in each minute, the first one first."""

    counts: list[int]


class TableTextAnswer(TypedDict):
    """A part of the text of a table; `table` is null behind the last table.

    `owner`: null for a table with a user column. `host`: the value that `~`, `H` and CRON_JITTER
    depend on. `rest`: where the next part begins; null if this is the last one.
    """

    table: str | None
    owner: str | None
    host: str
    text: str
    rest: int | None
