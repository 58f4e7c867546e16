"""Answers on the control socket: the keys of each answer and of its rows.

`--json` prints the rows as they are; pycron(1) documents their keys. So a key keeps its name and
its meaning, and a key that a later version adds is NotRequired: an older daemon leaves it out.
Instants are RFC 3339 texts unless a docstring says otherwise, durations are seconds, sizes bytes.
"""

from typing import NotRequired, TypedDict

from pycron.protocol.job_answers import DueRow

# ---- rows: the keys that --json shows


class RunRow(TypedDict):
    """A Run: it starts with its first Attempt and ends with its last Attempt.

    `dead`: it is a dead letter. `delivery`: its kind and occasion, if it tells about another Run;
    `about`: that Run. `zone`: of its schedule.
    """

    run_id: str
    job: str
    table: str
    line: int
    user: str
    fire_time: str
    started: str | None
    ended: str | None
    attempts: int
    outcome: str | None
    exit_status: int | None
    signal: int | None
    lateness_ms: int | None
    cpu_seconds: float | None
    memory_peak_bytes: int | None
    reason: str | None
    started_by: str | None
    dead: NotRequired[bool]
    delivery: NotRequired[str | None]
    about: NotRequired[str | None]
    zone: NotRequired[str | None]


class RunDetails(RunRow):
    """A Run and what its entry said. `stdin`: what its entry says now."""

    schedule: str
    command: str
    stdin: NotRequired[str | None]


class AttemptRow(TypedDict):
    attempt: int
    pid: int | None
    started: str | None
    ended: str | None
    outcome: str | None
    exit_status: int | None
    signal: int | None
    cpu_seconds: float | None
    memory_peak_bytes: int | None
    output_bytes: int | None
    reason: str | None


class LiveRow(TypedDict):
    """A Run that has not ended. `planned`: when it starts, or should have started.

    `usual_seconds`: how long its Job usually takes, if TopRequest.usual asks for it.
    """

    run_id: str
    job: str
    user: str
    state: str
    attempt: int
    planned: str | None
    started: str | None
    pid: int | None
    priority: int
    why: str | None
    command: str
    usual_seconds: NotRequired[float | None]


class PauseRow(TypedDict):
    """`scope` is for programs, `what` is the same in words."""

    scope: str
    what: str
    since: str
    until: str | None
    by: str
    reason: str | None


class ProblemRow(TypedDict):
    file: str
    line: int
    column: int
    severity: str
    code: str
    message: str


class StateRow(TypedDict):
    """A Run, and its state before the request. `job`: its name."""

    run_id: str
    state: str
    job: NotRequired[str]


class FieldRow(TypedDict):
    """One of the five fields: what it says, what the clock showed."""

    field: str
    says: str
    was: int
    matches: bool


class FireTimeRow(TypedDict):
    """A fire time in UTC and in the Job's zone."""

    fire_time: str
    local: str


class WhyRow(TypedDict):
    """The diagnosis of one Job at a time. `gone`: its entry was removed.

    `paused`: whether a pause holds at that time. `path`: the PATH of its command.
    """

    job: str
    id: str
    table: str
    line: int
    user: str
    schedule: str
    zone: str
    time: str
    verdict: str
    reason: str
    notes: list[str]
    fields: list[FieldRow]
    before: FireTimeRow | None
    after: FireTimeRow | None
    runs: list[RunRow]
    gone: bool
    paused: NotRequired[bool]
    path: NotRequired[str | None]


class ProcessRow(TypedDict):
    pid: int
    memory_bytes: int
    cpu_seconds: float


class ConfigRow(TypedDict):
    """The configuration file, and in what it differs from the options in force.

    `error`: why the file cannot be used. `at_reload`: the options that a reload would change.
    `at_start`: those that take effect at the next start.
    """

    file: str | None
    error: str | None
    at_reload: list[str]
    at_start: list[str]


class CountsRow(TypedDict):
    running: int
    waiting: int


# ---- answers


class Refused(TypedDict):
    """The answer to a request that is refused. `problems`: those of a table that has errors."""

    error: str
    problems: NotRequired[list[ProblemRow]]


class StatusRow(TypedDict):
    """What an answer and `pycron status --json` have in common.

    `runs` is None if the store cannot be read.
    """

    version: str
    mode: str
    state: str
    zone: str
    zone_data: str
    store_failure: str | None
    unwritten: int
    processes: dict[str, ProcessRow]
    runs: int | None
    tables: int
    problems: int
    jobs: int
    running: int
    waiting: int
    paused: int


