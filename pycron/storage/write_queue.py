"""Records that could not be written yet, in their order and of a limited number."""

from collections import Counter, deque
from collections.abc import Callable, Sequence
from itertools import islice

from pycron.engine.actions import (
    Record,
    RecordAttempt,
    RecordCursor,
    RecordDiscarded,
    RecordEnded,
    RecordNotStarted,
    RecordRevived,
    RecordRun,
    RecordStarted,
    RecordWithdrawn,
)
from pycron.engine.shared_actions import RecordHold
from pycron.model.run import RunKey

_MAX_RECORDS = 100_000
_RECORDS_PER_TRANSACTION = 1000


class WriteQueue:
    """Batches of records; a batch is one turn of the daemon's loop and is written as a whole."""

    def __init__(self, most: int = _MAX_RECORDS) -> None:
        self._most = most
        self._batches: deque[list[Record]] = deque()
        self._size = 0
        self._dropped = 0

    def __len__(self) -> int:
        return self._size

    def add(self, records: Sequence[Record]) -> set[RunKey]:
        """Append a batch; the Runs that are dropped to make room for it."""
        self._batches.append(list(records))
        self._size += len(records)
        return self._drop() if self._size > self._most else set()

    def first(self) -> list[Record]:
        """The oldest batches, which are to be written next, in one transaction."""
        records = list(self._batches[0])
        for batch in islice(self._batches, 1, None):
            if len(records) + len(batch) > _RECORDS_PER_TRANSACTION:
                break
            records += batch
        return records

    def written(self, count: int) -> None:
        """Remove so many of the oldest records: they are on disk."""
        self._size -= count
        while count:
            batch = self._batches[0]
            count -= len(batch)
            if count < 0:
                self._batches[0] = batch[count:]
                return
            self._batches.popleft()

    def take_dropped(self) -> int:
        """How many Runs were dropped since the last call."""
        dropped, self._dropped = self._dropped, 0
        return dropped

    def _drop(self) -> set[RunKey]:
        """Drop the oldest Runs that have begun and ended in the queue, down to nine tenths.

        A dead letter is not dropped: an operator has to see it. Nor is a Run whose beginning is on
        disk: it would never end there. All cursors but the last one are dropped, too.
        """
        records = [record for batch in self._batches for record in batch]
        last_cursor = [record for record in records if isinstance(record, RecordCursor)][-1:]
        self._keep(lambda record: not isinstance(record, RecordCursor) or record in last_cursor)
        sizes = Counter(run_of(record) for record in records)
        begun = {record.run for record in records if isinstance(record, RecordRun)}
        surplus = self._size - self._most * 9 // 10
        gone: set[RunKey] = set()
        for run in filter(None, map(_ended_by, records)):
            if surplus <= 0:
                break
            if run in begun:
                gone.add(run)
                surplus -= sizes[run]
        self._keep(lambda record: run_of(record) not in gone)
        self._dropped += len(gone)
        return gone

    def _keep(self, wanted: Callable[[Record], bool]) -> None:
        batches = ([record for record in batch if wanted(record)] for batch in self._batches)
        self._batches = deque(batch for batch in batches if batch)
        self._size = sum(map(len, self._batches))


def run_of(record: Record) -> RunKey | None:
    """The Run of a record; None if the record belongs to no Run."""
    match record:
        case RecordRun() | RecordNotStarted() | RecordRevived() | RecordDiscarded():
            return record.run
        case RecordHold():
            return record.hold.run
        case RecordAttempt() | RecordStarted() | RecordEnded() | RecordWithdrawn():
            return record.attempt.run
    return None


def _ended_by(record: Record) -> RunKey | None:
    """The Run that this record ends, unless it becomes a dead letter."""
    match record:
        case RecordEnded(dead=False) if record.run_outcome is not None:
            return record.attempt.run
        case RecordNotStarted(dead=False) | RecordDiscarded():
            return record.run
    return None
