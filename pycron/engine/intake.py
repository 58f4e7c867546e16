"""The fire times that have come, or come in a moment, and have no Run yet: tables take turns.

A table with thousands of fire times at one instant does not delay the few of another table.
"""

from collections import deque
from collections.abc import Collection, Iterable

from pycron.crontab.entries import Entries

# A fire time (UTC second), its pass, and the entry: the entries of its table and the index there.
DueFire = tuple[int, int, Entries, int]


class Intake:
    """Fire times, by table; those of one table in the order in which they were added."""

    def __init__(self) -> None:
        self._tables: dict[str, deque[DueFire]] = {}

    def __bool__(self) -> bool:
        return bool(self._tables)

    def add(self, due: Iterable[DueFire]) -> None:
        for fire in due:
            name = fire[2].source.name
            queue = self._tables.get(name)
            if queue is None:
                queue = self._tables[name] = deque()
            queue.append(fire)

    def take(self) -> DueFire | None:
        """The first fire time of the table whose turn it is; None if there is none."""
        if not self._tables:
            return None
        name = next(iter(self._tables))
        queue = self._tables.pop(name)
        fire = queue.popleft()
        if queue:
            self._tables[name] = queue  # its next turn comes last
        return fire

    def take_table(self, name: str) -> list[DueFire]:
        """All fire times of one table."""
        return list(self._tables.pop(name, ()))

    @property
    def tables(self) -> Collection[str]:
        """The tables that have fire times here."""
        return self._tables.keys()

    def clear(self) -> None:
        self._tables.clear()

    def earliest(self) -> int | None:
        """The first fire time; None if there is none."""
        return min((fire[0] for queue in self._tables.values() for fire in queue), default=None)
