"""Writes records to the store; keeps them in memory while the store cannot be written to."""

import time
from collections.abc import Callable, Iterable, Sequence

from pycron.engine.actions import Log, Record
from pycron.engine.log_events import Event
from pycron.model.run import AttemptKey, RunKey
from pycron.storage.errors import RecordRefused, StoreCorrupt, StoreError, StoreShut
from pycron.storage.repair import Repair
from pycron.storage.store import Store
from pycron.storage.write_queue import WriteQueue, run_of

_REPAIR_INTERVAL = 60.0  # seconds
_OPENING_INTERVAL = 10.0  # seconds


class Recorder:
    """The only writer of the store.

    `acknowledge` tells the runner that it need not remember these Attempts any longer. `read` is
    called when a store that could not be read can be read at last. `unwritten` gets the records
    that could not be written at once. `failure`: why nothing can be written at the moment.
    """

    def __init__(
        self,
        store: Store,
        acknowledge: Callable[[list[AttemptKey]], None],
        read: Callable[[], None],
        unwritten: Callable[[Sequence[Record]], None],
        log: Callable[[Log], None],
    ) -> None:
        self._store = store
        self._acknowledge = acknowledge
        self._read = read
        self._unwritten = unwritten
        self._log = log
        self._write_queue = WriteQueue()
        self._unacknowledged: list[AttemptKey] = []
        self._next_repair = 0.0
        self._next_opening = 0.0
        self.failure: str | None = None
        if store.repaired:
            self._log_repair(store.repaired)
        if store.shut:
            self._next_opening = time.monotonic() + _OPENING_INTERVAL
            self._log_failure(store.shut)

    @property
    def unwritten(self) -> int:
        """How many records could not be written yet."""
        return len(self._write_queue)

    @property
    def behind(self) -> bool:
        """Whether some records could not be written yet, or the store is shut."""
        return bool(self._write_queue or self._store.shut)

    def acknowledge(self, ended: Iterable[AttemptKey]) -> None:
        """These Attempts have ended; tell the runner so, once all their records are written."""
        self._unacknowledged += ended
        if not self.behind and self._unacknowledged:
            self._acknowledge(self._unacknowledged)
            self._unacknowledged = []

    def write(self, records: Sequence[Record]) -> None:
        """Write the records; those that cannot be written now are written with later ones."""
        failed_before = self.behind
        if records:
            self._give_up_on(self._write_queue.add(records))
        try:
            if self._store.shut:
                self._open_again(self._store.shut)
            while self._write_queue:
                self._write_first()
        except StoreError as error:
            if not failed_before:
                self._log_failure(str(error))
            self._unwritten(records)
            return
        self.failure = None
        if failed_before:
            dropped = self._write_queue.take_dropped()
            self._log(Log(Event.STORE_RECOVERED, {"dropped": dropped}, bad=dropped > 0))

    def _write_first(self) -> None:
        """Write the oldest records of the queue. Raises StoreError."""
        records = self._write_queue.first()
        try:
            self._store.write(records)
        except RecordRefused:
            self._write_one_by_one(records)
        except StoreCorrupt as error:
            self._repair(error)
        else:
            self._write_queue.written(len(records))

    def _write_one_by_one(self, records: list[Record]) -> None:
        """Drop a record that can never be written: it would block all others."""
        for record in records:
            try:
                self._store.write([record])
            except RecordRefused as error:
                run = run_of(record)
                fields = {"reason": str(error), "run_id": run and str(run)}
                self._log(Log(Event.STORE_FAILED, fields, bad=True))
            self._write_queue.written(1)

    def _open_again(self, why_not: str) -> None:
        """Try to open the store, at most every ten seconds. Raises StoreError."""
        if time.monotonic() < self._next_opening:
            raise StoreShut(why_not)
        self._next_opening = time.monotonic() + _OPENING_INTERVAL
        unread = self._store.unread
        try:
            self._store.open_again()
        except StoreCorrupt as error:
            self._repair(error)
        if unread:
            self._read()

    def _repair(self, error: StoreCorrupt) -> None:
        """Repair the store, at most once a minute: the disk may stay broken. Raises StoreError."""
        if time.monotonic() < self._next_repair:
            raise error
        self._next_repair = time.monotonic() + _REPAIR_INTERVAL
        self._log_repair(self._store.repair(error))

    def _log_failure(self, reason: str) -> None:
        self.failure = reason
        self._log(Log(Event.STORE_FAILED, {"reason": reason}, bad=True))

    def _log_repair(self, repair: Repair) -> None:
        aside = repair.aside and str(repair.aside)
        fields = {"aside": aside, "runs": repair.runs, "reason": repair.reason}
        self._log(Log(Event.STORE_REPAIRED, fields, bad=True))

    def _give_up_on(self, runs: set[RunKey]) -> None:
        """These Runs will never be recorded; the runner need not remember them any longer."""
        if not runs:
            return
        given_up = [attempt for attempt in self._unacknowledged if attempt.run in runs]
        self._acknowledge(given_up)
        self._unacknowledged = [
            attempt for attempt in self._unacknowledged if attempt.run not in runs
        ]
