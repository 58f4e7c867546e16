"""How many answers may go on while browsers listen."""

from collections import Counter

from pycron.web.daemon import Busy

_MOST = 64  # streams
_MOST_OF_ONE = 16  # streams of one user


class Streams:
    """The streams that are open, by user."""

    def __init__(self) -> None:
        self._open: Counter[str] = Counter()

    def take(self, user: str) -> None:
        """Take a place. Raises Busy if there is none."""
        if self._open.total() >= _MOST or self._open[user] >= _MOST_OF_ONE:
            raise Busy("too many live views are open: close some, or reload the page by hand")
        self._open[user] += 1

    def give_back(self, user: str) -> None:
        self._open[user] -= 1
