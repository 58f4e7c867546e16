"""Work in steps: a generator yields after each part of the work, and returns the result.

The daemon does a step between its other work, so that no table and no request keeps it from what is
due.
"""

from collections.abc import Generator
from typing import TypeVar

T = TypeVar("T")
Steps = Generator[None, None, T]


def finish(steps: Steps[T]) -> T:
    """Do all steps that are left, and return the result."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: T = end.value
            return result
