"""The Attempts that have ended lately, for those who follow what is printed."""

from collections import deque
from collections.abc import Iterable

from pycron.engine.actions import Record, RecordEnded
from pycron.model.run import AttemptKey

_MOST = 1000  # Attempts; who asks four times a second misses none at 4,000 ends in a second
_ENDS_OF_A_SECOND = 1_000_000


class EndedAttempts:
    """The ends are numbered, also across the daemons of one machine: the numbers only grow."""

    def __init__(self, began: int = 0) -> None:
        """`began`: the UTC second at which this daemon was started."""
        self.last = began * _ENDS_OF_A_SECOND
        self._attempts: deque[AttemptKey] = deque(maxlen=_MOST)
        self._first = self.last

    def note(self, records: Iterable[Record]) -> None:
        """Attempts end, as these records say."""
        for record in records:
            if isinstance(record, RecordEnded):
                self._attempts.append(record.attempt)
                self.last += 1

    def after(self, number: int) -> tuple[list[AttemptKey], int]:
        """Those that ended after the end of this number, and how many more are forgotten."""
        count = self.last - max(number, self._first)
        known = list(self._attempts)[-count:] if count > 0 else []
        return known, max(0, count - len(known))
