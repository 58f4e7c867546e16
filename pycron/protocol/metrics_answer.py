"""The answer to `metrics` on the control socket."""

from typing import NotRequired, TypedDict


class HistogramRow(TypedDict):
    """How often a value of seconds was at most each bound, or above all of them; their sum."""

    bounds: list[float]
    buckets: list[int]
    sum: float


class MetricsRow(TypedDict):
    """What is counted of a named Job, or of all the others.

    `ended`: how many Runs have ended with each outcome. `seconds`: how long each Attempt has run.
    `succeeded`: the last success; `next`: the next fire time.
    """

    job: str
    user: str
    ended: dict[str, int]
    seconds: HistogramRow
    succeeded: float | None
    next: NotRequired[int | None]


class MetricsAnswer(TypedDict):
    """`jobs`: the named Jobs. What concerns all users is missing for those who do not see all.

    `other`: all other Jobs. `starts`: how late first Attempts started. `waiting`: by reason.
    `config_is_good`: whether the configuration file can be used as it is now.
    """

    version: str
    since: float
    outcomes: list[str]
    jobs: list[MetricsRow]
    running: int
    waiting: dict[str, int]
    all_jobs: int
    tables: int
    bad_tables: int
    dead_letters: NotRequired[int]
    other: NotRequired[MetricsRow]
    starts: NotRequired[HistogramRow]
    deliveries: NotRequired[dict[str, int]]
    config_is_good: NotRequired[bool]
    store_is_writable: NotRequired[bool]
