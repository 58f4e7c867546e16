"""Waiting for a condition, never for luck."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def until(condition: Callable[[], T], patience: float = 10) -> T:
    """What the condition returns once that is true; AssertionError when patience runs out."""
    deadline = time.monotonic() + patience
    while not (result := condition()):
        assert time.monotonic() < deadline, f"still not true after {patience} seconds"
        time.sleep(0.005)
    return result
