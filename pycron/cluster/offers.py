"""Waiting rows that are due: each is offered to the daemon, which may have room and the entry.

The preferred host offers first, as with new rows. The list is renewed with each renewal; an offer
is repeated while its row is on the list. Pure: it uses no clock.
"""

from collections.abc import Collection, Iterable

from pycron.cluster.calls import DueRow, SharedKey
from pycron.cluster.preference import asks_first
from pycron.cluster.questions import SECOND_CHOICE

AGAIN = 2.0  # seconds


class Offers:
    """`host`: the name of this host."""

    def __init__(self, host: str) -> None:
        self._host = host
        self._rows: dict[tuple[SharedKey, int], float] = {}  # when to offer it next

    def refresh(self, due: Iterable[DueRow], now: float, ready: Collection[str]) -> None:
        """The rows that a renewal has listed. A row stays due, so it keeps its next offer."""
        self._rows = {
            (row.key, row.attempt): self._rows.get(
                (row.key, row.attempt), self._first(row, now, ready)
            )
            for row in due
        }

    def remove(self, key: SharedKey, attempt: int) -> None:
        """The row does not wait after this Attempt any more."""
        self._rows.pop((key, attempt), None)

    def take(self, now: float) -> list[tuple[SharedKey, int]]:
        """The rows to offer now."""
        rows = sorted(row for row, at in self._rows.items() if at <= now)
        self._rows |= dict.fromkeys(rows, now + AGAIN)
        return rows

    def next_at(self) -> float | None:
        return min(self._rows.values(), default=None)

    def _first(self, row: DueRow, now: float, ready: Collection[str]) -> float:
        wait = 0.0 if asks_first(row.key, self._host, ready, None) else SECOND_CHOICE
        return now + max(row.due_in, 0.0) + wait
