"""What must hold, looked at with each start of a command, and once everything has healed."""

from collections import Counter

from pycron.cluster.calls import SharedKey
from pycron.cluster.timings import KILL, POLL, RENEW
from tests.simulation.database import Database
from tests.simulation.jobs import JOBS, POOLS, Job
from tests.simulation.rows import ENDED
from tests.simulation.world import Machine, Process, World

_AFTER_SLEEP = RENEW + POLL + KILL + 5.0  # seconds for which an old command may still run


class Tree(Process):
    """A command and all its processes."""

    def __init__(
        self, machine: Machine, key: SharedKey, attempt: int, incarnation: str, kill_after: float
    ) -> None:
        super().__init__(machine)
        self.key = key
        self.attempt = attempt
        self.incarnation = incarnation
        self.kill_after = kill_after
        self.ignores_term = self.world.random.random() < 0.6
        self.outcome: str | None = None

    def end(self, outcome: str) -> None:
        if self.is_alive:
            self.outcome = outcome
            self.kill()

    def terminate(self) -> None:
        if not self.ignores_term:
            self.after(0.5, lambda: self.end("killed"))

    def destroy(self) -> None:
        """SIGKILL; a stopped process dies, too."""
        self.world.after(0.1, lambda: self.end("killed"))


class Checker:
    """`faults`: what did not hold, in sentences."""

    def __init__(self, world: World, database: Database) -> None:
        self.world = world
        self.database = database
        self.faults: list[str] = []
        self.starts: Counter[tuple[SharedKey, int]] = Counter()
        self.trees: list[Tree] = []

    def started(self, tree: Tree) -> None:
        self.starts[tree.key, tree.attempt] += 1
        self.trees = [each for each in self.trees if each.is_alive]
        living = [each for each in self.trees if not self._is_conceded(each.machine)]
        name = f"{tree.key.name} {tree.key.fire_time} Attempt {tree.attempt}"
        if self.starts[tree.key, tree.attempt] > 1:
            self.fault(f"{name} was started twice")
        for each in living:
            if each.key == tree.key:
                self.fault(
                    f"{name} on {tree.machine.name} runs beside Attempt {each.attempt} on"
                    f" {each.machine.name}"
                )
        job = JOBS[tree.key.name]
        others = sum(each.key.name == job.name for each in living)
        if job.most is not None and others >= job.most:
            self.fault(f"{name}: more than {job.most} of this Job")
        pool = sum(JOBS[each.key.name].pool == job.pool for each in living)
        if job.pool is not None and pool >= POOLS[job.pool]:
            self.fault(f"{name}: more than {POOLS[job.pool]} of its pool")
        self.trees.append(tree)
        self._check_entry(tree, job, name)

    def _check_entry(self, tree: Tree, job: Job, name: str) -> None:
        """The host has the entry, and what the Run follows has succeeded."""
        host = tree.machine.name.split()[0]  # a twin has the name of another machine, too
        if not job.may_run_on(host):
            self.fault(f"{name} has started on {host}, which is not in its group")
        for key in job.followed(tree.key):
            row = self.database.rows.get(key)
            if row is None or (row.state, row.outcome) != (ENDED, "succeeded"):
                self.fault(f"{name} has started before {key.name} had succeeded")

    def finish(self, until: float) -> None:
        """Every fire time up to then (UTC) has a row that has ended."""
        for job in JOBS.values():
            for fire_time in job.fire_times(until):
                row = self.database.rows.get(job.key(fire_time))
                if row is None:
                    self.fault(f"{job.name} {fire_time} has no row")
                elif row.state != ENDED:
                    self.fault(f"{job.name} {fire_time} is still {row.state} ({row.attempt})")
                elif job.queue and job.catch_up and not row.attempt:
                    self.fault(f"{job.name} {fire_time}: no worker has got it ({row.outcome})")
                elif job.after and not row.attempt and self._have_succeeded(row.key):
                    self.fault(f"{job.name} {fire_time}: {row.outcome}, but what it follows is not")
        for wrong in self.database.wrong:
            self.fault(wrong)

    def _have_succeeded(self, key: SharedKey) -> bool:
        followed = JOBS[key.name].followed(key)
        return all(self.database.rows[each].outcome == "succeeded" for each in followed)

    def fault(self, text: str) -> None:
        self.faults.append(f"{self.world.now:.1f}: {text}")

    def _is_conceded(self, machine: Machine) -> bool:
        """A machine that slept may still run an old command for a moment."""
        return machine.asleep or self.world.now < machine.woke + _AFTER_SLEEP
