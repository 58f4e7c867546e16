"""The Attempts that wait to be started: users take turns.

Imported by the runner: it stays small.
"""

from collections import deque
from collections.abc import Container

from pycron.runner.attempt import Attempt, User


class StartQueue:
    """One queue for each user, so that one user's many Attempts do not delay another's few."""

    def __init__(self) -> None:
        self._queues: dict[User, deque[Attempt]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._queues.values()))

    @property
    def users(self) -> set[User]:
        return set(self._queues)

    def add(self, attempt: Attempt) -> None:
        self._queues.setdefault(attempt.user, deque()).append(attempt)

    def put_back(self, attempt: Attempt) -> None:
        """Add an Attempt that is started before the others of its user."""
        self._queues.setdefault(attempt.user, deque()).appendleft(attempt)

    def count_except(self, barred: Container[User]) -> int:
        """How many Attempts of other users wait."""
        return sum(len(queue) for user, queue in self._queues.items() if user not in barred)

    def next_turn(self, barred: Container[User]) -> deque[Attempt]:
        """The queue of the user whose turn it is, to take Attempts from; empty if there is none.

        Users who are barred have no turn. The user whose queue is returned comes last next time.
        """
        self._queues = {user: queue for user, queue in self._queues.items() if queue}
        for user, queue in self._queues.items():
            if user not in barred:
                self._queues[user] = self._queues.pop(user)
                return queue
        return deque()
