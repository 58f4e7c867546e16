"""Keeping the record: what is to be written gets written, now or as soon as that can be done."""

import time
from collections.abc import Callable, Iterable, Sequence

from pycron.engine.actions import Log, Record
from pycron.engine.log_events import Event
from pycron.model.run import AttemptKey, RunKey
from pycron.storage.errors import RecordRefused, StoreCorrupt, StoreError, StoreShut
from pycron.storage.repair import Repair
from pycron.storage.store import Store
from pycron.storage.write_queue import WriteQueue, run_of

_REPAIR_PACE = 60.0  # seconds
_OPENING_PACE = 10.0  # seconds


class Recorder:
    """The only writer of the store.

    `acknowledge` tells the runner which Attempts it may forget. `read` is called when a store that
    could not be read so far can be read. `unwritten` gets the records that could not be written at
    once. `failure`: why nothing can be written at the moment.
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
            self._say_repaired(store.repaired)
        if store.shut:
            self._next_opening = time.monotonic() + _OPENING_PACE
            self._say_failed(store.shut)

    @property
    def unwritten(self) -> int:
        """How many records wait to be written."""
        return len(self._write_queue)

    @property
    def behind(self) -> bool:
        """Whether there is something that can't be written."""
        return bool(self._write_queue or self._store.shut)

    def acknowledge(self, ended: Iterable[AttemptKey]) -> None:
        """These Attempts have ended: the runner may forget them once all is written."""
        self._unacknowledged += ended
        if not self.behind and self._unacknowledged:
            self._acknowledge(self._unacknowledged)
            self._unacknowledged = []

    def write(self, records: Sequence[Record]) -> None:
        """Into the store; what can't be written now is tried again with what comes next."""
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
                self._say_failed(str(error))
            self._unwritten(records)
            return
        self.failure = None
        if failed_before:
            self._log(Log(Event.STORE_RECOVERED, {"dropped": self._write_queue.take_dropped()}))

    def _write_first(self) -> None:
        """The oldest records of the backlog. Raises StoreError."""
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
        """One record that can never be written must not keep all others out."""
        for record in records:
            try:
                self._store.write([record])
            except RecordRefused as error:
                run = run_of(record)
                fields = {"reason": str(error), "run_id": run and str(run)}
                self._log(Log(Event.STORE_FAILED, fields, bad=True))
            self._write_queue.written(1)

    def _open_again(self, why_not: str) -> None:
        """Every few seconds at the most. Raises StoreError."""
        if time.monotonic() < self._next_opening:
            raise StoreShut(why_not)
        self._next_opening = time.monotonic() + _OPENING_PACE
        unread = self._store.unread
        try:
            self._store.open_again()
        except StoreCorrupt as error:
            self._repair(error)
        if unread:
            self._read()

    def _repair(self, error: StoreCorrupt) -> None:
        """Once a minute at the most: what lies below may be broken for good. Raises StoreError."""
        if time.monotonic() < self._next_repair:
            raise error
        self._next_repair = time.monotonic() + _REPAIR_PACE
        self._say_repaired(self._store.repair(error))

    def _say_failed(self, reason: str) -> None:
        self.failure = reason
        self._log(Log(Event.STORE_FAILED, {"reason": reason}, bad=True))

    def _say_repaired(self, repair: Repair) -> None:
        aside = repair.aside and str(repair.aside)
        fields = {"aside": aside, "runs": repair.runs, "reason": repair.reason}
        self._log(Log(Event.STORE_REPAIRED, fields, bad=True))

    def _give_up_on(self, runs: set[RunKey]) -> None:
        """These will never be on record; the runner need not keep them for us any longer."""
        if not runs:
            return
        given_up = [attempt for attempt in self._unacknowledged if attempt.run in runs]
        self._acknowledge(given_up)
        self._unacknowledged = [
            attempt for attempt in self._unacknowledged if attempt.run not in runs
        ]
