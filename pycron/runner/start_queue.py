"""The Attempts that wait to be started: users take turns.

Imported by the runner: it stays small.
"""

from collections import OrderedDict, deque
from collections.abc import Collection

from pycron.runner.attempt import Attempt, User


class StartQueue:
    """One queue for each user, so that one user's many Attempts do not delay another's few.

    What it does takes no longer with more users.
    """

    def __init__(self) -> None:
        self._queues: OrderedDict[User, deque[Attempt]] = OrderedDict()  # none is empty
        self._count = 0

    def __len__(self) -> int:
        return self._count

    @property
    def users(self) -> set[User]:
        return set(self._queues)

    def add(self, attempt: Attempt) -> None:
        self._queues.setdefault(attempt.user, deque()).append(attempt)
        self._count += 1

    def put_back(self, attempt: Attempt) -> None:
        """Add an Attempt that is started before the others of its user."""
        self._queues.setdefault(attempt.user, deque()).appendleft(attempt)
        self._count += 1

    def count_except(self, barred: Collection[User]) -> int:
        """How many Attempts of other users wait."""
        return self._count - sum(len(self._queues.get(user, ())) for user in barred)

    def next_turn(self, barred: Collection[User]) -> deque[Attempt]:
        """The queue of the user whose turn it is, to take() from; empty if there is none.

        Users who are barred have no turn. The user whose queue is returned comes last next time.
        """
        for user, queue in self._queues.items():
            if user not in barred:
                self._queues.move_to_end(user)
                return queue
        return deque()

    def take(self, queue: deque[Attempt]) -> Attempt:
        """Remove the Attempt that waits in front in the queue of a user."""
        attempt = queue.popleft()
        self._count -= 1
        if not queue:
            del self._queues[attempt.user]
        return attempt

    def take_all(self) -> list[Attempt]:
        waiting = [attempt for queue in self._queues.values() for attempt in queue]
        self._queues.clear()
        self._count = 0
        return waiting
