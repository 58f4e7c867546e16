"""A start rate, such as limits.starts_per_second, as a token bucket."""

import math

_AVERAGED = 60.0  # seconds over which a user's starts are averaged
_TOGETHER = 0.25  # seconds whose starts come together when a user's share is used up
_SHORTEST_WAIT = 0.001  # seconds, so that rounding cannot make the caller spin


class StartRate:
    """At most `per_second` starts (at least 1) at one moment, and `per_second` a second after that.

    None is no limit. `steady`: seconds of a clock that cannot be set. `saved`: the starts of so
    many seconds may come at one moment. `pause`: once there is no start left, the starts of so many
    seconds come together, so that the caller does not wake up for each of them.
    """

    def __init__(self, per_second: float | None, saved: float = 1.0, pause: float = 0.0) -> None:
        self._saved = saved
        self._pause = pause
        self._per_second = per_second
        self._most = max(1.0, saved * (per_second or 0.0))
        self._tokens = self._most
        self._needed = 1.0  # tokens for the next start
        self._refilled: float | None = None

    def change(self, per_second: float | None) -> None:
        """Another rate from now on: a higher one allows more as time passes, but no burst now."""
        if per_second == self._per_second:
            return
        self._most = max(1.0, self._saved * (per_second or 0.0))
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
        if self._tokens < self._needed:
            return False
        self._needed = 1.0
        return True

    def count_start(self) -> None:
        self._tokens -= 1
        if self._tokens < 1:
            self._needed = max(1.0, min(self._most, self._pause * (self._per_second or 0.0)))

    def wait(self) -> float:
        """Seconds from the last look until the next start is allowed; infinity without a wait."""
        rate = self._per_second
        if not rate or self._tokens >= self._needed:
            return math.inf
        return max(_SHORTEST_WAIT, self._pause / 5, (self._needed - self._tokens) / rate)


class UserRates:
    """The share of each user: limits.user_starts_per_second, averaged over a minute."""

    def __init__(self, per_second: float | None) -> None:
        self._per_second = per_second
        self._rates: dict[str, StartRate] = {}

    def of(self, user: str) -> StartRate:
        rate = self._rates.get(user)
        if rate is None:
            rate = self._rates[user] = StartRate(self._per_second, _AVERAGED, _TOGETHER)
        return rate

    def change(self, per_second: float | None) -> None:
        """Another share for each user from now on."""
        self._per_second = per_second
        for rate in self._rates.values():
            rate.change(per_second)
