"""A start rate, such as limits.starts_per_second, as a token bucket."""

import math

_SHORTEST_WAIT = 0.001  # seconds, so that rounding cannot make the caller spin


class StartRate:
    """At most `per_second` starts (at least 1) at one moment, and `per_second` a second after that.

    None is no limit. `steady`: seconds of a clock that cannot be set.
    """

    def __init__(self, per_second: float | None) -> None:
        self._per_second = per_second
        self._most = max(1.0, per_second or 0.0)
        self._tokens = self._most
        self._refilled: float | None = None

    def change(self, per_second: float | None) -> None:
        """Another rate from now on: a higher one allows more as time passes, but no burst now."""
        if per_second == self._per_second:
            return
        self._most = max(1.0, per_second or 0.0)
        if self._per_second is None:  # starts without a limit were not counted
            self._tokens, self._refilled = self._most, None
        self._per_second = per_second
        self._tokens = min(self._tokens, self._most)

    def allows(self, steady: float) -> bool:
        """Whether one more start is allowed now."""
        rate = self._per_second
        if rate is None:
            return True
        passed = max(0.0, steady - self._refilled) if self._refilled is not None else 0.0
        self._tokens = min(self._most, self._tokens + passed * rate)
        self._refilled = steady
        return self._tokens >= 1

    def count_start(self) -> None:
        self._tokens -= 1

    def wait(self) -> float:
        """Seconds from the last look until the next start is allowed; infinity without a wait."""
        rate = self._per_second
        if not rate or self._tokens >= 1:
            return math.inf
        return max(_SHORTEST_WAIT, (1 - self._tokens) / rate)
