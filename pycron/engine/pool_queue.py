"""The queue of one pool: its waiting Runs by priority and user."""

from collections import Counter
from collections.abc import Callable

from pycron.engine.lapsing_heap import LapsingHeap
from pycron.model.run import RunKey

# Minus the priority, when the Run was due, a serial number, the Run.
Item = tuple[int, float, int, RunKey]
# Minus the priority among users, the user's last turn, then as in an item.
Rank = tuple[int, int, int, float, int]
# The user's last turn, their first item, the user.
_Entry = tuple[int, Item, str]


class PoolQueue:
    """The Runs that wait for one pool, or all those without a pool.

    `is_current`: whether an item still stands for a waiting Run; that of one that was withdrawn
    does not. `last_turn`: when each user had a turn last; a number that only grows.
    """

    def __init__(self, is_current: Callable[[Item], bool], last_turn: Counter[str]) -> None:
        self._is_current = is_current
        self._last_turn = last_turn
        self._levels: dict[int, _UsersInTurn] = {}  # by minus the priority among users

    def __bool__(self) -> bool:
        """Whether there may be a waiting Run."""
        return bool(self._levels)

    def push(self, priority: int, user: str, item: Item) -> None:
        """`priority`: that among users; the item has the priority among the user's own Runs."""
        users = self._levels.get(-priority)
        if users is None:
            users = self._levels[-priority] = _UsersInTurn(self._is_current, self._last_turn)
        users.push(user, item)

    def first(self, has_room: Callable[[str], bool]) -> tuple[Rank, RunKey] | None:
        """The next Run to admit, of the users whose limit has room; None if there is none."""
        for level in sorted(self._levels):
            found = self._levels[level].first(has_room)
            if found is not None:
                turn, (own, due, serial, run), _ = found
                return (level, turn, own, due, serial), run
            if not self._levels[level]:
                del self._levels[level]
        return None


class _UsersInTurn:
    """The users of one priority: who had a turn last comes last.

    To find the next one takes a time that hardly grows with the number of users. An entry whose
    user has had another turn, or has another first item, is made anew when it comes to the front.
    """

    def __init__(self, is_current: Callable[[Item], bool], last_turn: Counter[str]) -> None:
        self._is_current = is_current
        self._last_turn = last_turn
        self._items: dict[str, LapsingHeap[Item]] = {}  # by user
        self._entries: dict[str, _Entry] = {}  # by user
        self._order: LapsingHeap[_Entry]
        self._order = LapsingHeap(lambda entry: self._entries.get(entry[-1]) is entry)

    def __bool__(self) -> bool:
        return bool(self._items)

    def push(self, user: str, item: Item) -> None:
        items = self._items.get(user)
        if items is None:
            items = self._items[user] = LapsingHeap(self._is_current)
        items.push(item)
        if items.first() is item:
            self._enter(user, item)

    def first(self, has_room: Callable[[str], bool]) -> _Entry | None:
        """The entry of the first user who has room; None if nobody has."""
        without_room = []
        found = None
        while found is None and self._order.first() is not None:
            entry = self._order.pop()
            user = entry[-1]
            item = self._items[user].first()
            if item is None:
                del self._items[user], self._entries[user]
            elif entry != (self._last_turn[user], item, user):
                self._enter(user, item)
            elif has_room(user):
                found = entry
            else:
                without_room.append(entry)
        for entry in [found, *without_room] if found else without_room:
            self._order.push(entry)
        return found

    def _enter(self, user: str, first: Item) -> None:
        entry = self._entries[user] = self._last_turn[user], first, user
        self._order.push(entry)
