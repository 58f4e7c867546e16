"""Refusals: fire times that get no Run, because too many Runs wait; they are recorded as ranges.

Ten thousand entries that are due each second would otherwise fill the history and the log with
records of what did not happen.
"""

from dataclasses import dataclass

_JOINED = 60  # seconds between two refused fire times of a user that one range may contain
_LONGEST = 3600  # seconds of a range
_MOST_KEPT = 100  # ranges of a user that may still grow
_LOGGED_EVERY = 60.0  # seconds between two log lines about one user


@dataclass(frozen=True, slots=True)
class RefusedRange:
    """The fire times of a user in (after, until], UTC seconds, that have no Run; and why.

    `count`: how many they are. Other fire times of the user in the range have their Runs.
    """

    user: str
    after: int
    until: int
    count: int
    reason: str


class _Open:
    """A range that grows."""

    def __init__(self, user: str, after: int, reason: str) -> None:
        self.user, self.after, self.reason = user, after, reason
        self.until, self.count = after + 1, 0

    @property
    def farthest(self) -> int:
        """The last second whose fire time still belongs to the range."""
        return min(self.until + _JOINED, self.after + _LONGEST)


class Refusals:
    """The newest ranges of each user whose fire times were refused lately.

    Fire times come in any order: tables take turns, and each may be behind.
    """

    def __init__(self) -> None:
        self._open: dict[str, list[_Open]] = {}
        self._changed: dict[tuple[str, int], _Open] = {}
        self._logged: dict[str, float] = {}

    def add(self, user: str, fire: int, reason: str) -> None:
        """A fire time of this user gets no Run."""
        ranges = self._open.setdefault(user, [])
        found = next((each for each in ranges if each.after < fire <= each.farthest), None)
        if found is None:
            found = _Open(user, fire - 1, reason)
            ranges.insert(0, found)
            del ranges[_MOST_KEPT:]
        found.count += 1
        found.until = max(found.until, fire)
        self._changed[user, found.after] = found

    def take(self) -> list[RefusedRange]:
        """The ranges that are new or have grown since the last call, to be recorded."""
        changed, self._changed = self._changed, {}
        return [
            RefusedRange(each.user, each.after, each.until, each.count, each.reason)
            for each in changed.values()
        ]

    def to_be_logged(self, ranges: list[RefusedRange], now: float) -> list[RefusedRange]:
        """Those of the ranges whose user was not logged within the last minute."""
        found = []
        for each in ranges:
            if not 0 <= now - self._logged.get(each.user, -_LOGGED_EVERY) < _LOGGED_EVERY:
                self._logged[each.user] = now
                found.append(each)
        return found
