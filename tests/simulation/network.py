"""The way of a call to the database and back: late, lost, doubled, and with an unknown commit."""

from collections.abc import Callable
from dataclasses import dataclass

from pycron.cluster.calls import Answer, Call, Claims, Gates
from tests.simulation.broker import Broker
from tests.simulation.database import Database
from tests.simulation.world import Process, World

_PATIENCE = 10.0  # seconds for an answer
_ZOMBIE = 40.0  # seconds after which a request that was given up may still be carried out

Answered = Callable[[Answer], None]
FailedWith = Callable[[str], None]


@dataclass(slots=True)
class Link:
    """How a host reaches the database: `latency` (seconds), and which way is cut."""

    latency: float = 0.0
    no_requests: bool = False
    no_answers: bool = False


class Network:
    """`down`: the server answers nobody. `unknown`: the chance that a commit remains unknown."""

    def __init__(self, world: World, database: Database) -> None:
        self.world = world
        self.database = database
        self.links: dict[str, Link] = {}
        self.broker = Broker(world)
        self.down = False
        self.unknown = 0.02

    def call(self, process: Process, call: Call, done: Answered, failed: FailedWith) -> None:
        """Exactly one of `done` and `failed` is called, as long as the process lives."""
        world, link = self.world, self.links.setdefault(process.machine.name, Link())
        chance = world.random.random
        arrives = chance() * 0.02 + link.latency * chance()
        if self.down:
            process.after(0.01, lambda: failed("refused"))
            return
        answered = False

        def answer(result: Answer | str) -> None:
            nonlocal answered
            if not answered:
                answered = True
                if isinstance(result, str):
                    failed(result)
                else:
                    done(result)

        process.after(_PATIENCE, lambda: answer("no answer in time"))
        if link.no_requests:
            if chance() < 0.05:  # it is sent again until the network carries it
                world.after(chance() * _ZOMBIE, lambda: self._carry_out(call, lambda _: None))
            return
        if chance() < 0.02:
            world.after(chance() * _ZOMBIE, lambda: self._carry_out(call, lambda _: None))

        def back(result: Answer | None) -> None:
            if result is None or chance() < self.unknown:
                process.after(0.01, lambda: answer("the connection has ended"))
            elif not link.no_answers:
                process.after(chance() * (0.02 + link.latency), lambda: answer(result))

        world.after(arrives, lambda: self._carry_out(call, back))

    def _carry_out(self, call: Call, back: Callable[[Answer | None], None]) -> None:
        if self.down:
            back(None)
        elif isinstance(call, Claims | Gates) and not self.world.rules.lock_first:
            plans = self.database.count(call)
            wait = self.world.random.random() * 0.05  # for the lock

            def write() -> None:
                back(self.database.write(call, plans))

            self.world.after(wait, write)
        else:
            back(self.database.perform(call))
