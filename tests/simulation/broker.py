"""The broker: it loses, doubles and delays messages, which are only hints."""

from collections.abc import Iterable

from pycron.cluster.calls import Publication
from tests.simulation.world import World

_LOST, _DOUBLED, _LATE = 0.1, 0.15, 0.1  # chances
_LATEST = 300.0  # seconds


class Broker:
    """`down`: it takes no messages and gives none. `faulty`: it loses, doubles and delays some."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.down = False
        self.faulty = True
        self._waiting: list[Publication] = []

    def send(self, publications: Iterable[Publication]) -> bool:
        """Whether it has taken the messages."""
        if self.down:
            return False
        for publication in publications:
            chance = self.world.random.random
            if not self.faulty:
                self._waiting.append(publication)
            elif chance() >= _LOST:
                self._deliver(publication)
                if chance() < _DOUBLED:
                    self._deliver(publication)
        return True

    def take(self) -> Publication | None:
        """The message that waits for longest."""
        return self._waiting.pop(0) if self._waiting and not self.down else None

    def _deliver(self, publication: Publication) -> None:
        chance = self.world.random.random
        delay = _LATEST * chance() if chance() < _LATE else 0.5 * chance()
        self.world.after(delay, lambda: self._waiting.append(publication))
