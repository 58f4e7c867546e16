"""Wait for a condition instead of a fixed time."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def until(condition: Callable[[], T | None], patience: float = 10) -> T:
    """The first true value that the condition returns.

    AssertionError if it has returned none after `patience` seconds.
    """
    begun = time.monotonic()
    deadline = begun + patience
    while not (result := condition()):
        now = time.monotonic()
        assert now < deadline, f"still not true after {patience} seconds"
        # Half of the time at most is for a condition that is expensive, such as running a program.
        time.sleep(max(0.005, now - begun))
        begun = time.monotonic()
    return result
