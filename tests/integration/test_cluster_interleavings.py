"""Two and three transactions of a cluster's database, in every order of their statements.

Each case says what must hold at its end, whatever the order was. The last tests break a rule of the
schema, and the cases must find it.
"""

import dataclasses
import datetime
import functools
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from pycron.cluster import calls
from pycron.cluster.calls import Claim, Decision, RetryTerms, SharedKey
from tests.support import cluster_database as support
from tests.support import postgres, thoroughness
from tests.support.cluster_database import (
    ClusterDatabase,
    Host,
    cluster_database,
    limits_of,
    run_key,
)
from tests.support.interleavings import Ended, Explorer, schema, with_pauses

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not postgres.is_here(), reason="PostgreSQL is not installed"),
    pytest.mark.xdist_group("interleavings"),
]

# The keys are as old as this module, and all of its tests may take an hour.
claim = functools.partial(support.claim, window=6 * 3600.0)
OLD, KEY, OTHER = run_key(ago=120), run_key(ago=60), run_key("other", ago=60)
AT_ONCE = RetryTerms(most=5, delay=0.0, jitter=0.0)
HELD, SETTLED, LATER = Decision.HELD, Decision.SETTLED, Decision.LATER


@pytest.fixture(scope="module")
def database() -> Iterator[ClusterDatabase]:
    with cluster_database() as made:
        made.server.psql(with_pauses(schema()))
        yield made


@pytest.fixture(scope="module")
def explorer(database: ClusterDatabase) -> Iterator[Explorer]:
    explorer = Explorer(database.address, 3)
    yield explorer
    explorer.close()


class World:
    """Three live hosts, and the rows of Runs; `back` makes both what they were."""

    def __init__(self, database: ClusterDatabase) -> None:
        self.database = database
        database.clear()
        self.web1, self.web2, self.web3 = (database.host(f"web{n}") for n in (1, 2, 3))
        self.beat1 = next(h.beat for h in self.web1.renew().hosts if h.host == "web1")
        self._hosts = self._table("hosts")
        self._runs = "[]"

    def set_up(self, prepare: Callable[["World"], None]) -> None:
        prepare(self)
        self._hosts, self._runs = self._table("hosts"), self._table("runs")

    def back(self) -> None:
        self.query("DELETE FROM pycron.hosts")
        self.query("DELETE FROM pycron.runs")
        for table, rows in (("hosts", self._hosts), ("runs", self._runs)):
            self.query(
                f"INSERT INTO pycron.{table} SELECT r.* FROM"
                f" jsonb_populate_recordset(NULL::pycron.{table}, $1::jsonb) AS r",
                rows,
            )

    def _table(self, name: str) -> str:
        rows = self.query(f"SELECT coalesce(jsonb_agg(to_jsonb(t)), '[]') FROM pycron.{name} t")
        return json.dumps(rows[0][0])

    def query(self, sql: str, *parameters: str) -> list[list[Any]]:
        return self.web1.database.query(sql, *parameters)

    def rows(self, where: str = "true") -> list[dict[str, Any]]:
        found = self.query(f"SELECT to_jsonb(r) FROM pycron.runs r WHERE {where}")
        return [row[0] for row in found]

    def row(self, key: SharedKey) -> dict[str, Any] | None:
        found = [r for r in self.rows(f"name = '{key.name}'") if str(key.fire_time) == _epoch(r)]
        return found[0] if found else None

    def held(self) -> list[dict[str, Any]]:
        return self.rows("state = 'held'")


def _epoch(row: dict[str, Any]) -> str:
    return str(int(datetime.datetime.fromisoformat(row["fire_time"]).timestamp()))


def claims(host: Host, *items: Claim) -> calls.Claims:
    return calls.Claims(host.name, host.incarnation, items)


def gate(host: Host, key: SharedKey, attempt: int, **limits: Any) -> calls.Gates:
    gates = (calls.Gate(key, attempt, limits_of(**limits)),)
    return calls.Gates(host.name, host.incarnation, gates)


def finish(
    host: Host,
    key: SharedKey,
    attempt: int = 1,
    outcome: str = "failed",
    retry_in: float | None = None,
) -> calls.Finishes:
    end = calls.Finish(key, attempt, host.incarnation, outcome, None, retry_in)
    return calls.Finishes((end,))


def operate(key: SharedKey, attempt: int, action: str) -> tuple[str, dict[str, Any]]:
    return "operate", {**key._asdict(), "attempt": attempt, "action": action, "by": "anna"}


def fence1(world: World) -> calls.Fence:
    return calls.Fence("web1", world.web1.incarnation, world.beat1)


