"""The Jobs of the model, one for each policy and limit."""

from dataclasses import dataclass

from pycron.cluster.calls import SharedKey
from pycron.protocol.cluster_messages import Terms

EPOCH = 1_800_000_000  # UTC second of the world's beginning
LAST = EPOCH + 1200  # UTC second of the last fire time: what waits then gets its turn
POOLS = {"reports": 3}
RETRIES = 2


@dataclass(frozen=True, slots=True)
class Job:
    """`most`: how many of its commands may run at once; None: no limit. `queue`: workers run it.

    `after`: the Jobs that it follows, which have all of its fire times. `hosts`: only these have
    its entry. `retry_for`: seconds after a fire time in which it is tried again.
    """

    name: str
    period: int
    concurrency: str = "allow"
    max_running: int | None = None
    pool: str | None = None
    catch_up: bool = False
    queue: str | None = None
    after: tuple[str, ...] = ()
    hosts: tuple[str, ...] | None = None
    retry_for: float | None = None

    @property
    def most(self) -> int | None:
        return self.max_running if self.concurrency == "allow" else 1

    def may_run_on(self, host: str) -> bool:
        return self.hosts is None or host in self.hosts

    def followed(self, key: SharedKey) -> list[SharedKey]:
        """The Runs that this Run of it follows."""
        return [key._replace(name=name) for name in self.after]

    def terms(self, fire_time: int) -> Terms:
        terms: Terms = {
            "concurrency": self.concurrency,
            "max_running": self.max_running,
            "pool": self.pool,
            "window": 300.0,
            "catch_up": self.catch_up,
            "after": list(self.after),
            "hosts": None if self.hosts is None else list(self.hosts),
            "retry": {
                "most": RETRIES,
                "lost": True,
                "delay": 5.0,
                "backoff": 1.0,
                "delay_max": 5.0,
                "jitter": 0.0,
                "until": None if self.retry_for is None else fire_time + self.retry_for,
            },
        }
        if self.queue is not None:
            terms["queued"] = {"queue": self.queue, "version": 1, "pycron": "1", "spec": "{}"}
        return terms

    def key(self, fire_time: int) -> SharedKey:
        return SharedKey("deploy", self.name, fire_time)

    def fire_times(self, until: float) -> range:
        """From the first one on."""
        return range(EPOCH + self.period, int(until) + 1, self.period)


JOBS = {
    job.name: job
    for job in (
        Job("allow", 30),
        Job("catch_up", 60, catch_up=True),
        Job("forbid", 40, "forbid"),
        Job("queue", 20, "queue"),
        Job("replace", 50, "replace"),
        Job("limited", 15, max_running=2, pool="reports"),
        Job("pooled", 25, pool="reports"),
        Job("work", 35, catch_up=True, queue="gpu"),
        Job("work_in_turn", 45, "queue", queue="gpu"),
        Job("work_pooled", 55, pool="reports", queue="gpu"),
        Job("follows", 60, catch_up=True, after=("allow", "catch_up")),
        Job("grouped", 40, hosts=("web1", "web2")),
        Job("impatient", 45, "forbid", retry_for=30.0),
    )
}
