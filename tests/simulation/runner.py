"""The runner: it starts commands while the lease allows it, and ends them when it does not."""

from collections.abc import Callable, Mapping
from typing import Any

from pycron.cluster.calls import SharedKey
from pycron.cluster.timings import KILL, POLL
from pycron.system.lease_file import Lease, is_void, may_run
from tests.simulation.checker import Checker, Tree
from tests.simulation.world import Machine, Process

_WAY = 0.001
AttemptId = tuple[SharedKey, int]
Report = Callable[[Mapping[str, Any]], None]


class LeaseWatch:
    """When commands whose lease is over get TERM and KILL; `extra`: seconds after the KILL is due.

    The daemon has one, too.
    """

    def __init__(self, process: Process, *, extra: float) -> None:
        self._process = process
        self._extra = extra
        self._last: Lease | None = None
        self._expired: dict[Tree, float] = {}

    def look(self, trees: list[Tree]) -> None:
        machine = self._process.machine
        self._last = machine.lease_file or self._last
        now = machine.boottime
        for tree in trees:
            if is_void(self._last, tree.incarnation):
                self._process.after(self._extra, tree.destroy)
            elif not may_run(self._last, tree.incarnation, now) and tree not in self._expired:
                self._expired[tree] = now
                cap = KILL if self._process.world.rules.kill_cap else tree.kill_after
                if not self._extra:
                    tree.terminate()
                due = min(tree.kill_after, cap) + self._extra
                self._process.after(due, tree.destroy)


class Runner(Process):
    """`left`: commands that an earlier runner has left; they are ended, and then reported lost."""

    def __init__(self, machine: Machine, checker: Checker, left: list[Tree]) -> None:
        super().__init__(machine)
        self.instance = f"{machine.name} {self.world.now}"
        self.running: dict[AttemptId, Tree] = {}
        self.ended: dict[AttemptId, str] = {}
        self.starting: set[AttemptId] = set()
        self.left = {(tree.key, tree.attempt): tree for tree in left}
        self._checker = checker
        self._report: Report | None = None
        self._watch = LeaseWatch(self, extra=0.0)
        for tree in left:
            self.after(self.world.random.random() * 3, tree.destroy)
        self.after(POLL, self._poll)

    @property
    def known(self) -> set[AttemptId]:
        return {*self.running, *self.ended, *self.starting, *self.left}

    def connect(self, report: Report) -> None:
        self._report = report
        for which, outcome in self.ended.items():
            self._say({"type": "ended", "id": which, "outcome": outcome})

    def start(self, id: AttemptId, incarnation: str) -> None:
        if id not in self.known:
            self.starting.add(id)
            delay = self.world.random.random() * 0.3
            self.after(_WAY + delay, lambda: self._fork(id, incarnation))

    def end(self, id: AttemptId) -> None:
        tree = self.running.get(id)
        if tree is not None:
            tree.terminate()
            self.after(KILL, tree.destroy)

    def acknowledge(self, id: AttemptId) -> None:
        self.ended.pop(id, None)

    def ping(self, pong: Callable[[], None]) -> None:
        self.do(pong)

    def _fork(self, id: AttemptId, incarnation: str) -> None:
        if id not in self.starting:
            return
        self.starting.discard(id)
        lease, now = self.machine.lease_file, self.machine.boottime
        if self.world.rules.check_before_fork and not may_run(lease, incarnation, now):
            self._ended(id, "lost")
            return
        chance = self.world.random.random
        kill_after = 60.0 if chance() < 0.6 else 10.0
        tree = Tree(self.machine, *id, incarnation, kill_after)
        self._checker.started(tree)
        self.running[id] = tree
        duration = 400 * chance() if chance() < 0.3 else 25 * chance()
        outcome = "failed" if chance() < 0.3 else "succeeded"
        tree.after(duration, lambda: tree.end(outcome))

    def _poll(self) -> None:
        self._watch.look([tree for tree in self.running.values() if tree.is_alive])
        for which, tree in list(self.running.items()):
            if not tree.is_alive:
                del self.running[which]
                self._ended(which, tree.outcome or "killed")
        for which, tree in list(self.left.items()):
            if not tree.is_alive:
                del self.left[which]
                self._ended(which, "lost")
        self.after(POLL, self._poll)

    def _ended(self, id: AttemptId, outcome: str) -> None:
        self.ended[id] = outcome
        self._say({"type": "ended", "id": id, "outcome": outcome})

    def _say(self, message: Mapping[str, Any]) -> None:
        if self._report is not None:
            self._report(message)
