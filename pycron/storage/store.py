"""The store: writes what the engine decides, deletes what is too old, and answers questions.

The records of one turn of the daemon's loop, with the cursor, are written in one transaction before
anything of them starts. So after a crash each fire time either has its Run or is after the cursor.
Instants are UTC seconds.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from types import MappingProxyType

from pycron.engine.actions import Record, RecordCursor
from pycron.engine.cursor import Cursor
from pycron.engine.deliveries import DeliveryState
from pycron.engine.delivery_rules import DeliveryRules
from pycron.engine.refusals import RefusedRange
from pycron.engine.shared_runs import NO_CLUSTER, SharedState
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
from pycron.model.pause import Pause
from pycron.model.retention import RetentionLimits
from pycron.model.run import AttemptKey, Outcome, RunKey
from pycron.storage import deliveries, history, owners, shared, unfinished
from pycron.storage.counting import Counting
from pycron.storage.database import Database
from pycron.storage.errors import StoreCorrupt, StoreError
from pycron.storage.last_runs import last_runs
from pycron.storage.refused import read_refused
from pycron.storage.repair import Repair
from pycron.storage.retention import Retention
from pycron.storage.samples import Position, job_sample, starts
from pycron.storage.schema import JOURNAL_BYTES, limit_journal
from pycron.storage.writer import Writer

_RUNS_PER_STEP = 1000  # that prune() deletes at most; for so long nothing can start


class Store:
    """A ports.History and a ports.RecordedState, with one connection and one writer.

    Each method that reads or writes raises StoreError.
    """

    def __init__(
        self,
        path: Path,
        *,
        may_wait: bool = False,
        uid_of: Callable[[str], int | None] = lambda _: None,
        journal_bytes: int = JOURNAL_BYTES,
        most_counted: Callable[[], int] = lambda: 0,
    ) -> None:
        """Open or create the database, and repair it if it is damaged. Raises StoreError.

        `may_wait`: a database that cannot be opened is `shut`; only one that is too new is an
        error. `uid_of`: the uid of an account. `journal_bytes`: when so much has been written to
        the write-ahead log, its pages are moved to the database. `most_counted`: how many named
        Jobs have counts of their own.
        """
        self._uid_of = uid_of
        self._most_counted = most_counted
        self._journal_bytes = min(JOURNAL_BYTES, journal_bytes)
        self._database = Database(path, may_wait=may_wait)
        self._use_connection()

    def _use_connection(self) -> None:
        """Begin without the row numbers and the state of retention of an earlier connection."""
        limit_journal(self._database.connection, self._journal_bytes)
        self._new_writer()
        self._retention = Retention(self._database.connection)

    def _new_writer(self) -> None:
        self._writer = Writer(self._database.connection, self._uid_of)
        self._counting = Counting(self._database.connection, self._most_counted)

    # ---- the file

    @property
    def repaired(self) -> Repair | None:
        """The repair of a file that was damaged when it was opened."""
        return self._database.repaired

    @property
    def shut(self) -> str | None:
        """Why the file cannot be opened; until it can, nothing is written."""
        return self._database.shut

    @property
    def unread(self) -> bool:
        """Whether the file could not be read so far; then an earlier daemon's record is unknown."""
        return self._database.unread

    def open_again(self) -> None:
        """Try to open a file that is `shut`. Raises StoreError; StoreCorrupt if it needs repair."""
        try:
            self._database.open_again()
        finally:
            self._use_connection()

    def repair(self, error: StoreCorrupt) -> Repair:
        """Set the damaged file aside, and go on with what can be read of it. Raises StoreError.

        If the file was deleted or replaced, the database is still open and is put back whole.
        """
        try:
            return self._database.repair(error)
        finally:
            self._use_connection()

    def close(self) -> None:
        self._database.close()

    # ---- writing

    def write(self, records: Iterable[Record]) -> None:
        """Write all of the records, or none of them.

        Raises StoreShut if the store is shut, and StoreCorrupt also for damage that was met in
        reading.
        """
        self._database.check_writable()
        records = list(records)
        if (cursor := _cursor_alone(records)) and self._database.meta.write_beside(cursor):
            return
        self._retention.note_change()
        try:
            with self._database.transaction():
                meta = self._writer.write(records)
                self._counting.count(records)
        except StoreError:
            self._new_writer()
            raise
        self._database.meta.written(meta)

    def drop_dead(self, key: RunKey) -> None:
        """The Run is no dead letter any more; it stays in the history."""
        self._database.check_writable()
        self._retention.note_change()
        with self._database.errors():
            self._writer.drop_dead(key)

    def replaced(self, uids: Mapping[str, int]) -> set[str]:
        """The names under which an account with another uid has records. `uids`: by name."""
        return set(self._database.query(owners.replaced, uids))

    def disown(self, uids: Mapping[str, int]) -> None:
        """Take the records of former accounts away from the accounts that have their names now.

        The records are kept under the name and the former uid, such as `anna#1001`, which is no
        name of an account.
        """
        self._database.check_writable()
        with self._database.transaction():
            owners.disown(self._database.connection, uids)
        self._forget_rows()

    def _forget_rows(self) -> None:
        self._writer.forget_rows()
        self._counting.forget_jobs()

    @property
    def output_since_prune(self) -> int:
        """The bytes of output that were recorded since the last step of `prune`."""
        return self._writer.kept

    def prune(
        self,
        keep: RetentionLimits,
        before: int,
        remove: Callable[[list[AttemptKey]], None],
        writing: Mapping[str, int] = MappingProxyType({}),
    ) -> bool:
        """Delete Runs and outputs beyond the limits, and those due before a UTC second.

        One step deletes a bounded number; True if there may be more. If nothing can be beyond the
        limits, the database is not read, so that an idle minute costs little. `remove` deletes the
        output files of Attempts; an error that it raises undoes the step. `writing`: the bytes of
        output that each user's commands have written so far; they count, and stay.
        """
        if self._retention.has_nothing_for(keep, before, writing):
            return False
        self._database.check_writable()
        with self._database.transaction():
            dropped = self._retention.prune(keep, before, _RUNS_PER_STEP, remove, writing)
        if dropped:
            self._forget_rows()
        self._writer.kept = 0
        with self._database.errors():
            self._retention.shrink()
        return self._retention.more

    # ---- what an earlier daemon recorded: ports.RecordedState

    def cursor(self) -> Cursor | None:
        """How far the last daemon's timetable had come."""
        return self._database.meta.cursor()

    def runner(self) -> str | None:
        """The name of the last runner process that Attempts were handed to."""
        return self._database.meta.runner()

    def boot_id(self) -> str | None:
        """The boot whose @reboot Jobs have run."""
        return self._database.meta.boot_id()

    def boots_in(self, second: int) -> int:
        """How many boots were recorded in this UTC second, if the last one is of that second."""
        return self._database.meta.boots_in(second)

    def pauses(self) -> list[Pause]:
        """The pauses that hold."""
        return self._database.query(unfinished.pauses)

    def done_after(self, instant: int) -> dict[RunKey, Outcome]:
        """The Runs that have ended although their fire time is after this UTC second."""
        return self._database.query(unfinished.done_after, instant)

    def unfinished(self) -> list[UnfinishedRun]:
        """The Runs that have not ended, in the order in which they were recorded."""
        return self._database.query(unfinished.unfinished, self.cursor())

    def shared_state(self, cluster: str | None) -> SharedState:
        """What an earlier daemon left of shared Runs. `cluster`: None: this host is in none."""
        if cluster is None:
            return NO_CLUSTER
        return self._database.query(shared.read_state, cluster)

    def store_id(self) -> str:
        """The name of this store in the cluster; another one after rows were lost."""
        self._database.check_writable()
        return self._database.query(shared.store_id)

    def delivery_state(self, rules: DeliveryRules, now: int) -> DeliveryState:
        """What an earlier daemon told lately, and what the configuration says of it."""
        failing = self._database.query(deliveries.failing)
        return DeliveryState(rules, failing, self._database.query(deliveries.mail_hours, now))

    def take_mail_is_new(self) -> bool:
        """Whether an earlier version, which sent no mail, has used this store; True only once."""
        if self.shut:
            return False
        with self._database.transaction():
            query = "DELETE FROM meta WHERE key = 'mail_is_new'"
            return self._database.connection.execute(query).rowcount > 0

    # ---- questions about recorded Runs: ports.History

    def runs(self, wanted: RunFilter) -> list[RunRecord]:
        """Runs with their Attempts, newest first."""
        return self._database.query(history.runs, wanted)

    def run(self, key: RunKey) -> RunRecord | None:
        """One Run with all its Attempts."""
        return self._database.query(history.run, key)

    def last_runs(self, job_ids: Collection[str], most: int) -> dict[str, list[LastRun]]:
        """The last Runs of each of these Jobs that has any, at most so many, newest first."""
        return self._database.query(last_runs, job_ids, most)

    def deliveries(self, key: RunKey) -> list[RunRecord]:
        """The deliveries about a Run, in the order in which they were recorded."""
        return self._database.query(history.deliveries, key)

    def summed_up_in(self, summary: RunKey, job_id: str) -> list[RunKey]:
        """The Runs of a Job that the mail with this key sums up, newest first."""
        return self._database.query(deliveries.summed_up_in, summary, job_id)

    def short_output(self, attempt: AttemptKey) -> bytes | None:
        """The output of an Attempt, if the store has it; None if a file may have it."""
        return self._database.query(history.short_output, attempt)

    def knows(self, attempt: AttemptKey) -> bool:
        """Whether the Attempt is recorded."""
        return self._database.query(history.knows, attempt)

    def owners_of(self, job: str) -> set[str]:
        """The users of all recorded Jobs that have this name or id."""
        return self._database.query(history.owners_of, job)

    def jobs_called(self, job: str) -> list[tuple[str, str, str]]:
        """All recorded Jobs of this name or id: the id, the user, and the table with the line."""
        return self._database.query(history.jobs_called, job)

    def count_runs(self, user: str | None = None) -> int:
        """How many Runs are recorded, of a user or (None) of all users."""
        return self._database.query(history.count_runs, user)

    def gap_at(self, instant: int, *, wall: bool) -> str | None:
        """Why fire times at this UTC second have no Run.

        `wall`: of Jobs that follow the wall clock; otherwise of fixed Jobs.
        """
        return self._database.query(history.gap_at, instant, wall)

    def refused(self, wanted: RefusedFilter) -> list[RefusedRange]:
        """Ranges of fire times that got no Run, newest first."""
        return self._database.query(read_refused, wanted)

    def counts(self, jobs: Iterable[Series]) -> CountsOfJobs:
        """What has ended since the database was made. `jobs`: all named Jobs, as series."""
        return self._database.query(lambda _: self._counting.of_jobs(jobs))

    def count_dead(self) -> int:
        """How many dead letters there are, of all users."""
        return self._database.query(history.count_dead)

    def job_sample(self, after: int, wanted: SampleFilter) -> JobSample | None:
        """The next recorded Job behind that of a number, with its newest Runs; None: the last."""
        return self._database.query(job_sample, after, wanted)

    def starts(
        self, since: int, until: int, after: Position, user: str | None, most: int
    ) -> tuple[dict[int, int], Position | None]:
        """How many Runs were started in each minute; a part of them."""
        return self._database.query(starts, since, until, after, user, most)


def _cursor_alone(records: list[Record]) -> Cursor | None:
    """The last cursor, if there is nothing else to write: nothing was due."""
    cursor = None
    for record in records:
        if not isinstance(record, RecordCursor):
            return None
        cursor = record.cursor
    return cursor
