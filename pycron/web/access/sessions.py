"""Sessions of the page: what the cookie of a browser stands for. They live in memory only."""

import secrets
from collections.abc import Callable
from dataclasses import dataclass

from pycron.web.access.visitor import Visitor

IDLE = 30 * 60.0  # seconds without a request after which a session ends
LONGEST = 12 * 3600.0  # seconds after the login
_MOST = 1000  # sessions; a new one ends the one that was idle for the longest time


@dataclass(slots=True)
class _Session:
    visitor: Visitor
    began: float
    used: float


class Sessions:
    """`clock`: seconds of a monotonic clock."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._sessions: dict[str, _Session] = {}  # the one that was used last is the last one

    def begin(self, visitor: Visitor) -> str:
        """The id of a new session. An id that a browser has sent is never used for one."""
        self._end_old()
        while len(self._sessions) >= _MOST:
            del self._sessions[next(iter(self._sessions))]
        now = self._clock()
        session_id = secrets.token_urlsafe(32)
        self._sessions[session_id] = _Session(visitor, now, now)
        return session_id

    def find(self, session_id: str, *, used: bool = True) -> Visitor | None:
        """The visitor of a session that has not ended. `used`: the request counts as use of it."""
        session = self._sessions.get(session_id)
        if session is None:
            return None
        if self._has_ended(session):
            del self._sessions[session_id]
            return None
        if used:
            session.used = self._clock()
            self._sessions[session_id] = self._sessions.pop(session_id)
        return session.visitor

    def end(self, session_id: str) -> None:
        self._sessions.pop(session_id, None)

    def _end_old(self) -> None:
        old = [key for key, each in self._sessions.items() if self._has_ended(each)]
        for session_id in old:
            del self._sessions[session_id]

    def _has_ended(self, session: _Session) -> bool:
        now = self._clock()
        return now - session.used > IDLE or now - session.began > LONGEST