def decisions(ended: Ended) -> list[Decision]:
    return [answer.decided[0].decision for answer in ended.answers[:]]


@dataclass(frozen=True)
class Case:
    """`prepare`: the rows at first. `calls`: of the sessions. `holds`: at the end."""

    name: str
    calls: Callable[[World], Sequence[Any]]
    holds: Callable[[World, Ended], bool]
    prepare: Callable[[World], None] = lambda _: None


# ---- what is there at first


def waiting(world: World) -> None:
    """web1 has failed with KEY, and a retry is due."""
    world.web1.claim(claim(KEY, retry=AT_ONCE))
    world.web1.finish(KEY, outcome="failed", retry_in=0.0)


def waiting_old(world: World) -> None:
    world.web1.claim(claim(OLD, retry=AT_ONCE))
    world.web1.finish(OLD, outcome="failed", retry_in=0.0)


def held_by_web1(world: World) -> None:
    world.web1.claim(claim(KEY, retry=AT_ONCE))


def old_held_by_web1(world: World) -> None:
    world.web1.claim(claim(OLD, retry=AT_ONCE))


def orphaned(world: World) -> None:
    """web1 holds KEY, and was fenced."""
    held_by_web1(world)
    assert world.web2.fence(world.web1)


# ---- what holds


def one_held(world: World, ended: Ended) -> bool:
    """One session has the Attempt, and no other one believes that it has it."""
    return decisions(ended).count(HELD) == 1 and len(world.held()) == 1


def at_most_one_held(world: World, ended: Ended) -> bool:
    return decisions(ended).count(HELD) <= 1 and len(world.held()) <= 1


def no_dead_holder_started(world: World, ended: Ended) -> bool:
    """The claim came before the fence, or it got nothing."""
    claimed, fenced = ended.answers[0].decided[0].decision, ended.answers[1].rows
    return fenced == 1 and (claimed is LATER or ended.order == [0, 1])


def drained_or_held(world: World, ended: Ended) -> bool:
    return ended.answers[0].decided[0].decision is (HELD if ended.order == [0, 1] else LATER)


def gone_or_held(world: World, ended: Ended) -> bool:
    """A host that has said goodbye holds nothing."""
    held = ended.answers[0].decided[0].decision is HELD
    return held == bool(world.held()) and held != bool(ended.answers[1].rows)


def renewed_or_fenced(world: World, ended: Ended) -> bool:
    return bool(ended.answers[0].live) != bool(ended.answers[1].rows)


def finished_or_lost(world: World, ended: Ended) -> bool:
    """The row has the outcome of the one that it believes, and only that one changed it."""
    taken, row = ended.answers[0].finished[0].taken, world.row(KEY)
    assert row is not None
    ends = [entry for entry in row["log"] if entry["event"] in ("finished", "reaped")]
    return len(ends) == 1 and bool(row["outcome"] == ("failed" if taken else "lost"))


def reaped_once(world: World, ended: Ended) -> bool:
    row = world.row(KEY)
    assert row is not None
    reaped = [entry for entry in row["log"] if entry["event"] == "reaped"]
    return len(reaped) == 1 and sum(answer.rows for answer in ended.answers) == 1


def never_two_attempts(world: World, ended: Ended) -> bool:
    """Attempt 2 is held by one, and its holder is live.

    Attempt 1 may be left for the next reap: this one passes over a row that another session locks.
    """
    row = world.row(KEY)
    assert row is not None
    live = {r[0] for r in world.query("SELECT to_jsonb(incarnation) FROM pycron.hosts")}
    started = [entry for entry in row["log"] if entry["event"] == "started"]
    is_left = row["attempt"] == 1 and not started
    return len(started) <= 1 and (row["state"] != "held" or is_left or row["holder"] in live)


def killed_for_good(world: World, ended: Ended) -> bool:
    """kill was done on the Attempt or on the waiting row: either way there is no retry."""
    row = world.row(KEY)
    assert row is not None
    return bool(row["state"] == ("ended" if ended.answers[1]["done"] else "waiting"))


def started_or_cancelled(world: World, ended: Ended) -> bool:
    held, done = ended.answers[0].decided[0].decision is HELD, ended.answers[1]["done"]
    row = world.row(KEY)
    assert row is not None
    return bool(held != done and row["state"] == ("held" if held else "ended"))


def one_row(world: World, ended: Ended) -> bool:
    row = world.row(KEY)
    return row is not None and len(world.rows()) == 1 and decisions(ended).count(HELD) <= 1


