"""StartQueue that wait to be started: users take turns.

Imported by the runner: it stays small.
"""

from collections import deque
from collections.abc import Container

from pycron.runner.spawn import Order

User = int | None  # None: who the runner is


class StartQueue:
    """A queue for each user, so that nobody's many orders hold up another's few."""

    def __init__(self) -> None:
        self._queues: dict[User, deque[Order]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._queues.values()))

    def add(self, order: Order) -> None:
        """Raises KeyError, TypeError or ValueError for an order of nobody's."""
        self._queues.setdefault(user_of(order), deque()).append(order)

    def put_back(self, order: Order) -> None:
        """It comes first again when it is its user's turn."""
        self._queues.setdefault(user_of(order), deque()).appendleft(order)

    def count_but(self, barred: Container[User]) -> int:
        """How many anybody but these has."""
        return sum(len(queue) for user, queue in self._queues.items() if user not in barred)

    def next_turn(self, barred: Container[User]) -> deque[Order]:
        """The orders of the user whose turn it is, to take from: empty when nobody has any.

        None of those who are barred; and whose turn it was comes last from now on.
        """
        self._queues = {user: queue for user, queue in self._queues.items() if queue}
        for user, queue in self._queues.items():
            if user not in barred:
                self._queues[user] = self._queues.pop(user)
                return queue
        return deque()


def user_of(order: Order) -> User:
    """Raises KeyError, TypeError or ValueError for nobody."""
    user = order["user"]
    return None if user is None else int(user["uid"])
