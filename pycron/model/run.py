"""The words of pycron as values: Job, Run, Attempt, Outcome.

Instants are UTC seconds since 1970-01-01T00:00Z: whole ones for fire times, fractions for what was
measured. Durations are seconds, sizes are bytes.
"""

import re
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import NamedTuple

from pycron.model.instants import compact, parse_compact


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


# What a sentence about a Run says, behind the name of its Job.
OUTCOME_IN_WORDS = {
    Outcome.SUCCEEDED: "succeeded",
    Outcome.FAILED: "failed",
    Outcome.TIMED_OUT: "timed out",
    Outcome.KILLED: "was killed",
    Outcome.OUT_OF_MEMORY: "ran out of memory",
    Outcome.MISSED: "was missed",
    Outcome.SKIPPED: "was skipped",
    Outcome.CANCELLED: "was cancelled",
    Outcome.LOST: "was lost",
}

# The Outcomes of all Runs that have ended and did not succeed: `--failed`.
NOT_SUCCEEDED = tuple(each for each in Outcome if each is not Outcome.SUCCEEDED)

_TIMED_OUT = 124  # as timeout(1) has it
_KILLED = 128  # and the number of the signal, as the shell has it
_NOT_KNOWN = 1  # the command was not started, or nobody knows how it ended

DELIBERATE = (Outcome.SKIPPED, Outcome.CANCELLED)  # a user or a setting wanted this end
# The other ends without success: somebody should look at them.
FAILURES = tuple(each for each in NOT_SUCCEEDED if each not in DELIBERATE)


def status_of(outcome: Outcome, exit_status: int | None, signal: int | None) -> int:
    """The exit status of an Attempt, as timeout(1) and the shell would report it."""
    if outcome is Outcome.SUCCEEDED:
        return 0
    if outcome is Outcome.TIMED_OUT:
        return _TIMED_OUT
    if signal is not None:
        return _KILLED + signal
    return exit_status or _NOT_KNOWN


# Ends the name of a Job that tries out an entry (`pycron test`): no name of an entry has a colon.
TEST_SUFFIX = ":test"

FIRST_BY_HAND = 1000  # the first pass of Runs that are started by hand: no clock steps so often


class RunKey(NamedTuple):
    """The identity of a Run: no fire time of a Job runs twice.

    `pass_number` counts the times that a stepped-back clock has passed the fire time, from 0.
    """

    job_id: str
    fire_time: int
    pass_number: int = 0

    @property
    def is_by_hand(self) -> bool:
        """Whether a user started the Run by hand."""
        return self.pass_number >= FIRST_BY_HAND

    def __str__(self) -> str:
        """The run_id: also what the command sees as CRON_RUN_ID, and safe as a file name."""
        suffix = f"-{self.pass_number + 1}" if self.pass_number else ""
        return f"{self.job_id}-{compact(self.fire_time)}{suffix}"

    @classmethod
    def parse(cls, text: str) -> "RunKey":
        """The key that a run_id stands for. Raises ValueError."""
        match = re.fullmatch(r"([0-9a-f]{16})-(\d{8}T\d{6}Z)(?:-(\d{1,6}))?", text, re.ASCII)
        if not match:
            raise ValueError(f'bad run: "{text}" (a run_id, as pycron runs prints it)')
        return cls(match[1], parse_compact(match[2]), int(match[3] or 1) - 1)


class AttemptKey(NamedTuple):
    """The identity of an Attempt: its Run and its number, from 1."""

    run: RunKey
    number: int

    def __str__(self) -> str:
        return f"{self.run}.{self.number}"

    @staticmethod
    @lru_cache(maxsize=1024)  # the runner speaks of each at least twice
    def parse(text: str) -> "AttemptKey":
        """The key that a text from str() stands for. Raises ValueError."""
        run, _, number = text.rpartition(".")
        return AttemptKey(RunKey.parse(run), int(number))


class Cause(StrEnum):
    """Why the runner has ended an Attempt."""

    TIMEOUT = "timeout"
    MEMORY = "memory"
    CANCELLED = "cancelled"
    LEASE = "lease"  # of a shared Run: this host could not reach the database of the cluster


@dataclass(frozen=True, slots=True)
class Ending:
    """The end of a process, as the kernel reported it.

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
