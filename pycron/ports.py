"""Ports: what the daemon needs from the world, as Protocols.

storage, tables, executor and control do not import each other. They meet in the daemon, which hands
an implementation of one folder to another folder as one of these types. A test hands in a fake.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from pycron.crontab.entries import Entries
from pycron.crontab.table import Table
from pycron.engine.actions import Record, Release, RunnerAction
from pycron.engine.cursor import Cursor
from pycron.engine.refusals import RefusedRange
from pycron.model.counts import CountsOfJobs, Series
from pycron.model.history import (
    JobSample,
    LastRun,
    RefusedFilter,
    RunFilter,
    RunRecord,
    SampleFilter,
    UnfinishedRun,
)
from pycron.model.job import Job
from pycron.model.pause import Pause
from pycron.model.problem import Problem
from pycron.model.run import AttemptKey, Outcome, RunKey
from pycron.model.steps import Steps
from pycron.model.table_version import Provenance, TableVersion


class StoreFailure(Exception):
    """The store cannot be read or written; the message says why."""


class Recorder(Protocol):
    """Writes what the engine decides. Implemented by storage."""

    @property
    def behind(self) -> bool:
        """Whether some records could not be written yet."""

    @property
    def unwritten(self) -> int:
        """How many records could not be written yet."""

    @property
    def failure(self) -> str | None:
        """Why nothing can be written at the moment."""

    def write(self, records: Sequence[Record]) -> None:
        """Write the records in one transaction, or keep them until that is possible."""

    def acknowledge(self, ended: Iterable[AttemptKey]) -> None:
        """These Attempts have ended; tell the runner so, once all their records are written."""


class Executor(Protocol):
    """Carries out what the engine decides about Attempts. Implemented by executor."""

    def release(self, released: Sequence[Release]) -> None:
        """Let the runner start Attempts that it holds, and leave it the processors for a moment."""

    def perform(self, actions: Sequence[RunnerAction]) -> None:
        """Start, release, withdraw or stop Attempts, in this order."""

    def take_ended(self) -> list[AttemptKey]:
        """The Attempts whose end was reported since the last call."""


class History(Protocol):
    """Answers questions about recorded Runs; each method raises StoreFailure.

    Implemented by storage.
    """

    def runs(self, wanted: RunFilter) -> list[RunRecord]:
        """Runs with their Attempts, newest first."""

    def run(self, key: RunKey) -> RunRecord | None:
        """One Run with all its Attempts."""

    def last_runs(self, job_ids: Collection[str], most: int) -> dict[str, list[LastRun]]:
        """The last Runs of each of these Jobs that has any, at most so many, newest first."""

    def deliveries(self, key: RunKey) -> list[RunRecord]:
        """The deliveries about a Run, in the order in which they were recorded."""

    def summed_up_in(self, summary: RunKey, job_id: str) -> list[RunKey]:
        """The Runs of a Job that the mail with this key sums up, newest first."""

    def short_output(self, attempt: AttemptKey) -> bytes | None:
        """The output of an Attempt, if the store has it; None if a file may have it."""

    def owners_of(self, job: str) -> set[str]:
        """The users of all recorded Jobs that have this name or id."""

    def jobs_called(self, job: str) -> list[tuple[str, str, str]]:
        """All recorded Jobs of this name or id: the id, the user, and the table with the line."""

    def count_runs(self, user: str | None = None) -> int:
        """How many Runs are recorded, of a user or (None) of all users."""

    def gap_at(self, instant: int, *, wall: bool) -> str | None:
        """Why fire times at this UTC second have no Run.

        `wall`: of Jobs that follow the wall clock; otherwise of fixed Jobs.
        """

    def refused(self, wanted: RefusedFilter) -> list[RefusedRange]:
        """Ranges of fire times that got no Run, newest first."""

    def job_sample(self, after: int, wanted: SampleFilter) -> JobSample | None:
        """The next recorded Job behind that of a number, with its newest Runs; None: the last.

        A Job that is not wanted has no Runs there. Deliveries are left out.
        """

    def starts(
        self, since: int, until: int, after: tuple[int, int], user: str | None, most: int
    ) -> tuple[dict[int, int], tuple[int, int] | None]:
        """How many Runs were started in each minute, of those that were due in [since, until).

        At most so many Runs are looked at: those behind `after`, which is a fire time and a number.
        The second value is where the next call continues; None if there are no more.
        """

    def drop_dead(self, key: RunKey) -> None:
        """The Run is no dead letter any more; it stays in the history."""

    def counts(self, jobs: Iterable[Series]) -> CountsOfJobs:
        """What has ended since the database was made. `jobs`: all named Jobs, as series."""

    def count_dead(self) -> int:
        """How many dead letters there are, of all users."""


class RecordedState(Protocol):
    """The records of an earlier daemon; each method raises StoreFailure. Implemented by storage."""

    @property
    def unread(self) -> bool:
        """Whether the store could not be read so far, so that nothing here is known."""

    def cursor(self) -> Cursor | None:
        """How far the last daemon's timetable had come."""

    def pauses(self) -> list[Pause]:
        """The pauses that hold."""

    def unfinished(self) -> list[UnfinishedRun]:
        """The Runs that have not ended, in the order in which they were recorded."""

    def done_after(self, instant: int) -> dict[RunKey, Outcome]:
        """The Runs that have ended although their fire time is after this UTC second."""

    def runner(self) -> str | None:
        """The name of the last runner process that Attempts were handed to."""

    def boot_id(self) -> str | None:
        """The boot whose @reboot Jobs have run."""

    def boots_in(self, second: int) -> int:
        """How many boots were recorded in this UTC second, if the last one is of that second."""

    def run(self, key: RunKey) -> RunRecord | None:
        """One Run with all its Attempts."""


