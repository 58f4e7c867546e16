"""The pauses that hold."""

import math
from collections.abc import Iterable, Iterator

from pycron.model.instants import rfc3339
from pycron.model.job import Job
from pycron.model.pause import Pause, Scope, scopes_of


class Pauses:
    """One for each scope at the most."""

    def __init__(self, pauses: Iterable[Pause]) -> None:
        self._pauses = {pause.scope: pause for pause in pauses}

    def __iter__(self) -> Iterator[Pause]:
        return iter(list(self._pauses.values()))

    def begin(self, pause: Pause) -> None:
        """In place of one of the same scope."""
        self._pauses[pause.scope] = pause

    def end(self, scope: Scope) -> bool:
        """Whether there was one to end."""
        return self._pauses.pop(scope, None) is not None

    def of(self, job: Job) -> Pause | None:
        """One that keeps a Job from beginning; None when it may."""
        if not self._pauses:
            return None
        found = (self._pauses.get(scope) for scope in scopes_of(job))
        return next((pause for pause in found if pause is not None), None)

    def over(self, now: float) -> list[Scope]:
        """The scopes of those whose time is over."""
        return [p.scope for p in self._pauses.values() if p.until is not None and p.until <= now]

    def next_end(self) -> float:
        """The UTC second at which the first of them is over by itself."""
        ends = (pause.until for pause in self._pauses.values() if pause.until is not None)
        return min(ends, default=math.inf)


def in_words(pause: Pause) -> str:
    """Why something does not begin."""
    return f"paused by {pause.by}" + (f": {pause.reason}" if pause.reason else "")


def with_its_end(pause: Pause) -> str:
    """Why something does not begin for now; and until when, where that is known."""
    return in_words(pause) + (f", until {rfc3339(pause.until)}" if pause.until else "")