def one_registered(world: World, ended: Ended) -> bool:
    return [answer.accepted for answer in ended.answers].count(True) == 1


def forbidden(world: World, ended: Ended) -> bool:
    """Of two fire times of the Job, one runs, and the other was skipped."""
    states = sorted(row["state"] for row in world.rows())
    return one_held(world, ended) and states == ["ended", "held"]


def all_decided(world: World, ended: Ended) -> bool:
    """Batches in other orders: no deadlock, and each Run is held once."""
    found = [d.decision for answer in ended.answers for d in answer.decided]
    return found.count(HELD) == 2 == len(world.held())


def replaced_in_turn(world: World, ended: Ended) -> bool:
    """The new Run is held only if the old one was over."""
    old = world.row(OLD)
    assert old is not None
    claimed = ended.answers[0].decided[0].decision
    return claimed is LATER or (old["state"] == "ended" and ended.order == [1, 0])


def register(world: World, name: str, letter: str) -> calls.Register:
    incarnation = f"{letter * 8}-0000-4000-8000-000000000000"
    return calls.Register(name, incarnation, calls.HostFacts("1", "1", "", 0.0))


def take(host: Host, key: SharedKey) -> calls.Gates:
    """A worker of the host has heard of the Run."""
    gates = (calls.Gate(key, 0, queue="gpu", version=1),)
    return calls.Gates(host.name, host.incarnation, gates)


def queued(w: World) -> None:
    """Two Runs of a pool with room for one wait in a queue."""
    job = calls.QueueJob("gpu", 1, "0.1.0", "{}")
    for key in (KEY, OTHER):
        made = claim(key, retry=AT_ONCE, pool="p", pool_limit=1)
        item = dataclasses.replace(made, queued=job)
        w.web1.database.perform(claims(w.web1, item))
    later = "clock_timestamp() + interval '1 hour'"
    w.query(f"UPDATE pycron.runs SET next_publish = {later} WHERE name = 'other'")


def queued_and_held(w: World) -> None:
    queued(w)
    w.web1.database.perform(take(w.web1, KEY))


def one_of_the_pool(w: World, e: Ended) -> bool:
    """And the other one is published when that has ended."""
    return len(w.held()) == 1 and sum(row["limited"] for row in w.rows()) == 1


def _is_due(w: World) -> bool:
    """Whether the Run that the limit has kept out is to be published soon."""
    soon = "clock_timestamp() + interval '31 seconds'"
    return bool(w.rows(f"state = 'waiting' AND next_publish <= {soon}"))