class CannotDeliver(Exception):
    """A delivery or a message cannot be sent at present; the text says why."""


@dataclass(frozen=True, slots=True)
class Program:
    """The program that sends something, as this account. `stdin`: with surrogate escapes."""

    account: str
    argv: list[str]
    stdin: str


class Deliverer(Protocol):
    """Knows how something is sent. Implemented by delivery and sender."""

    def program(self, run: RunKey, job: Job) -> Program:
        """The program for a Run. Raises CannotDeliver."""


class TableFailure(Exception):
    """A user's table cannot be read, installed or removed; the message says why.

    `problems`: what is wrong with the text, if that is the reason.
    """

    def __init__(self, message: str, problems: Sequence[Problem] = ()) -> None:
        super().__init__(message)
        self.problems = tuple(problems)


class Tables(Protocol):
    """The tables that the daemon has loaded. Implemented by tables."""

    def count(self, owner: str | None = None) -> int:
        """How many tables are loaded, of a user or (None) of all."""

    def problems(self) -> list[Problem]:
        """The problems of the loaded tables, and the files that are ignored."""

    def entries(self, name: str) -> Entries:
        """The entries that run of the table with this name; none if there is no such table."""

    def rescan(self, again: bool = False) -> None:
        """Load what has changed; with `again`, load everything anew."""

    def rescanned(self) -> Steps[None]:
        """Wait in steps until the daemon's loop has loaded what has changed until now."""


class UserTables(Protocol):
    """Users' own tables, for pycrontab; each method raises TableFailure. Implemented by tables."""

    @property
    def of_all_users(self) -> bool:
        """Whether every user of the machine has a table here (system mode)."""

    def read(self, user: str) -> str | None:
        """The text of a user's table; None if there is none."""

    def install(self, user: str, text: str, by: Provenance) -> Steps[Table]:
        """Check the text and put it in place of the user's table, whole or not at all."""

    def remove(self, user: str, author: str) -> bool:
        """Delete a user's table; False if there was none."""

    def versions(self, user: str) -> list[TableVersion]:
        """The last versions of a user's table, the newest first."""

    def version(self, user: str, number: int) -> str | None:
        """The text of a version; None if the table was deleted then."""
