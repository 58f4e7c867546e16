"""A heap whose items may lapse: always the smallest current item, and memory for few others."""

import weakref
from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from pycron.engine.lapsing_heap import LapsingHeap


@dataclass(frozen=True, order=True)
class Item:
    """A number that a weak reference can follow."""

    number: int


@given(st.lists(st.tuples(st.sampled_from(["push", "lapse", "pop"]), st.integers(0, 99))))
def test_the_first_item_is_the_smallest_current_one(steps: list[tuple[str, int]]) -> None:
    current: set[int] = set()
    heap = LapsingHeap(current.__contains__)
    for step, number in steps:
        if step == "push" and number not in current:
            current.add(number)
            heap.push(number)
        elif step == "lapse":
            current.discard(number)
        elif step == "pop" and current:
            assert heap.first() == min(current)
            current.discard(heap.pop())
        assert heap.first() == min(current, default=None)
        assert set(heap.current()) == current


def test_lapsed_items_are_not_kept_behind_a_current_one() -> None:
    first = Item(0)
    heap: LapsingHeap[Item] = LapsingHeap(lambda item: item is first)
    heap.push(first)
    kept: weakref.WeakSet[Item] = weakref.WeakSet()
    for number in range(1, 20_000):
        item = Item(number)
        kept.add(item)
        heap.push(item)
    assert len(kept) < 2000


def test_many_current_items_are_all_kept() -> None:
    heap: LapsingHeap[int] = LapsingHeap(lambda _: True)
    for number in reversed(range(10_000)):
        heap.push(number)
    assert [heap.pop() for _ in range(10_000) if heap.first() is not None] == [*range(10_000)]
