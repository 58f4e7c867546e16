"""The queue of a pool: whose turn it is, and how many users are asked for that."""

from collections import Counter

from pycron.engine.pool_queue import Item, PoolQueue
from pycron.model.run import RunKey

USERS = [f"user{number}" for number in range(300)]


class Queue:
    """A PoolQueue as Admission uses it. `asked`: how many users were asked for room."""

    def __init__(self) -> None:
        self.waiting: dict[RunKey, Item] = {}
        self.users: dict[RunKey, str] = {}
        self.turns: Counter[str] = Counter()
        self.queue = PoolQueue(lambda item: self.waiting.get(item[-1]) == item, self.turns)
        self.asked = 0
        self.full: set[str] = set()
        self._serial = 0

    def push(self, user: str, due: int) -> RunKey:
        self._serial += 1
        run = RunKey(f"{self._serial:016x}", due, 0)
        self.waiting[run] = item = (0, float(due), self._serial, run)
        self.users[run] = user
        self.queue.push(0, user, item)
        return run

    def admit(self) -> str | None:
        """Admit the next Run; its user."""
        found = self.queue.first(self._has_room)
        if found is None:
            return None
        del self.waiting[found[1]]
        user = self.users[found[1]]
        self._serial += 1
        self.turns[user] = self._serial
        return user

    def _has_room(self, user: str) -> bool:
        self.asked += 1
        return user not in self.full


def test_users_take_turns_whatever_one_has_waiting() -> None:
    queue = Queue()
    for second in range(5):
        queue.push("greedy", second)
    queue.push("late", 9)
    assert [queue.admit() for _ in range(7)] == ["greedy", "late", *["greedy"] * 4, None]


def test_few_users_are_asked_even_if_many_wait() -> None:
    """Else a start would cost more with each user; 500 users would double the cost of a start."""
    queue = Queue()
    for second in range(3):
        for user in USERS:
            queue.push(user, second)
    assert [queue.admit() for _ in range(3 * len(USERS))] == 3 * USERS
    assert queue.asked == 3 * len(USERS)
    assert queue.admit() is None


def test_a_user_without_room_keeps_the_turn() -> None:
    queue = Queue()
    for user in USERS[:3]:
        queue.push(user, 0)
    queue.full = {USERS[0], USERS[1]}
    assert queue.admit() == USERS[2]
    assert queue.admit() is None
    queue.full = {USERS[0]}
    queue.push(USERS[2], 1)
    assert [queue.admit(), queue.admit()] == [USERS[1], USERS[2]]
    queue.full = set()
    assert [queue.admit(), queue.admit()] == [USERS[0], None]


def test_withdrawn_runs_are_passed_over() -> None:
    queue = Queue()
    runs = [queue.push("a", second) for second in range(3)]
    queue.push("b", 9)
    del queue.waiting[runs[0]], queue.waiting[runs[1]]
    assert [queue.admit(), queue.admit(), queue.admit()] == ["a", "b", None]
    assert not queue.queue
