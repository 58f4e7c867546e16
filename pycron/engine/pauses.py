"""The pauses that are in force, and the words for them."""

import math
from collections.abc import Iterable, Iterator

from pycron.model.instants import rfc3339
from pycron.model.job import Job
from pycron.model.pause import ALL, Pause, Scope, scopes_of


class Pauses:
    """The pauses in force, at most one for each scope."""

    def __init__(self, pauses: Iterable[Pause]) -> None:
        self._by_scope = {pause.scope: pause for pause in pauses}

    def __iter__(self) -> Iterator[Pause]:
        return iter(list(self._by_scope.values()))

    def begin(self, pause: Pause) -> None:
        """Add a pause; it replaces the one of the same scope."""
        self._by_scope[pause.scope] = pause

    def end(self, scope: Scope) -> bool:
        """End the pause of a scope; False if there is none."""
        return self._by_scope.pop(scope, None) is not None

    def of(self, job: Job) -> Pause | None:
        """A pause that applies to a Job; None if there is none."""
        if not self._by_scope:
            return None
        found = (self._by_scope.get(scope) for scope in scopes_of(job))
        return next((pause for pause in found if pause is not None), None)

    def of_run(self, user: str, job_id: str) -> Pause | None:
        """A pause that applies to a Job of which no more is known."""
        scopes = (ALL, Scope.of_user(user), Scope.of_job(job_id))
        return next((self._by_scope[each] for each in scopes if each in self._by_scope), None)

    def over(self, now: float) -> list[Scope]:
        """The scopes of the pauses that end at or before this UTC second."""
        return [p.scope for p in self if p.until is not None and p.until <= now]

    def next_end(self) -> float:
        """The UTC second at which the first pause ends; infinity if none ends by itself."""
        return min((p.until for p in self if p.until is not None), default=math.inf)


def in_words(pause: Pause) -> str:
    """The user who has paused, and the reason."""
    return f"paused by {pause.by}" + (f": {pause.reason}" if pause.reason else "")


def with_its_end(pause: Pause) -> str:
    """The same, and when the pause ends, if that is known."""
    return in_words(pause) + (f", until {rfc3339(pause.until)}" if pause.until else "")