PAIRS = [
    Case("one fire time", lambda w: [claims(w.web1, claim(KEY)), claims(w.web2, claim(KEY))],
         one_held),
    Case("forbid", lambda w: [claims(w.web1, claim(OLD, concurrency="forbid")),
                              claims(w.web2, claim(KEY, concurrency="forbid"))], forbidden),
    Case("queue", lambda w: [claims(w.web1, claim(OLD, concurrency="queue")),
                             claims(w.web2, claim(KEY, concurrency="queue"))],
         at_most_one_held),
    Case("replace", lambda w: [claims(w.web1, claim(OLD, concurrency="replace")),
                               claims(w.web2, claim(KEY, concurrency="replace"))],
         at_most_one_held),
    Case("most running", lambda w: [claims(w.web1, claim(OLD, max_running=1)),
                                    claims(w.web2, claim(KEY, max_running=1))], one_held),
    Case("a pool", lambda w: [claims(w.web1, claim(KEY, pool="p", pool_limit=1)),
                              claims(w.web2, claim(OTHER, pool="p", pool_limit=1))], one_held),
    Case("batches", lambda w: [claims(w.web1, claim(KEY), claim(OTHER)),
                               claims(w.web2, claim(OTHER), claim(KEY))], all_decided),
    Case("claim and fence", lambda w: [claims(w.web1, claim(KEY)), fence1(w)],
         no_dead_holder_started),
    Case("claim and drain", lambda w: [claims(w.web1, claim(KEY)),
                                       ("drain", {"host": "web1", "drained": True})],
         drained_or_held),
    Case("claim and goodbye", lambda w: [claims(w.web1, claim(KEY)),
                                         calls.Goodbye("web1", w.web1.incarnation)],
         gone_or_held),
    Case("claim and missed", lambda w: [claims(w.web1, claim(KEY, catch_up=True)),
                                        claims(w.web2, claim(KEY, window=1.0))], one_row),
    Case("renew and fence", lambda w: [
        calls.Renew("web1", w.web1.incarnation, calls.HostFacts("1", "1", "", 0.0), 0.0),
        fence1(w)], renewed_or_fenced),
    Case("fence and fence", lambda w: [fence1(w), fence1(w)],
         lambda w, e: sum(answer.rows for answer in e.answers) == 1),
    Case("register and register", lambda w: [register(w, "new", "a"), register(w, "new", "b")],
         one_registered),
    Case("finish and reap", lambda w: [finish(w.web1, KEY), calls.Reap()], finished_or_lost,
         orphaned),
    Case("reap and reap", lambda w: [calls.Reap(), calls.Reap()], reaped_once, orphaned),
    Case("start and start", lambda w: [gate(w.web2, KEY, 1), gate(w.web3, KEY, 1)], one_held,
         waiting),
    Case("start and cancel", lambda w: [gate(w.web2, KEY, 1), operate(KEY, 1, "kill")],
         started_or_cancelled, waiting),
    Case("start and claim, forbid", lambda w: [
        gate(w.web2, OLD, 1, concurrency="forbid"),
        claims(w.web3, claim(KEY, concurrency="forbid"))], at_most_one_held, waiting_old),
    Case("start and claim, queue", lambda w: [
        gate(w.web2, OLD, 1, concurrency="queue"),
        claims(w.web3, claim(KEY, concurrency="queue"))], at_most_one_held, waiting_old),
    Case("start and fence of the holder", lambda w: [gate(w.web1, KEY, 1), fence1(w)],
         no_dead_holder_started, waiting),
    Case("take and take", lambda w: [take(w.web2, KEY), take(w.web3, KEY)], one_held, queued),
    Case("take and kill", lambda w: [take(w.web2, KEY), operate(KEY, 0, "kill")],
         started_or_cancelled, queued),
    Case("publish and publish", lambda w: [calls.Publish(), calls.Publish()],
         lambda w, e: sum(len(answer.publications) for answer in e.answers) == 1, queued),
    Case("publish and take", lambda w: [calls.Publish(), take(w.web2, KEY)],
         lambda w, e: len(w.held()) == 1, queued),
    Case("take and take of a pool", lambda w: [take(w.web2, KEY), take(w.web3, OTHER)],
         one_of_the_pool, queued),
    Case("take of a pool and finish", lambda w: [take(w.web3, OTHER), finish(w.web1, KEY)],
         lambda w, e: len(w.held()) == 1 or _is_due(w), queued_and_held),
    Case("finish and kill", lambda w: [finish(w.web1, KEY, retry_in=5.0),
                                       operate(KEY, 1, "kill")], killed_for_good, held_by_web1),
    Case("replace and finish", lambda w: [claims(w.web2, claim(KEY, concurrency="replace")),
                                          finish(w.web1, OLD)], replaced_in_turn,
         old_held_by_web1),
]  # fmt: skip

TRIPLES = [
    Case("one fire time", lambda w: [claims(h, claim(KEY)) for h in (w.web1, w.web2, w.web3)],
         one_held),
    Case("forbid", lambda w: [
        claims(w.web1, claim(OLD, concurrency="forbid")),
        claims(w.web2, claim(KEY, concurrency="forbid")),
        claims(w.web3, claim(KEY, concurrency="forbid"))],
        lambda w, e: len(w.held()) == 1 == decisions(e).count(HELD)),
    Case("a pool", lambda w: [
        claims(w.web1, claim(KEY, pool="p", pool_limit=2)),
        claims(w.web2, claim(OTHER, pool="p", pool_limit=2)),
        claims(w.web3, claim(OLD, pool="p", pool_limit=2))],
        lambda w, e: len(w.held()) == 2 == decisions(e).count(HELD)),
    Case("reap, reap and start", lambda w: [calls.Reap(), calls.Reap(), gate(w.web3, KEY, 1)],
         never_two_attempts, orphaned),
    Case("reap, finish and start", lambda w: [
        calls.Reap(), finish(w.web1, KEY, retry_in=0.0), gate(w.web3, KEY, 1)],
        never_two_attempts, orphaned),
    Case("reap, register and start", lambda w: [
        calls.Reap(), register(w, "web1", "c"), gate(w.web3, KEY, 1)],
        never_two_attempts, orphaned),
    Case("start, start and cancel", lambda w: [
        gate(w.web2, KEY, 1), gate(w.web3, KEY, 1), operate(KEY, 1, "kill")],
        lambda w, e: [a.decided[0].decision for a in e.answers[:2]].count(HELD)
        + e.answers[2]["done"] == 1, waiting),
]  # fmt: skip