class ClusterRow(TypedDict):
    """How this host and its cluster are. `problem`: why it can run no shared Jobs at present.

    `offset`: how many seconds its clock is ahead of the database's. `undecided`: how many fire
    times wait for the database. `broker`: why it cannot publish what waits in queues.
    """

    name: str
    host: str
    problem: str | None
    drained: bool
    hosts: list[str]
    offset: float
    undecided: int
    broker: NotRequired[str | None]


class StatusAnswer(StatusRow):
    """`since` and `next_fire_time` are UTC seconds. `mail`: how mail is sent, or why none is.

    `config`: only for those who see everything. `other_crons`: a sentence about each other cron
    that would run the same jobs. `cluster`: None on a host that is in none.
    """

    since: float
    next_fire_time: float | None
    mail: NotRequired[str]
    other_crons: NotRequired[list[str]]
    config: NotRequired[ConfigRow]
    cluster: NotRequired[ClusterRow | None]


class HealthAnswer(TypedDict):
    """`reasons`: what is wrong. `runner_reads`: the runner has read all that was sent to it."""

    reasons: list[str]
    runner_reads: bool
    tables: int
    jobs: int
    running: int


class RunsAnswer(TypedDict):
    """One page, newest first. `before`: from where the next page continues."""

    rows: list[RunRow]
    before: int | None


class RefusedRow(TypedDict):
    """Fire times of a user from `first` to `last` that got no Run: `fire_times` of them."""

    user: str
    first: str
    last: str
    fire_times: int
    reason: str


class RefusedAnswer(TypedDict):
    """Newest first."""

    rows: list[RefusedRow]


class RunAnswer(TypedDict):
    """`deliveries`: the Runs that tell about this Run."""

    row: RunDetails
    attempts: list[AttemptRow]
    deliveries: NotRequired[list[RunRow]]


class OutputAnswer(TypedDict):
    """A part of an Attempt's output.

    `data` is base64. `more`: the next part exists already. `ended`: no more will come. `over`: the
    Run has ended. `attempts`: how many the Run has. `outcome` and `output_bytes` are those of the
    Attempt. `why`: what the Run waits for. `begin`: the first byte of the data. `size`: how many
    bytes of output are kept by now.
    """

    data: str
    attempt: int
    attempts: int
    ended: bool
    more: bool
    outcome: str | None
    output_bytes: int | None
    over: bool
    why: str | None
    begin: NotRequired[int]
    size: NotRequired[int]


class ProblemsAnswer(TypedDict):
    rows: list[ProblemRow]


class WhyAnswer(TypedDict):
    rows: list[WhyRow]


class TopAnswer(TypedDict):
    """`limits`: for each limit its use and its value; under `closed`, why nothing may start."""

    running: list[LiveRow]
    waiting: list[LiveRow]
    next: list[DueRow]
    counts: CountsRow
    limits: dict[str, list[int] | str | None]
    pauses: list[PauseRow]


class PausesAnswer(TypedDict):
    rows: list[PauseRow]


class PauseAnswer(TypedDict):
    """`others`: the other pauses that hold some of the same Jobs."""

    row: PauseRow
    others: NotRequired[list[PauseRow]]


class StartAnswer(TypedDict):
    """The new Run. `why`: what it waits for. `job`: the name of its Job."""

    run_id: str
    state: str
    why: str | None
    job: NotRequired[str]


class ReloadAnswer(TypedDict):
    """`changed`: the options that have another value now. `tables`: how many were read again.

    `at_start`: the options whose new value takes effect at the next start.
    """

    changed: list[str]
    at_start: list[str]
    tables: int


class TestMailAnswer(TypedDict):
    """The Run that sends the mail."""

    run_id: str


class KillAnswer(TypedDict):
    rows: list[StateRow]


class RedriveAnswer(TypedDict):
    """`attempt`: the number of the next Attempt. `job`: a name. `why`: what the Run waits for."""

    run_id: str
    attempt: int
    job: NotRequired[str]
    why: NotRequired[str | None]


class DropAnswer(TypedDict):
    """`job`: the name of the Job."""

    run_id: str
    job: NotRequired[str]
