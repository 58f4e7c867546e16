"""What could not be written yet, in its order and within bounds."""

from collections import Counter, deque
from collections.abc import Callable, Sequence
from itertools import islice

from pycron.engine.actions import (
    Record,
    RecordAttempt,
    RecordCursor,
    RecordEnded,
    RecordNotStarted,
    RecordRevived,
    RecordRun,
    RecordStarted,
    RecordWithdrawn,
)
from pycron.model.run import RunKey

_MOST = 100_000
_AT_ONCE = 1000


class WriteQueue:
    """Records, turn by turn: those of one turn are written together or not at all."""

    def __init__(self, most: int = _MOST) -> None:
        self._most = most
        self._turns: deque[list[Record]] = deque()
        self._size = 0
        self._dropped = 0

    def __len__(self) -> int:
        return self._size

    def add(self, records: Sequence[Record]) -> set[RunKey]:
        """Put a turn behind the others; the Runs that are dropped to make room for it."""
        self._turns.append(list(records))
        self._size += len(records)
        return self._drop() if self._size > self._most else set()

    def first(self) -> list[Record]:
        """The oldest turns that are to be written next, in one transaction."""
        records = list(self._turns[0])
        for turn in islice(self._turns, 1, None):
            if len(records) + len(turn) > _AT_ONCE:
                break
            records += turn
        return records

    def written(self, count: int) -> None:
        """So many of the oldest records are on disk."""
        self._size -= count
        while count:
            turn = self._turns[0]
            count -= len(turn)
            if count < 0:
                self._turns[0] = turn[count:]
                return
            self._turns.popleft()

    def take_dropped(self) -> int:
        """How many Runs were dropped since this was asked last."""
        dropped, self._dropped = self._dropped, 0
        return dropped

    def _drop(self) -> set[RunKey]:
        """Let go of the oldest Runs that have begun and ended since, down to nine tenths.

        Of cursors the last one is enough. Nobody waits for what is left out: no dead letter, and
        nothing of which the disk knows the beginning.
        """
        records = [record for turn in self._turns for record in turn]
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
        turns = ([record for record in turn if wanted(record)] for turn in self._turns)
        self._turns = deque(turn for turn in turns if turn)
        self._size = sum(map(len, self._turns))


def run_of(record: Record) -> RunKey | None:
    """The Run that a record is about, if it is about one."""
    match record:
        case RecordRun() | RecordNotStarted() | RecordRevived():
            return record.run
        case RecordAttempt() | RecordStarted() | RecordEnded() | RecordWithdrawn():
            return record.attempt.run
    return None


def _ended_by(record: Record) -> RunKey | None:
    """The Run that this record ends for good."""
    match record:
        case RecordEnded(dead=False) if record.run_outcome is not None:
            return record.attempt.run
        case RecordNotStarted(dead=False):
            return record.run
    return None
