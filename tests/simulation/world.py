"""Time, processes that can be killed and stopped, and the machines that they run on."""

import heapq
import random
from collections.abc import Callable
from itertools import count

from pycron.system.lease_file import Lease
from tests.simulation.rules import Rules

Step = Callable[[], None]


class World:
    """`now`: true seconds, which no process sees. `steps`: how many things have happened."""

    def __init__(self, seed: int, rules: Rules) -> None:
        self.now = 0.0
        self.steps = 0
        self.random = random.Random(seed)
        self.rules = rules
        self._queue: list[tuple[float, int, Step]] = []
        self._numbers = count()

    def after(self, delay: float, step: Step) -> None:
        heapq.heappush(self._queue, (self.now + delay, next(self._numbers), step))

    def run(self, until: float) -> None:
        while self._queue and self._queue[0][0] <= until:
            self.now, _, step = heapq.heappop(self._queue)
            self.steps += 1
            step()
        self.now = until


class Process:
    """A process of a machine. What comes while it is stopped waits until it goes on."""

    def __init__(self, machine: "Machine") -> None:
        self.machine = machine
        self.world = machine.world
        self.is_alive = True
        self._stops = 0
        self._waiting: list[Step] = []
        machine.processes.append(self)
        if machine.asleep:
            self.stop()

    @property
    def is_running(self) -> bool:
        return self.is_alive and not self._stops

    def do(self, step: Step) -> None:
        """Do a step now, or when the process goes on, or never if it has died by then."""
        if self.is_running:
            step()
        elif self.is_alive:
            self._waiting.append(step)

    def after(self, delay: float, step: Step) -> None:
        """As `do`, so many seconds later."""
        self.world.after(delay, lambda: self.do(step))

    def kill(self) -> None:
        self.is_alive = False
        self._waiting.clear()
        if self in self.machine.processes:
            self.machine.processes.remove(self)

    def stop(self) -> None:
        self._stops += 1

    def go_on(self) -> None:
        self._stops = max(0, self._stops - 1)
        while self._waiting and self.is_running:
            self._waiting.pop(0)()


class Machine:
    """A machine with its clocks, its processes, and what is on its disk.

    `rate`: of its clocks. `offset`: how far its wall clock is ahead. `lease_file`: on a file system
    that a reboot clears.
    """

    def __init__(self, world: World, name: str, rate: float, offset: float) -> None:
        self.world = world
        self.name = name
        self.rate = rate
        self.offset = offset
        self.boots = 0
        self.is_up = True
        self.asleep = False
        self.woke = -1e9
        self.lease_file: Lease | None = None
        self.processes: list[Process] = []

    @property
    def boot_id(self) -> str:
        return f"{self.name} boot {self.boots}"

    @property
    def boottime(self) -> float:
        """It goes on while the machine sleeps."""
        return 1000.0 + self.world.now * self.rate

    @property
    def wall(self) -> float:
        return self.world.now * self.rate + self.offset

    def crash(self) -> None:
        """The power fails."""
        for process in list(self.processes):
            process.kill()
        self.is_up, self.asleep = False, False
        self.boots += 1
        self.lease_file = None

    def sleep(self) -> None:
        if self.is_up and not self.asleep:
            self.asleep = True
            for process in self.processes:
                process.stop()

    def wake(self) -> None:
        if self.asleep:
            self.asleep = False
            self.woke = self.world.now
            for process in list(self.processes):
                process.go_on()
