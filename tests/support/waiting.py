"""Wait for a condition instead of a fixed time."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def until(condition: Callable[[], T | None], patience: float = 10) -> T:
    """The first true value that the condition returns.

    AssertionError if it has returned none after `patience` seconds. Seconds for which the whole
    machine stood still, as virtual machines do, do not count.
    """
    begun = time.monotonic()
    deadline = begun + patience
    while not (result := condition()):
        now = time.monotonic()
        assert now < deadline, f"still not true after {patience} seconds"
        # A third of the time at most is for an expensive condition, such as running a program.
        pause = max(0.005, 2 * (now - begun))
        time.sleep(pause)
        begun = time.monotonic()
        if (stood_still := begun - now - pause) > 1:
            deadline += stood_still
    return result
