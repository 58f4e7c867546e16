"""The words of pycron as values: Job, Run, Attempt, Outcome.

Instants are UTC seconds since 1970-01-01T00:00Z: whole ones for fire times, fractions for what was
measured. Durations are seconds, sizes are bytes.
"""

import datetime
import re
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import NamedTuple

from pycron.schedule import Schedule
from pycron.settings import Settings

try:
    from _blake2 import blake2b  # what hashlib has, without OpenSSL, which is 3.6 MB
except ImportError:  # it is CPython's own affair
    from hashlib import blake2b

Environment = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Source:
    """Where a table comes from.

    `name` is what messages call it: a path, or the name of the user whose table it is. `owner` is
    the user all its Jobs run as; None for a system table, which has a user column.
    """

    name: str
    owner: str | None


@dataclass(frozen=True, slots=True)
class Job:
    """What an entry defines. `id` lasts as long as its schedule, user and command stay the same.

    `flags` are those of the entry (OpenBSD's n, q, s; cronie's leading `-` counts as q).
    """

    id: str
    name: str
    source: Source
    line: int
    user: str
    schedule: Schedule
    command: str
    stdin: str | None
    environment: Environment
    settings: Settings
    flags: str = ""

    @property
    def zone(self) -> str | None:
        """The zone that the table names; None stands for the machine's."""
        return self.settings.zone


def digest(*parts: str) -> str:
    """64 bits that stand for these texts, as 16 hexadecimal digits."""
    text = "\0".join(parts).encode("utf-8", "surrogateescape")
    return blake2b(text, digest_size=8).hexdigest()


class Severity(StrEnum):
    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Problem:
    """Something wrong with a table. Lines and columns count from 1; line 0 is the whole file."""

    file: str
    line: int
    column: int
    severity: Severity
    code: str
    message: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        mark = "warning: " if self.severity is Severity.WARNING else ""
        return f"{place}: {mark}{self.message}"


def problem_row(problem: Problem) -> dict[str, str | int]:
    """A Problem as --json shows it."""
    return {
        "file": problem.file,
        "line": problem.line,
        "column": problem.column,
        "severity": problem.severity.value,
        "code": problem.code,
        "message": problem.message,
    }


class Outcome(StrEnum):
    """How a Run or an Attempt ended."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    KILLED = "killed"
    OUT_OF_MEMORY = "out_of_memory"
    MISSED = "missed"
    SKIPPED = "skipped"
    CANCELLED = "cancelled"
    LOST = "lost"


class RunKey(NamedTuple):
    """The identity of a Run: no fire time of a Job runs twice.

    `turn` counts the times that a stepped-back clock has passed the fire time, from 0 (the `pass`
    of design and store; that word is Python's).
    """

    job_id: str
    fire_time: int
    turn: int = 0

    def __str__(self) -> str:
        """The run_id: also what the command sees as CRON_RUN_ID, and safe as a file name."""
        turn = f"-{self.turn + 1}" if self.turn else ""
        return f"{self.job_id}-{_stamp(self.fire_time)}{turn}"

    @classmethod
    def parse(cls, text: str) -> "RunKey":
        """The key that a run_id stands for. Raises ValueError."""
        match = re.fullmatch(r"([0-9a-f]{16})-(\d{8}T\d{6}Z)(?:-(\d{1,6}))?", text, re.ASCII)
        if not match:
            raise ValueError(f'bad run: "{text}" (a run_id, as pycron runs prints it)')
        return cls(match[1], _instant(match[2]), int(match[3] or 1) - 1)


class AttemptKey(NamedTuple):
    """The identity of an Attempt: its Run and its number, from 1."""

    run: RunKey
    number: int

    def __str__(self) -> str:
        return f"{self.run}.{self.number}"

    @staticmethod
    @lru_cache(maxsize=4096)  # the runner speaks of each at least twice
    def parse(text: str) -> "AttemptKey":
        """The key that a text from str() stands for. Raises ValueError."""
        run, _, number = text.rpartition(".")
        return AttemptKey(RunKey.parse(run), int(number))


class Cause(StrEnum):
    """Why the runner has ended an Attempt."""

    TIMEOUT = "timeout"
    MEMORY = "memory"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class Ending:
    """What the kernel said about an ended process.

    `exit_status` or `signal`, the other is None. `memory_peak`: of the whole tree where the Attempt
    had a cgroup, else the largest resident set of any one of its processes (getrusage's ru_maxrss,
    which starts at the runner's own size). `output_bytes` were printed, `output_kept` of them are
    kept: in the output file, or, of a short one, as `output`. `cause`: set where it did not end by
    itself. `reason`: why that, or why the command could not be run.
    """

    ended: float
    exit_status: int | None
    signal: int | None
    cpu_seconds: float
    memory_peak: int
    output_bytes: int
    output_kept: int = 0
    cause: Cause | None = None
    reason: str | None = None
    output: bytes | None = None


@dataclass(frozen=True, slots=True)
class Redrive:
    """An operator has put a dead letter back at a UTC second, after its Attempt `number`."""

    number: int
    at: float


@dataclass(frozen=True, slots=True)
class Pause:
    """Nothing within `scope` is begun before `until` (None: before it is resumed).

    `scope`: `all`, `user:NAME`, `pool:NAME` or `job:ID`. `by`: the user who wanted it, at `since`.
    """

    scope: str
    since: float
    until: float | None
    by: str
    reason: str | None = None

    def covers(self, instant: float) -> bool:
        return self.since <= instant and (self.until is None or instant < self.until)


def rfc3339(instant: float) -> str:
    """A UTC second as text: `2026-03-08T07:00:00Z`."""
    return _rfc3339(int(instant))


# A thousand Runs of one minute have one fire time.
@lru_cache(maxsize=256)
def _rfc3339(second: int) -> str:
    return datetime.datetime.fromtimestamp(second, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@lru_cache(maxsize=256)
def _stamp(second: int) -> str:
    return _rfc3339(second).replace("-", "").replace(":", "")


@lru_cache(maxsize=256)
def _instant(stamp: str) -> int:
    moment = datetime.datetime.strptime(stamp, "%Y%m%dT%H%M%SZ")
    return int(moment.replace(tzinfo=datetime.UTC).timestamp())
