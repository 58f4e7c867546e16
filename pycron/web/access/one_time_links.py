"""One-time links: a link that logs in once, within minutes after it was printed."""

import hmac
from collections.abc import Callable

from pycron.web.access.secret import hash_of, new_secret
from pycron.web.access.visitor import Visitor

LIFETIME = 10 * 60.0  # seconds


class OneTimeLinks:
    """`clock`: seconds of a monotonic clock. Only hashes of the links are kept."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._links: list[tuple[str, float, Visitor]] = []

    def make(self, visitor: Visitor) -> str:
        """The secret part of a new link, of 256 random bits."""
        secret = new_secret()
        self._links.append((hash_of(secret), self._clock() + LIFETIME, visitor))
        return secret

    def use(self, secret: str) -> Visitor | None:
        """The visitor whom a link logs in, and that link is used up; None if it is not good."""
        wanted, now = hash_of(secret), self._clock()
        self._links = [link for link in self._links if link[1] > now]
        found = [link for link in self._links if hmac.compare_digest(link[0], wanted)]
        if not found:
            return None
        self._links.remove(found[0])
        return found[0][2]
