"""How often somebody may fail to log in."""

from collections.abc import Callable

_MOST_FAILURES = 10  # of one address in the window
_WINDOW = 600.0  # seconds
_MOST_ADDRESSES = 10_000


class Attempts:
    """Failed logins by the address of the browser. `clock`: seconds of a monotonic clock."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._failures: dict[str, list[float]] = {}  # the address that failed last is the last one

    def may_try(self, address: str) -> bool:
        begin = self._clock() - _WINDOW
        recent = [each for each in self._failures.get(address, []) if each > begin]
        return len(recent) < _MOST_FAILURES

    def failed(self, address: str) -> None:
        begin = self._clock() - _WINDOW
        before = self._failures.pop(address, [])
        self._failures[address] = [*(each for each in before if each > begin), self._clock()]
        while len(self._failures) > _MOST_ADDRESSES:
            del self._failures[next(iter(self._failures))]
