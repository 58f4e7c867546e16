"""The daemon, as far as shared Jobs need one: it asks, records, starts, and hands in ends."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pycron.cluster.calls import SharedKey
from pycron.cluster.messages import key_of, run_of
from pycron.protocol.cluster_messages import RUNNER_SILENCE, DaemonHello
from tests.simulation.agent import Agent
from tests.simulation.checker import Checker, Tree
from tests.simulation.jobs import EPOCH, JOBS, LAST, POOLS, RETRIES, Job
from tests.simulation.network import Network
from tests.simulation.runner import AttemptId, LeaseWatch, Runner
from tests.simulation.world import Machine, Process

_WAY = 0.001
_ROOM = 16  # Attempts and open questions
_LOOK = 0.5  # seconds
_ALIVE = 5.0


@dataclass(slots=True)
class Recorded:
    """An Attempt in the store. `instance`: the runner that the start was sent to."""

    incarnation: str
    instance: str | None = None
    outcome: str | None = None


@dataclass(slots=True)
class Store:
    """What is on the disk: `cursors` are the earliest fire times not known to have a row."""

    id: str
    attempts: dict[AttemptId, Recorded] = field(default_factory=dict)
    outbox: dict[AttemptId, Mapping[str, Any]] = field(default_factory=dict)
    cursors: dict[str, int] = field(
        default_factory=lambda: {job.name: EPOCH + job.period for job in JOBS.values()}
    )


@dataclass(slots=True)
class Host:
    """A machine as the cluster sees it. `name` may be that of another machine, too.

    `absent`: Jobs that its tables do not have at the moment.
    """

    name: str
    machine: Machine
    network: Network
    checker: Checker
    store: Store
    absent: set[str] = field(default_factory=set)
    daemon: "Daemon | None" = None
    runner: Runner | None = None
    agent: Agent | None = None

    def start(self) -> None:
        """Start a daemon, if the machine is up and has none."""
        if self.machine.is_up and (self.daemon is None or not self.daemon.is_alive):
            self.daemon = Daemon(self)

    def has(self, job: Job) -> bool:
        """Whether its tables have the entry, as far as it is one of this host."""
        mine = job.may_run_on(self.name) or not self.machine.world.rules.groups
        return mine and job.name not in self.absent

    @property
    def hello(self) -> DaemonHello:
        return {
            "type": "hello",
            "protocol": 1,
            "cluster": "test",
            "database": "",
            "host": self.name,
            "lease": 90.0,
            "lease_file": "",
            "store": self.store.id,
            "pools": POOLS,
            "version": "1",
            "tzdata": "",
            "tables": "",
            "broker": "",
        }

    @property
    def incarnation(self) -> str:
        """As its lease file says."""
        lease = self.machine.lease_file
        return (lease and lease.incarnation) or ""

    def trees(self) -> list[Tree]:
        return [each for each in self.machine.processes if isinstance(each, Tree)]


class Daemon(Process):
    def __init__(self, host: Host) -> None:
        super().__init__(host.machine)
        self._host = host
        self._store = host.store
        self._open: set[AttemptId] = set()
        self._takes: set[AttemptId] = set()
        self._settled: set[tuple[str, int]] = set()
        self._later: dict[AttemptId, float] = {}
        self._pong = self.world.now
        self._said_alive = self.world.now
        self._leaving = False
        self._watch = LeaseWatch(self, extra=1.5)
        self._agent: Agent | None = None
        self._runner: Runner | None = None
        self.do(self._look)

    def kill(self) -> None:
        super().kill()
        if self._agent is not None and self._agent.is_alive:
            self._agent.disconnect(self)

    def leave(self) -> None:
        """Start nothing more, end what runs, and go for good, as in the foreground."""
        self._leaving = True

    def _end_all(self) -> bool:
        """Have all commands ended; whether there are none any more."""
        running = [which for which, each in self._store.attempts.items() if each.outcome is None]
        for which in running:
            if self._runner is not None:
                self._runner.end(which)
        return not running

    # ---- the loop

    def _look(self) -> None:
        self._find_runner()
        self._find_agent()
        now = self.world.now
        if now - self._said_alive >= _ALIVE and self._agent is not None:
            self._said_alive = now
            if now - self._pong < RUNNER_SILENCE:
                self._tell({"type": "alive"})
            if self._runner is not None:
                self._runner.ping(lambda: self.do(self._take_pong))
        if not self._leaving:
            self._ask()
            self._work()
        elif self._end_all():
            self._tell({"type": "leave"})
            self.after(_WAY * 2, self.kill)
        if self.world.rules.second_watcher:
            self._watch.look(self._host.trees())
        self.after(_LOOK, self._look)

    def _take_pong(self) -> None:
        self._pong = self.world.now

    def _find_runner(self) -> None:
        host = self._host
        if self._runner is not None and self._runner.is_alive:
            return
        left = host.trees() if self.world.rules.end_before_lost else []
        if host.runner is None or not host.runner.is_alive:
            host.runner = Runner(self.machine, host.checker, left)
        runner = self._runner = host.runner
        known = runner.known
        runner.connect(lambda message: self.world.after(_WAY, lambda: self._hear_later(message)))
        for which, attempt in list(self._store.attempts.items()):
            if attempt.outcome is None and which not in known:
                if attempt.instance in (None, runner.instance):
                    self._start(which, attempt)
                else:
                    self._ended(which, "lost")

    def _find_agent(self) -> None:
        host = self._host
        if self._agent is not None and self._agent.is_alive:
            return
        self._open.clear()
        self._takes.clear()
        if host.agent is None or not host.agent.is_alive:
            host.agent = Agent(self.machine, host.network)
        self._agent = host.agent
        self._agent.connect(self, host.hello)
        for finish in self._store.outbox.values():
            self._tell(finish)

    # ---- questions

    def _ask(self) -> None:
        for job in JOBS.values():
            if not self._host.has(job):
                continue
            cursor = self._store.cursors[job.name]
            while (job.name, cursor) in self._settled:
                self._settled.discard((job.name, cursor))
                cursor += job.period
            self._store.cursors[job.name] = cursor
            for fire_time in range(cursor, min(int(self.machine.wall), LAST) + 1, job.period):
                question = job.key(fire_time), 0
                waits = self._later.get(question, 0.0) > self.world.now
                if (job.name, fire_time) in self._settled or question in self._open or waits:
                    continue
                if not self._has_room():
                    return
                self._open.add(question)
                self._tell(
                    {"type": "ask", "run": run_of(question[0]), "terms": job.terms(fire_time)}
                )

    def _has_room(self) -> bool:
        running = sum(each.outcome is None for each in self._store.attempts.values())
        return running + len(self._open) + len(self._takes) < _ROOM

    def _work(self) -> None:
        """The workers of this host hand over what the broker gives them."""
        while self._has_room() and self._agent is not None:
            message = self._host.network.broker.take()
            if message is None:
                return
            key = SharedKey(message.owner, message.name, message.fire_time)
            if not self.world.rules.gate:
                self._hold((key, message.attempt + 1), self._host.incarnation)
            elif (key, message.attempt) not in self._takes:
                self._take((key, message.attempt), message.queue)

    def _take(self, id: AttemptId, queue: str) -> None:
        self._takes.add(id)
        self._tell({"type": "take", "run": run_of(id[0]), "attempt": id[1], "queue": queue,
                    "version": 1})  # fmt: skip

    # ---- the agent

    def _tell(self, message: Mapping[str, Any]) -> None:
        if self._agent is not None and self._agent.is_alive:
            self._agent.hear(self, message)

    def lose_agent(self) -> None:
        self._open.clear()
        self._takes.clear()

    def hear_agent(self, message: Mapping[str, Any]) -> None:
        if "run" not in message or (self._leaving and message["type"] in ("held", "offer")):
            return  # the next daemon hears of it again
        key, attempt = key_of(message["run"]), message["attempt"]
        kind = message["type"]
        if kind == "held":
            self._open = {each for each in self._open if each[0] != key}
            self._settled.add((key.name, key.fire_time))
            self._takes.discard((key, attempt - 1))
            known = (key, attempt) in self._store.attempts
            if "queue" in message and "spec" not in message and not known:
                self._take((key, attempt - 1), message["queue"])
            else:
                self._hold((key, attempt), message["incarnation"])
        elif kind == "untaken":
            self._takes.discard((key, attempt))
        elif kind in ("settled", "later"):
            self._open.discard((key, attempt))
            if kind == "later":
                self._later[key, attempt] = self.world.now + 1
            elif attempt == 0:
                self._settled.add((key.name, key.fire_time))
        elif kind == "offer":
            self._consider((key, attempt), message)
        elif kind == "stop" and self._runner is not None:
            self._runner.end((key, attempt))
        elif kind == "finished":
            self._store.outbox.pop((key, attempt), None)

    def _consider(self, id: AttemptId, message: Mapping[str, Any]) -> None:
        job = JOBS[id[0].name]
        is_open = any(each[0] == id[0] for each in self._open)
        if self._host.has(job) and self._has_room() and not is_open:
            self._open.add(id)
            terms = job.terms(id[0].fire_time)
            self._tell({**message, "type": "accept", "terms": terms})

    # ---- Attempts

    def _hold(self, id: AttemptId, incarnation: str) -> None:
        known = self._store.attempts.get(id)
        if known is None:
            self._store.attempts[id] = attempt = Recorded(incarnation)
            self._start(id, attempt)
        elif known.outcome is not None:
            self._tell(self._finish(id, known))

    def _start(self, id: AttemptId, attempt: Recorded) -> None:
        """An Attempt starts after the one before has ended here."""
        key, number = id
        earlier = [
            other
            for other, each in self._store.attempts.items()
            if other[0] == key and other[1] < number and each.outcome is None
        ]
        if earlier or self._runner is None or not self._runner.is_alive:
            self.after(1.0, lambda: self._start_if_new(id, attempt))
            return
        attempt.instance = self._runner.instance
        runner, incarnation = self._runner, attempt.incarnation
        self.world.after(_WAY, lambda: runner.do(lambda: runner.start(id, incarnation)))

    def _start_if_new(self, id: AttemptId, attempt: Recorded) -> None:
        if attempt.instance is None and attempt.outcome is None:
            self._start(id, attempt)

    def _hear_later(self, message: Mapping[str, Any]) -> None:
        self.do(lambda: self._ended(message["id"], message["outcome"]))

    def _ended(self, id: AttemptId, outcome: str) -> None:
        attempt = self._store.attempts[id]
        if attempt.outcome is None:
            attempt.outcome = outcome
            finish = self._store.outbox[id] = self._finish(id, attempt)
            self._tell(finish)
        if self._runner is not None:
            runner = self._runner
            self.world.after(_WAY, lambda: runner.do(lambda: runner.acknowledge(id)))

    def _finish(self, id: AttemptId, attempt: Recorded) -> Mapping[str, Any]:
        again = attempt.outcome != "succeeded" and id[1] <= RETRIES
        return {
            "type": "finish",
            "run": run_of(id[0]),
            "attempt": id[1],
            "incarnation": attempt.incarnation,
            "outcome": attempt.outcome,
            "reason": None,
            "retry_in": 5.0 if again else None,
        }
