"""The agent's process around a real coordinator."""

from collections import deque
from collections.abc import Mapping
from typing import Any, Protocol, cast

from pycron.cluster.beats import Beats
from pycron.cluster.calls import (
    AllFinished,
    Answer,
    Claims,
    ClaimsDecided,
    Decided,
    Decision,
    Finished,
    Finishes,
    Renewed,
)
from pycron.cluster.coordinator import Coordinator
from pycron.cluster.events import (
    Answered,
    BrokerSaid,
    Connected,
    Disconnected,
    Event,
    Exit,
    Failed,
    Lane,
    Now,
    Perform,
    Said,
    Send,
    Tell,
    Tick,
    Write,
    Written,
)
from pycron.protocol.cluster_messages import DaemonHello
from tests.simulation.network import Network
from tests.simulation.world import Machine, Process

_WAY = 0.001  # seconds for a message between two processes of a machine


class Listener(Protocol):
    """The daemon, as the agent sees it."""

    is_alive: bool

    def do(self, step: Any) -> None: ...
    def hear_agent(self, message: Mapping[str, Any]) -> None: ...
    def lose_agent(self) -> None: ...


class Agent(Process):
    def __init__(self, machine: Machine, network: Network) -> None:
        super().__init__(machine)
        self._network = network
        self._coordinator: Coordinator | None = None
        self._daemon: Listener | None = None
        self._ids = 0
        self.after(1.0, self._tick)

    # ---- the daemon's side of the connection

    def connect(self, daemon: Listener, hello: DaemonHello) -> None:
        self._daemon = daemon
        self.after(_WAY, lambda: self._greet(hello))

    def hear(self, daemon: Listener, message: Mapping[str, Any]) -> None:
        def said() -> None:
            if self._daemon is daemon:
                self._handle(Said(cast(Any, message)))

        self.after(_WAY, said)

    def disconnect(self, daemon: Listener) -> None:
        def gone() -> None:
            if self._daemon is daemon:
                self._daemon = None
                self._handle(Disconnected())

        self.after(_WAY, gone)

    def kill(self) -> None:
        super().kill()
        if self._daemon is not None:
            self._daemon.do(self._daemon.lose_agent)

    @property
    def renews(self) -> bool:
        """Whether a renewal is under way."""
        return self._coordinator is not None and self._coordinator.has_call(Lane.RENEW)

    # ---- events

    @property
    def _now(self) -> Now:
        return Now(self.machine.boottime, self.machine.wall)

    def _greet(self, hello: DaemonHello) -> None:
        if self._coordinator is None:
            found = self.machine.lease_file
            if found is not None and found.boot != self.machine.boot_id:
                found = None
            self._coordinator = Coordinator(
                hello, found, self.machine.boot_id, self._new_id, self._now
            )
            if not self.world.rules.no_clocks:
                beats = self._coordinator._renewals.beats
                beats.silent = self._by_clock(beats)  # type: ignore[method-assign]
        self._handle(Connected(hello))

    def _tick(self) -> None:
        self._handle(Tick())
        wait = 1.0
        if self._coordinator is not None:
            boot = self._now.boot
            wait = max(0.05, self._coordinator.wake_at(boot) - boot)
        self.after(wait, self._tick)

    def _handle(self, event: Event) -> None:
        if self._coordinator is None:
            return
        actions = deque(self._coordinator.handle(event, self._now))
        while actions and self.is_alive:
            action = actions.popleft()
            match action:
                case Perform():
                    self._perform(action)
                case Tell():
                    self._tell(action.message)
                case Send():
                    taken = self._network.broker.send(action.publications)
                    said = BrokerSaid(None if taken else "the broker is down")
                    actions.extend(self._coordinator.handle(said, self._now))
                case Write():
                    self.machine.lease_file = action.lease
                    actions.extend(self._coordinator.handle(Written(action.lease), self._now))
                case Exit():
                    self.kill()

    def _tell(self, message: Mapping[str, Any]) -> None:
        daemon = self._daemon
        if daemon is not None:
            self.world.after(_WAY, lambda: daemon.do(lambda: daemon.hear_agent(message)))

    def _perform(self, action: Perform) -> None:
        def done(answer: Answer) -> None:
            self._answered(action.lane, answer)

        def failed(reason: str) -> None:
            if self.world.rules.ask_again or not self._believe(action):
                self._handle(Failed(action.lane, reason))

        self._network.call(self, action.call, done, failed)

    def _answered(self, lane: Lane, answer: Answer) -> None:
        assert self._coordinator is not None
        if isinstance(answer, Renewed) and not self.world.rules.count_from_request:
            self._coordinator._lanes[lane].asked = self._now.boot
        self._handle(Answered(lane, answer))

    # ---- broken rules

    def _believe(self, action: Perform) -> bool:
        """Take an unknown answer for the likely one, instead of asking again."""
        call = action.call
        if isinstance(call, Claims):
            each = [Decided(claim.key, Decision.SETTLED) for claim in call.claims]
            self._handle(Answered(action.lane, ClaimsDecided(tuple(each))))
            return True
        if isinstance(call, Finishes):
            taken = tuple(Finished(True) for _ in call.finishes)
            self._handle(Answered(action.lane, AllFinished(taken)))
            return True
        return False

    def _by_clock(self, beats: Beats) -> Any:
        """Fence by this host's clock and those of the others."""

        def silent(own: str | None) -> list[Any]:
            stamps = self._network.database.hosts
            return [
                seen.row
                for seen in beats._seen.values()
                if seen.row.incarnation not in (None, own)
                and self.machine.wall - stamps[seen.row.host].stamp > beats._timings.fence
            ]

        return silent

    def _new_id(self) -> str:
        self.world.steps += 1
        return f"{self.machine.name} {self.world.now:.3f} {self.world.random.random():.9f}"
