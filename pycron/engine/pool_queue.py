"""The queue of one pool: its waiting Runs by priority and user."""

from collections import Counter
from collections.abc import Callable
from heapq import heappop, heappush

from pycron.model.run import RunKey

# Minus the priority, when the Run was due, a serial number, the Run.
Item = tuple[int, float, int, RunKey]
# Minus the priority among users, the user's last turn, then as in an item.
Rank = tuple[int, int, int, float, int]


class PoolQueue:
    """The Runs that wait for one pool, or all those without a pool.

    The item of a Run that was withdrawn stays until it comes to the front. `is_current`: whether an
    item still stands for a waiting Run.
    """

    def __init__(self, is_current: Callable[[Item], bool]) -> None:
        self._is_current = is_current
        # A level: minus the priority among users.
        self._users_by_level: dict[int, dict[str, list[Item]]] = {}

    def __bool__(self) -> bool:
        """Whether there may be a waiting Run."""
        return bool(self._users_by_level)

    def push(self, priority: int, user: str, item: Item) -> None:
        """`priority`: that among users; the item has the priority among the user's own Runs."""
        heappush(self._users_by_level.setdefault(-priority, {}).setdefault(user, []), item)

    def first(
        self, has_room: Callable[[str], bool], last_turn: Counter[str]
    ) -> tuple[Rank, RunKey] | None:
        """The next Run to admit, of the users whose limit has room; None if there is none."""
        for level in sorted(self._users_by_level):
            self._remove_stale(level)
            users = self._users_by_level.get(level, {})
            ready = [(last_turn[user], *heap[0]) for user, heap in users.items() if has_room(user)]
            if ready:
                turn, own, due, serial, run = min(ready)
                return (level, turn, own, due, serial), run
        return None

    def _remove_stale(self, level: int) -> None:
        """Remove items at the front that are not current, and users and levels without items."""
        users = self._users_by_level[level]
        for user, heap in list(users.items()):
            while heap and not self._is_current(heap[0]):
                heappop(heap)
            if not heap:
                del users[user]
        if not users:
            del self._users_by_level[level]
