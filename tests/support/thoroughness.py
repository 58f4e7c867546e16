"""How thorough this run of the tests is; tests/conftest.py sets it from the option --thorough."""

from collections.abc import Iterable

import pytest

_thorough = False


def set_thorough(thorough: bool) -> None:
    """Set the thoroughness. Call this first: test modules call number_of() when imported."""
    global _thorough  # noqa: PLW0603 - one value for the whole process, set once
    _thorough = thorough


def is_thorough() -> bool:
    return _thorough


def number_of(quick: int, thorough: int) -> int:
    """How often a random test is repeated in this run."""
    return thorough if _thorough else quick


def slow_after(count: int, values: Iterable[object]) -> list[object]:
    """Parameters of a test. The first `count` run by default, the others have the mark `slow`."""
    found = list(values)
    return found[:count] + [
        pytest.param(*(value if isinstance(value, tuple) else (value,)), marks=pytest.mark.slow)
        for value in found[count:]
    ]
