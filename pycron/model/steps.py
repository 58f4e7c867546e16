"""Work in steps: a generator yields after each part of the work, and returns the result.

The daemon does a step between its other work, so that no table and no request keeps it from what is
due.
"""

from collections.abc import Callable, Generator
from typing import TypeVar

T = TypeVar("T")
Steps = Generator[None, None, T]


def finish(steps: Steps[T], between: Callable[[], object] = lambda: None) -> T:
    """Do all steps that are left, and return the result. `between`: is called after each step."""
    while True:
        try:
            next(steps)
            between()
        except StopIteration as end:
            result: T = end.value
            return result
