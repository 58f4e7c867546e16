"""What goes wrong, when, where, and for how long; and how it heals.

Not promised, and left out: runner and daemon of a host dead or stopped together.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass

from tests.simulation.daemon import Host
from tests.simulation.database import Database
from tests.simulation.jobs import JOBS
from tests.simulation.network import Link, Network
from tests.simulation.world import Process, World

KINDS = (
    "kill_agent", "kill_daemon", "kill_runner", "stop_agent", "stop_daemon", "stop_runner",
    "crash", "sleep", "step_clock", "step_database_clock", "outage", "cut", "cut_requests",
    "cut_answers", "latency", "stall", "late_start", "twin", "edit", "drain", "broker",
    "leave",
)  # fmt: skip
LONGEST = 300.0  # seconds
_CALL = 10.0  # seconds: longer than a call that is slow
_CUT = 150.0  # seconds: longer than a fence


@dataclass(frozen=True, slots=True)
class Fault:
    """At `at` seconds, to the host with this number, for `duration` seconds."""

    kind: str
    at: float
    host: int
    duration: float


def random_faults(seed: int, count: int, until: float) -> list[Fault]:
    chance = random.Random(seed)
    return [
        Fault(
            chance.choice(KINDS),
            chance.random() * until,
            chance.randrange(3),
            chance.choice((2.0, 20.0, 150.0, LONGEST)) * chance.random(),
        )
        for _ in range(count)
    ]


class Faults:
    """Makes faults happen. `twin`: starts a second host with the name of one; returns its end."""

    def __init__(
        self,
        world: World,
        database: Database,
        network: Network,
        hosts: list[Host],
        twin: Callable[[Host], Callable[[], None]],
    ) -> None:
        self._world = world
        self._database = database
        self._network = network
        self._hosts = hosts
        self._twin = twin
        self.database_step = 0.0

    def schedule(self, faults: list[Fault]) -> None:
        for fault in faults:
            self._world.after(fault.at, lambda fault=fault: self._happen(fault))  # type: ignore[misc]

    def _happen(self, fault: Fault) -> None:
        host = self._hosts[fault.host % len(self._hosts)]
        heal = self._begin(fault, host)
        if heal is not None:
            self._world.after(fault.duration, heal)

    def _begin(self, fault: Fault, host: Host) -> Callable[[], None] | None:
        """The step that heals the fault; None if nothing happens or it heals by itself."""
        kind = fault.kind
        if kind.startswith(("kill_", "stop_")):
            return self._hit(kind[:4], kind[5:], host)
        if kind.startswith("cut") or kind == "latency":
            return self._cut(kind, self._network.links.setdefault(host.machine.name, Link()))
        if kind == "stall":
            self._stall(host, 60 + fault.duration / 10, patience=20)
        if kind == "late_start":
            self._start_late(host, 170 + fault.duration / 4, patience=600)
        machine = host.machine
        if kind == "crash" and machine.is_up:
            machine.crash()
            return lambda: self._boot(host)
        if kind == "sleep" and machine.is_up and not machine.asleep:
            machine.sleep()
            return machine.wake
        if kind == "step_clock":
            machine.offset += fault.duration - LONGEST / 2
        if kind == "step_database_clock":
            self.database_step += (fault.duration - LONGEST / 2) / 5
        if kind == "outage" and not self._network.down:
            self._network.down = True
            return lambda: setattr(self._network, "down", False)
        if kind == "broker" and not self._network.broker.down:
            self._network.broker.down = True
            return lambda: setattr(self._network.broker, "down", False)
        if kind == "leave" and host.daemon is not None:
            host.daemon.do(host.daemon.leave)
            return lambda: self._return(host)
        if kind == "twin":
            return self._twin(host)
        if kind == "edit" and not any(each.absent for each in self._hosts):
            host.absent.update(job for job in JOBS if self._world.random.random() < 0.5)
            return host.absent.clear
        if kind == "drain":
            return self._drain(host)
        return None

    def _hit(self, what: str, whom: str, host: Host) -> Callable[[], None] | None:
        target: Process | None = getattr(host, whom)
        other: dict[str, Process | None] = {"runner": host.daemon, "daemon": host.runner}
        if target is None or not target.is_running:
            return None
        if whom in other and not ((their := other[whom]) and their.is_running):
            return None
        if what == "kill":
            target.kill()
            return host.start if whom == "daemon" else lambda: None
        target.stop()
        return target.go_on

    def _cut(self, kind: str, link: Link) -> Callable[[], None]:
        if kind == "latency":
            link.latency = 5.0
        link.no_requests |= kind in ("cut", "cut_requests")
        link.no_answers |= kind in ("cut", "cut_answers")

        def heal() -> None:
            link.latency, link.no_requests, link.no_answers = 0.0, False, False

        return heal

    def _stall(self, host: Host, duration: float, patience: int) -> None:
        """Stop the agent while a renewal is under way, and then cut its host off."""
        agent, link = host.agent, self._network.links.setdefault(host.machine.name, Link())
        link.latency = 5.0
        if agent is None or not agent.is_running or not patience:
            link.latency = 0.0
        elif agent.renews:
            agent.stop()
            self._world.after(duration, agent.go_on)
            self._world.after(_CALL, lambda: self._cut_for(link, _CUT))
        else:
            self._world.after(0.5, lambda: self._stall(host, duration, patience - 1))

    def _start_late(self, host: Host, duration: float, patience: int) -> None:
        """Stop the runner while it has a command to start, and cut its host off."""
        runner, daemon = host.runner, host.daemon
        if runner is None or daemon is None or not (runner.is_running and daemon.is_running):
            return
        if runner.starting:
            runner.stop()
            self._world.after(duration, runner.go_on)
            self._cut_for(self._network.links.setdefault(host.machine.name, Link()), duration)
        elif patience:
            self._world.after(0.1, lambda: self._start_late(host, duration, patience - 1))

    def _cut_for(self, link: Link, seconds: float) -> None:
        self._world.after(seconds, self._cut("cut", link))

    def _drain(self, host: Host) -> Callable[[], None] | None:
        row = self._database.hosts.get(host.name)
        if row is None or any(each.drained for each in self._database.hosts.values()):
            return None
        row.drained = True
        return lambda: setattr(row, "drained", False)

    def _return(self, host: Host) -> None:
        """A daemon that was told to end has had its time."""
        if host.daemon is not None and host.daemon.is_alive:
            host.daemon.kill()
        host.start()

    def _boot(self, host: Host) -> None:
        host.machine.is_up = True
        host.start()
