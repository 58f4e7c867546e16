"""The rows that this host holds, and what the daemon has been told of them.

A renewal lists the rows that were held at some instant between its request and its answer. So a row
that was told or finished after the request says nothing by being there, or by not being there.

A row that was finished before the request must not be there. If it is, the database has lost the
finish, as in a fail-over to an asynchronous standby: the daemon is told again, and repeats it.

Pure: it uses no clock.
"""

from collections.abc import Iterable

from pycron.cluster.calls import HeldRow, SharedKey


class HeldRows:
    """All instants are seconds of BOOTTIME."""

    def __init__(self) -> None:
        self._known: dict[tuple[SharedKey, int], float] = {}  # when told, or finished
        self._finished: set[tuple[SharedKey, int]] = set()
        self._stopped: set[tuple[SharedKey, int]] = set()

    def forget(self) -> None:
        """A new daemon knows nothing, or a new incarnation holds nothing."""
        self._known.clear()
        self._finished.clear()
        self._stopped.clear()

    def tell(self, key: SharedKey, attempt: int, now: float) -> bool:
        """Whether the daemon has to be told. It is taken as told from now on."""
        new = (key, attempt) not in self._known
        if new:
            self._known[key, attempt] = now
        return new

    def finished(self, key: SharedKey, attempt: int, now: float) -> None:
        """The row does not say any more that this host holds this Attempt."""
        if (key, attempt) in self._known:
            self._known[key, attempt] = now
            self._finished.add((key, attempt))

    def compare(self, rows: Iterable[HeldRow], asked: float, now: float) -> list[HeldRow]:
        """The rows that the daemon does not know yet. `asked`: when the renewal was requested."""
        listed = {(row.key, row.attempt): row for row in rows}
        self._known = {
            row: at
            for row, at in self._known.items()
            if at >= asked or (row in listed and row not in self._finished)
        }
        self._finished &= self._known.keys()
        self._stopped &= self._known.keys()
        return [row for row in listed.values() if self.tell(row.key, row.attempt, now)]

    def to_stop(self, rows: Iterable[HeldRow]) -> list[HeldRow]:
        """The rows whose Attempt is to end, each once."""
        new = [
            row
            for row in rows
            if row.stop is not None and (row.key, row.attempt) not in self._stopped
        ]
        self._stopped |= {(row.key, row.attempt) for row in new}
        return new
