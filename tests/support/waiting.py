"""Wait for a condition instead of a fixed time."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def until(condition: Callable[[], T | None], patience: float = 10) -> T:
    """The first true value that the condition returns.

    AssertionError if it has returned none after `patience` seconds.
    """
    deadline = time.monotonic() + patience
    while not (result := condition()):
        assert time.monotonic() < deadline, f"still not true after {patience} seconds"
        time.sleep(0.005)
    return result
