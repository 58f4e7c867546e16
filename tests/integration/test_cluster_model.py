"""The simulation's model of the database answers as the real one: the same calls, side by side."""

import dataclasses
import random
import time
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from pycron.cluster import calls
from tests.simulation.database import Database as Model
from tests.simulation.rules import Rules
from tests.support import thoroughness
from tests.support.postgres import Postgres, is_here, running_postgres

pytest.importorskip("psycopg")
if not is_here():
    pytest.skip("needs PostgreSQL", allow_module_level=True)

from pycron.cluster.database import connect
from pycron.cluster.migrations import upgrade

FACTS = calls.HostFacts("1", "2026a", "", 0.0)
HOSTS = ("web1", "web2")
WORK = "work"  # the Job that workers run
JOBS = [*calls.Concurrency, WORK]
# Long before, within the window, and long after now: no answer depends on how long a call takes.
FIRE_TIMES = (-5000, -60, -50, -40, -30, 5000)


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with running_postgres() as postgres:
        upgrade(postgres.address())
        yield postgres


class Pair:
    """The real database and the model, and calls that fit what both have seen."""

    def __init__(self, real: calls.Caller, seed: int) -> None:
        self.real = real
        self.model = Model(time.time, Rules())
        self.chance = random.Random(seed)
        self.begin = int(time.time())
        self.incarnations = {
            host: str(uuid.UUID(int=self.chance.getrandbits(128))) for host in HOSTS
        }
        self.beats: tuple[tuple[calls.HostBeat, ...], ...] = ((), ())
        self.history: list[object] = []

    def perform(self, call: Any, for_model: Any = None) -> None:
        """Both answer the same."""
        self.history.append(call)
        real, model = self.real.perform(call), self.model.perform(for_model or call)
        if isinstance(real, calls.Registered | calls.Renewed) and real.hosts:
            assert isinstance(model, calls.Registered | calls.Renewed)
            self.beats = real.hosts, model.hosts
        assert _essence(real) == _essence(model), self.history

    def step(self) -> None:
        kinds = [self.register, self.renew, self.fence, self.reap, self.goodbye, self.expire]
        kinds += [self.claim] * 6 + [self.gate] * 4 + [self.finish] * 6 + [self.publish] * 2
        self.chance.choice(kinds)()

    def register(self) -> None:
        host = self.host()
        if self.chance.random() < 0.3:
            self.incarnations[host] = str(uuid.UUID(int=self.chance.getrandbits(128)))
        self.perform(calls.Register(host, self.incarnations[host], FACTS))

    def renew(self) -> None:
        host = self.host()
        self.perform(calls.Renew(host, self.incarnations[host], FACTS, 5.0))

    def fence(self) -> None:
        for real, model in zip(*self.beats, strict=True):
            if real.incarnation is not None and self.chance.random() < 0.3:
                call = calls.Fence(real.host, real.incarnation, real.beat)
                self.perform(call, dataclasses.replace(call, beat=model.beat))

    def reap(self) -> None:
        self.perform(calls.Reap())

    def goodbye(self) -> None:
        host = self.host()
        self.perform(calls.Goodbye(host, self.incarnations[host]))

    def claim(self) -> None:
        host = self.host()
        keys = sorted({self.key() for _ in range(3)})
        wanted = tuple(map(self.one_claim, keys))
        self.perform(calls.Claims(host, self.incarnations[host], wanted))

    def one_claim(self, key: calls.SharedKey) -> calls.Claim:
        until = self.chance.choice((None, None, self.begin - 1000.0, self.begin + 1000.0))
        delay = self.chance.choice((0.0, 1000.0))
        retry = calls.RetryTerms(2, delay=delay, jitter=0.0, until=until)
        after = ("forbid", "queue") if key.name == "allow" and self.chance.random() < 0.3 else ()
        catch_up, newer = self.chance.random() < 0.3, self.chance.random() < 0.2
        queued = calls.QueueJob("gpu", 1, "1", "{}") if key.name == WORK else None
        return calls.Claim(key, _limits(key), 300.0, catch_up, after=after, newer=newer,
                           retry=retry, queued=queued)  # fmt: skip

    def expire(self) -> None:
        self.perform(calls.Expire())

    def publish(self) -> None:
        self.perform(calls.Publish())

    def gate(self) -> None:
        host, key = self.host(), self.key()
        row = self.model.rows.get(key)
        attempt = (row.attempt if row else 0) + self.chance.choice((0, 0, 0, -1, 1))
        gate = calls.Gate(key, attempt, _limits(key))
        if key.name == WORK or self.chance.random() < 0.1:
            gate = calls.Gate(key, attempt, queue="gpu", version=1)
        self.perform(calls.Gates(host, self.incarnations[host], (gate,)))

    def finish(self) -> None:
        key = self.key()
        row = self.model.rows.get(key)
        attempt = (row.attempt if row else 0) + self.chance.choice((0, 0, 0, 0, -1))
        holder = (row and row.holder) or self.incarnations[self.host()]
        outcome = self.chance.choice(("succeeded", "failed"))
        retry_in = self.chance.choice((0.0, 1000.0)) if outcome == "failed" else None
        finish = calls.Finish(key, attempt, holder, outcome, None, retry_in)
        self.perform(calls.Finishes((finish,)))

    def host(self) -> str:
        return self.chance.choice(HOSTS)

    def key(self) -> calls.SharedKey:
        name = str(self.chance.choice(JOBS))
        return calls.SharedKey("deploy", name, self.begin + self.chance.choice(FIRE_TIMES))


def _limits(key: calls.SharedKey) -> calls.Limits:
    policy = calls.Concurrency.ALLOW if key.name == WORK else calls.Concurrency(key.name)
    most = 2 if policy is calls.Concurrency.ALLOW else None
    pool = "reports" if policy in ("allow", "queue") else None
    return calls.Limits(policy, most, pool, 2 if pool else None)


def _essence(answer: calls.Answer) -> object:
    """What both have to agree on: not the beats, the clocks and the reasons."""
    if isinstance(answer, calls.Registered):
        return answer.accepted, [(row.host, row.incarnation) for row in answer.hosts]
    if isinstance(answer, calls.Renewed):
        hosts = [(row.host, row.incarnation) for row in answer.hosts]
        due = sorted((row.key, row.attempt) for row in answer.due)
        held = sorted(map(_held, answer.held))
        return answer.live, hosts, held, due, answer.orphans, answer.expired
    if isinstance(answer, calls.ClaimsDecided):
        return [_decided(each) for each in answer.decided]
    if isinstance(answer, calls.AllFinished):
        return [each.taken for each in answer.finished]
    if isinstance(answer, calls.Published):
        return sorted(answer.publications)
    return answer


def _held(row: calls.HeldRow) -> tuple[object, ...]:
    return row.key, row.attempt, row.stop is not None, row.queue


def _decided(each: calls.Decided) -> tuple[object, ...]:
    if each.decision is calls.Decision.HELD:
        return each.key, each.decision, each.attempt, each.queue, each.spec
    return each.key, each.decision


@pytest.mark.parametrize("seed", range(thoroughness.number_of(8, 300)))
def test_the_model_answers_as_the_database(server: Postgres, seed: int) -> None:
    real = connect(server.address(), f"cluster {seed}")
    pair = Pair(real, seed)
    try:
        for host in HOSTS:
            pair.perform(calls.Register(host, pair.incarnations[host], FACTS))
        for _ in range(80):
            pair.step()
    finally:
        real.close()
