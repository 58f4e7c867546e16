"""One cluster of three hosts, from its beginning through all faults until it has healed."""

from collections.abc import Callable
from dataclasses import dataclass

from tests.simulation.checker import Checker
from tests.simulation.daemon import Host, Store
from tests.simulation.database import Database
from tests.simulation.faults import LONGEST, Fault, Faults
from tests.simulation.jobs import EPOCH
from tests.simulation.network import Network
from tests.simulation.rules import Rules
from tests.simulation.world import Machine, World

UNTIL = 900.0  # seconds in which faults happen
HEALED = UNTIL + LONGEST
_CALM = 900.0  # seconds after that: the longest fence, window and retries
_HOSTS = 3


@dataclass(slots=True)
class Result:
    """`steps`: how many things happened. `faults`: what did not hold.

    `goodbyes`: how often a host has given up its name itself.
    """

    steps: int
    faults: list[str]
    runs: int
    attempts: int
    goodbyes: int


def simulate(seed: int, faults: list[Fault], rules: Rules | None = None) -> Result:
    """Stops at the first thing that does not hold."""
    world = World(seed, rules or Rules())
    steps = [0.0]
    database = Database(lambda: EPOCH + world.now + steps[0], world.rules)
    network = Network(world, database)
    checker = Checker(world, database)
    hosts = [_host(number, world, network, checker) for number in range(_HOSTS)]
    happening = Faults(world, database, network, hosts, lambda host: _twin(host, network, checker))
    happening.schedule(faults)
    for host in hosts:
        world.after(world.random.random(), host.start)
    end = HEALED + _CALM
    while world.now < end and not checker.faults:
        if world.now == UNTIL:
            network.unknown = 0.0
            network.broker.faulty = False
        steps[0] = happening.database_step if world.now < HEALED else 0.0
        world.run(world.now + 1.0)
    if not checker.faults:
        checker.finish(EPOCH + UNTIL)
    rows = database.rows.values()
    attempts = sum(row.attempt for row in rows)
    return Result(world.steps, checker.faults, len(rows), attempts, database.goodbyes)


def _host(number: int, world: World, network: Network, checker: Checker) -> Host:
    """Clocks 30 s apart, of rates up to 2 % apart."""
    offset = EPOCH + (world.random.random() - 0.5) * 60
    rate = 1 + (world.random.random() - 0.5) * 0.04
    name = f"web{number + 1}"
    machine = Machine(world, name, rate, offset)
    return Host(name, machine, network, checker, Store(f"store {number}"))


def _twin(host: Host, network: Network, checker: Checker) -> Callable[[], None]:
    """Another machine that has the name of a host."""
    world = host.machine.world
    number = f"{host.name} twin {world.now:.0f}"
    machine = Machine(world, number, 1.0, EPOCH)
    twin = Host(host.name, machine, network, checker, Store(number))
    twin.start()
    return machine.crash