def count_violations(
    database: ClusterDatabase, explorer: Explorer, case: Case, most: int
) -> tuple[int, int]:
    """How many interleavings there were, and in how many of them the case did not hold: 0 or 1.

    The first one in which it does not hold is the last one.
    """
    world = World(database)
    world.set_up(case.prepare)
    tried = 0
    for ended in explorer.explore(world.back, case.calls(world), most=most):
        tried += 1
        if not case.holds(world, ended):
            return tried, 1
    return tried, 0


@pytest.mark.parametrize("case", PAIRS, ids=lambda case: case.name)
def test_two_transactions(database: ClusterDatabase, explorer: Explorer, case: Case) -> None:
    tried, bad = count_violations(database, explorer, case, 100_000)
    assert bad == 0
    assert tried >= 2


@pytest.mark.parametrize("case", TRIPLES, ids=lambda case: case.name)
def test_three_transactions(database: ClusterDatabase, explorer: Explorer, case: Case) -> None:
    """All of them with --thorough: some cases have thousands."""
    most = 100_000 if thoroughness.is_thorough() else 150
    tried, bad = count_violations(database, explorer, case, most)
    assert bad == 0
    assert tried >= 6


# ---- rules that are broken, and the cases that find it


@dataclass(frozen=True)
class Broken:
    """A text of the schema, what stands there instead, and the cases that may find it.

    `also`: another text, and what stands there instead.
    """

    rule: str
    text: str
    instead: str
    cases: tuple[str, ...]
    also: tuple[str, str] = ("", "")


_IF_NO_ROW = "\n    IF NOT FOUND THEN\n        RETURN pycron.later(item, "

BROKEN = [
    Broken("no lock of the Job", "PERFORM pg_advisory_xact_lock(1886552943, number);", "",
           ("forbid", "most running")),
    Broken("no lock of the pool", "PERFORM pg_advisory_xact_lock(1886552944, number);", "",
           ("a pool",)),
    Broken("the lock is no statement of its own", "    SELECT count(*) FROM pycron.runs\n"
           "    WHERE cluster = c AND owner = item->>'owner'",
           "    WITH lock AS MATERIALIZED (SELECT pg_advisory_xact_lock(hashtext(item->>'name')))\n"
           "    SELECT count(*) FROM lock, pycron.runs\n"
           "    WHERE cluster = c AND owner = item->>'owner'",
           ("forbid",), also=("PERFORM pg_advisory_xact_lock(1886552943, number);", "")),
    Broken("the host's row is not locked", "WHERE cluster = c AND name = h FOR SHARE;",
           "WHERE cluster = c AND name = h;", ("claim and goodbye", "claim and fence")),
    Broken("a fence without the beat", "AND beat = (request->>'beat')::uuid;", ";",
           ("renew and fence",)),
    Broken("finish without the incarnation",
           "IF run.state = 'held' AND run.attempt = n AND run.holder = i THEN",
           "IF run.attempt = n THEN", ("finish and reap",)),
    Broken("finish does not lock the row",
           f" FOR UPDATE;{_IF_NO_ROW}'there is no such run')",
           f";{_IF_NO_ROW}'there is no such run')", ("finish and reap",)),
    Broken("the row of a start is not locked",
           f" FOR UPDATE;{_IF_NO_ROW}NULL)", f";{_IF_NO_ROW}NULL)", ("start and cancel",)),
    Broken("stop does not end the retries", "delay IS NULL OR run.stop IS NOT NULL OR",
           "delay IS NULL OR", ("finish and kill",)),
    Broken("goodbye does not lock its row", "WHERE h.cluster = c AND h.name = request->>'host' FOR "
           "UPDATE;", "WHERE h.cluster = c AND h.name = request->>'host';",
           ("claim and goodbye",)),
]  # fmt: skip


@pytest.fixture
def restored(database: ClusterDatabase) -> Iterator[None]:
    yield
    database.server.psql(with_pauses(schema()))


@pytest.mark.usefixtures("restored")
@pytest.mark.parametrize("broken", BROKEN, ids=lambda broken: broken.rule)
def test_a_broken_rule_is_found(
    database: ClusterDatabase, explorer: Explorer, broken: Broken
) -> None:
    text = schema()
    assert text.count(broken.text) == 1
    text = text.replace(broken.text, broken.instead)
    if broken.also[0]:
        assert text.count(broken.also[0]) == 1
        text = text.replace(*broken.also)
    database.server.psql(with_pauses(text))
    cases = [case for case in PAIRS if case.name in broken.cases]
    assert any(count_violations(database, explorer, case, 100_000)[1] for case in cases)
