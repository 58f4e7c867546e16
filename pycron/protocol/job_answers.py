"""Answers on the control socket about Jobs and fire times; see control_answers.py."""

from typing import NotRequired, TypedDict


class JobRow(TypedDict):
    """`resolved`: the schedule with values instead of a nickname, `~` and `H`.

    `days`: the settings about days, as `CRON_EXCEPT=bavaria`; null without any. `stdin`: the
    command's standard input, which follows the first `%`; None if there is none.
    """

    job: str
    id: str
    table: str
    line: int
    user: str
    schedule: str
    resolved: str
    days: NotRequired[str | None]
    zone: str | None
    command: str
    stdin: NotRequired[str | None]


class PausedRow(TypedDict):
    """The pause of a Job. `until`: when it ends by itself."""

    by: str
    reason: str | None
    until: str | None


class LastRunRow(TypedDict):
    """The last Run of a Job that has ended."""

    run_id: str
    fire_time: str
    outcome: str
    started: str | None
    ended: str | None
    exit_status: int | None
    signal: int | None


class RecentRow(TypedDict):
    """One of the last Runs of a Job that have ended. `seconds`: what its last Attempt took."""

    run_id: str
    outcome: str
    seconds: float | None


class RunsOfJob(TypedDict):
    """What the history says of a Job. `running_since`: the start of its Run that has not ended.

    `usual_seconds`: how long it usually takes.
    """

    last: NotRequired[LastRunRow | None]
    running_since: NotRequired[str | None]
    usual_seconds: NotRequired[float | None]


class ListedJobRow(JobRow, RunsOfJob):
    """A Job, and what JobsRequest.details asks for; the rest is missing without it.

    What the history says is also missing if that cannot be read. `delay`: as in NextRow. `paused`:
    a pause that holds now.
    """

    pool: NotRequired[str | None]
    next_fire_time: NotRequired[str | None]
    delay: NotRequired[int]
    paused: NotRequired[PausedRow | None]


class ShownJobRow(ListedJobRow):
    """A Job as the page shows it.

    `recent`: what JobsRequest.recent asks for, the oldest first. `in_words` and `daylight_saving`:
    its schedule as `pycron explain` says it, if JobsRequest.job asks for one Job.
    """

    recent: NotRequired[list[RecentRow]]
    in_words: NotRequired[str]
    daylight_saving: NotRequired[str | None]


class NextRow(TypedDict):
    """A fire time. `local`: in the zone of the Job. `delay`: seconds to its start (CRON_JITTER).

    `after`: the Jobs that it waits for, of `@after`. `paused`: a pause that holds then.
    """

    line: int
    job: str
    fire_time: str
    local: str
    id: str
    table: str
    user: str
    delay: int
    after: list[str]
    paused: PausedRow | None


class DueRow(JobRow):
    """A Job and a fire time of it."""

    fire_time: str


class CalendarAnswer(TypedDict):
    """The days of a calendar in a year, such as 2026-12-25."""

    days: list[str]


class JobsAnswer(TypedDict):
    """One page. `more`: there are further Jobs, from `position` on."""

    rows: list[ShownJobRow]
    more: bool
    position: NotRequired[int]


class NextAnswer(TypedDict):
    """In the order of time."""

    rows: list[NextRow]
