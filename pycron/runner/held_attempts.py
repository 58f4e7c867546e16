"""The Attempts that wait for their go message and that no starter is ready for.

Imported by the runner: it stays small.
"""

from collections import Counter
from collections.abc import Iterable, Set

from pycron.runner.attempt import Attempt, User


class HeldAttempts:
    """In the order in which they came in."""

    def __init__(self) -> None:
        self._by_id: dict[str, Attempt] = {}
        self._user_of: dict[str, User] = {}  # by id: one that was refused names no user any more
        self._users: Counter[User] = Counter()  # how many each has; none has 0

    def __bool__(self) -> bool:
        return bool(self._by_id)

    def add(self, attempt: Attempt) -> None:
        self._by_id[attempt.id] = attempt
        user = self._user_of[attempt.id] = attempt.user
        self._users[user] += 1

    def put_back(self, attempts: Iterable[Attempt]) -> None:
        """Add Attempts that were taken out; each gets its old place."""
        every = [*self._by_id.values(), *attempts]
        self._by_id.clear()
        self._user_of.clear()
        self._users.clear()
        for attempt in sorted(every, key=lambda each: each.tree.mark, reverse=True):
            self.add(attempt)

    def take(self, id: str) -> bool:
        """Remove an Attempt; False if it is not there."""
        if self._by_id.pop(id, None) is None:
            return False
        user = self._user_of.pop(id)
        self._users[user] -= 1
        if not self._users[user]:
            del self._users[user]
        return True

    def take_until(self, second: float) -> list[Attempt]:
        """Remove and return those that are held until this second (UTC) or an earlier one."""
        found = [attempt for attempt in self._by_id.values() if attempt.hold <= second]
        for attempt in found:
            self.take(attempt.id)
        return found

    def has_others_than(self, users: Set[User]) -> bool:
        """Whether there is one of a user who is not among these."""
        return any(user not in users for user in self._users)

    def first_of_others_than(self, users: Set[User]) -> list[Attempt]:
        """Those that come first and are of one kind, of a user who is not among these.

        There must be one.
        """
        others = [each for each in self._by_id.values() if each.user not in users]
        first = min(others, key=lambda attempt: attempt.hold)
        return [each for each in others if each.hold == first.hold and each.kind == first.kind]
