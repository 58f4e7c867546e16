"""When the daemon's process visits all of its objects to find cyclic garbage."""

import gc
import weakref
from collections.abc import Iterator

import pytest

from pycron.daemon import garbage

FEW, MANY = 10, 100_000  # Runs that have not ended
OLDEST = 2  # the generation


class Node:
    """An object of a cycle."""

    def __init__(self) -> None:
        self.itself = self


@pytest.fixture
def charge() -> Iterator[None]:
    before = gc.get_threshold()
    garbage.take_charge()
    yield
    gc.set_threshold(*before)
    gc.unfreeze()


@pytest.fixture
def old_garbage(charge: None) -> weakref.ref[Node]:
    """A cycle that nothing refers to any more, and that has outlived the short visits."""
    node = Node()
    gc.collect(OLDEST - 1)
    return weakref.ref(node)


def visits() -> int:
    """How often all objects were visited so far."""
    return int(gc.get_stats()[OLDEST]["collections"])


@pytest.mark.usefixtures("charge")
def test_a_flood_of_objects_is_no_reason_to_visit_all() -> None:
    before = visits()
    kept = [[] for _ in range(300_000)]  # type: ignore[var-annotated]
    assert visits() == before
    garbage.collect(MANY)
    assert visits() == before
    garbage.collect(FEW)
    assert visits() == before + 1
    assert kept


def test_garbage_is_freed_once_a_minute(old_garbage: weakref.ref[Node]) -> None:
    garbage.collect(MANY)
    assert old_garbage() is not None
    garbage.collect(FEW)
    assert old_garbage() is None


@pytest.mark.usefixtures("charge")
def test_the_youngest_garbage_is_freed_at_any_time() -> None:
    node = weakref.ref(Node())
    kept = [[] for _ in range(100_000)]  # type: ignore[var-annotated]
    assert node() is None
    assert kept
