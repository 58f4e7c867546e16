"""Pause: nothing in a scope begins for a while."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Pause:
    """Nothing within `scope` is begun before `until` (None: before it is resumed).

    `scope`: `all`, `user:NAME`, `pool:NAME` or `job:ID`. `by`: the user who wanted it, at `since`.
    """

    scope: str
    since: float
    until: float | None
    by: str
    reason: str | None = None

    def covers(self, instant: float) -> bool:
        return self.since <= instant and (self.until is None or instant < self.until)
