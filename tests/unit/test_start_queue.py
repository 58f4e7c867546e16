"""The Attempts that wait in the runner: users take turns, and the counts are right."""

import random
from collections import Counter

from pycron.runner.start_queue import StartQueue


class Waiting:
    """What the queue needs of an Attempt."""

    def __init__(self, user: int | None, number: int) -> None:
        self.user = user
        self.number = number


def taken(queue: StartQueue, barred: set[int | None], count: int) -> list[int | None]:
    return [queue.take(queue.next_turn(barred)).user for _ in range(count)]


def test_users_take_turns() -> None:
    queue = StartQueue()
    for number, user in enumerate([1, 1, 1, 2, None, 2]):
        queue.add(Waiting(user, number))  # type: ignore[arg-type]
    assert taken(queue, {2}, 2) == [1, None]
    assert taken(queue, set(), 4) == [2, 1, 2, 1]
    assert not queue.next_turn(())
    assert len(queue) == 0


def test_the_counts_are_right_after_any_steps() -> None:
    dice = random.Random(1)
    queue = StartQueue()
    waiting: Counter[int] = Counter()
    for number in range(2000):
        barred = {dice.randrange(5)}
        user = dice.randrange(5)
        step = dice.randrange(4)
        if step == 0:
            queue.add(Waiting(user, number))  # type: ignore[arg-type]
            waiting[user] += 1
        elif step == 1:
            queue.put_back(Waiting(user, number))  # type: ignore[arg-type]
            waiting[user] += 1
        elif found := queue.next_turn(barred):
            of = queue.take(found).user
            assert of is not None
            assert of not in barred
            waiting[of] -= 1
        others = sum(count for each, count in waiting.items() if each not in barred)
        assert queue.count_except(barred) == others
        assert len(queue) == sum(waiting.values())
        assert queue.users == {each for each, count in waiting.items() if count}
    assert len(queue.take_all()) == sum(waiting.values())
    assert (len(queue), queue.users) == (0, set())
