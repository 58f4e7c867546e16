"""A heap whose items may lapse: they stand for something that is not there any more."""

from collections.abc import Callable
from heapq import heapify, heappop, heappush
from typing import Any, Generic, Protocol, TypeVar


class _Ordered(Protocol):
    def __lt__(self, other: Any, /) -> bool: ...


T = TypeVar("T", bound=_Ordered)

_MOST_LAPSED = 1000  # items, in addition to as many as there were current ones


class LapsingHeap(Generic[T]):
    """A heap: the smallest item comes first.

    An item that has lapsed is removed when it comes to the front, and at the latest when half of
    all items may have lapsed. So a user whose Runs come and go does not fill the memory.
    """

    def __init__(self, is_current: Callable[[T], bool]) -> None:
        """`is_current`: False of an item that has lapsed; such an item never becomes current."""
        self._is_current = is_current
        self._heap: list[T] = []
        self._most = _MOST_LAPSED

    def push(self, item: T) -> None:
        heappush(self._heap, item)
        if len(self._heap) > self._most:
            self._heap = [item for item in self._heap if self._is_current(item)]
            heapify(self._heap)
            self._most = 2 * len(self._heap) + _MOST_LAPSED

    def first(self) -> T | None:
        """The smallest item; None if there is none."""
        heap = self._heap
        while heap and not self._is_current(heap[0]):
            heappop(heap)
        return heap[0] if heap else None

    def pop(self) -> T:
        """Remove the item that `first` has returned."""
        return heappop(self._heap)

    def current(self) -> list[T]:
        """All items, in no order."""
        return [item for item in self._heap if self._is_current(item)]

    def clear(self) -> None:
        self._heap.clear()
