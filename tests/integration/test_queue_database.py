"""Rows of queues on a real PostgreSQL: claims, publications, the gate of a worker, ends."""

import json
import time
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from pycron.cluster import calls, migrations
from pycron.cluster.calls import Decided, Gate, Publication, QueueJob, RetryTerms, SharedKey
from pycron.cluster.operations import Operations, Wanted
from tests.support import postgres
from tests.support.cluster_database import (
    CLUSTER,
    ClusterDatabase,
    Host,
    claim,
    cluster_database,
    run_key,
)
from tests.support.postgres import running_postgres

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not postgres.is_here(), reason="PostgreSQL is not installed"),
]

AT_ONCE = RetryTerms(most=5, delay=0.0, jitter=0.0)


@pytest.fixture(scope="module")
def server() -> Iterator[ClusterDatabase]:
    with cluster_database() as made:
        yield made


@pytest.fixture
def database(server: ClusterDatabase) -> Iterator[ClusterDatabase]:
    yield server
    server.clear()


def queued(key: SharedKey, queue: str = "gpu", version: int = 1, **more: Any) -> calls.Claim:
    job = QueueJob(queue, version, "0.1.0", json.dumps({"command": "work"}))
    made = claim(key, **more)
    return calls.Claim(made.key, made.limits, made.window, made.catch_up, made.after, made.newer,
                       made.retry, job, ("reports", 7))  # fmt: skip


def take(host: Host, key: SharedKey, attempt: int = 0, queue: str = "gpu") -> Decided:
    gate = Gate(key, attempt, queue=queue, version=1)
    answer = host.database.perform(calls.Gates(host.name, host.incarnation, (gate,)))
    assert isinstance(answer, calls.ClaimsDecided)
    return answer.decided[0]


def publish(host: Host, most: int = 100) -> calls.Published:
    answer = host.database.perform(calls.Publish(most))
    assert isinstance(answer, calls.Published)
    return answer


def ask(host: Host, *claims: calls.Claim) -> calls.ClaimsDecided:
    answer = host.database.perform(calls.Claims(host.name, host.incarnation, claims))
    assert isinstance(answer, calls.ClaimsDecided)
    return answer


def test_a_claim_makes_a_row_that_waits(database: ClusterDatabase) -> None:
    web1, web2, key = database.host("web1"), database.host("web2"), run_key()
    answer = ask(web1, queued(key))
    assert answer.decided[0].reason == "it waits for a worker of the queue gpu"
    assert answer.publish_in is not None
    assert answer.publish_in <= 0
    assert ask(web2, queued(key)).decided[0].decision == "settled"
    assert database.column(key, "state || attempt") == "waiting0"
    assert float(database.column(key, "extract(epoch FROM expires)")) == key.fire_time + 300
    assert not web1.renew(ahead=10).due  # no host with the entry is offered it


def test_the_time_in_which_a_worker_may_take_it(database: ClusterDatabase) -> None:
    host, late, caught = database.host(), run_key("late", 400), run_key("caught", 400)
    ask(host, queued(late), queued(caught, catch_up=True))
    assert database.column(late, "outcome") == "missed"
    assert take(host, caught).decision == "held"


def test_a_publication_is_made_once_and_again_after_a_while(database: ClusterDatabase) -> None:
    web1, web2, key = database.host("web1"), database.host("web2"), run_key()
    ask(web1, queued(key, "gpu.high"))
    published = publish(web2)
    assert published.publications == (Publication(*key, 0, "gpu.high"),)
    assert published.publish_in is not None
    assert 9 < published.publish_in <= 13
    assert publish(web1).publications == ()
    for number, least in enumerate((20, 40, 80, 160, 300, 300), 1):
        database.server.psql("UPDATE pycron.runs SET next_publish = clock_timestamp()")
        again = publish(web1)
        assert len(again.publications) == 1
        assert again.publish_in is not None
        assert least - 1 < again.publish_in <= least * 1.25
        assert database.column(key, "publications") == str(number + 1)


def test_a_backlog_does_not_flood_its_queue(database: ClusterDatabase) -> None:
    """Everything is published once, and then only what is first in its turn."""
    host, begin = database.host(), int(time.time())
    keys = [SharedKey("root", f"j{n}", begin - n % 3) for n in range(250)]
    for at in range(0, 250, 50):
        ask(host, *sorted(map(queued, keys[at : at + 50]), key=lambda each: each.key))
    sent = [publish(host, 60).publications for _ in range(5)]
    assert [len(each) for each in sent] == [60, 60, 60, 60, 10]
    database.server.psql("UPDATE pycron.runs SET next_publish = clock_timestamp()")
    again = publish(host, 1000).publications
    assert len(again) == 100
    assert {each[1:3] for each in again} == {
        key[1:] for key in sorted(keys, key=lambda key: (key.fire_time, key.name))[:100]
    }
    assert publish(host).publications == ()


def test_one_users_backlog_does_not_keep_another_user_waiting(database: ClusterDatabase) -> None:
    host, begin = database.host(), int(time.time())
    many = [queued(SharedKey("anna", f"j{n:03}", begin - 60)) for n in range(100)]
    ask(host, *many)
    ask(host, queued(SharedKey("bert", "one", begin)))
    publish(host, 1000)
    database.server.psql("UPDATE pycron.runs SET next_publish = clock_timestamp()")
    assert {each.owner for each in publish(host, 1000).publications} == {"anna", "bert"}


def test_the_gate_gives_the_job_and_lets_one_worker_pass(database: ClusterDatabase) -> None:
    web1, web2, key = database.host("web1"), database.host("web2"), run_key()
    ask(web1, queued(key))
    held = take(web2, key)
    assert (held.decision, held.attempt, held.queue) == ("held", 1, "gpu")
    assert held.spec == '{"command": "work"}'
    assert take(web2, key) == held  # called again, because the answer was lost
    assert take(web1, key).reason == "web2 runs it"
    assert web2.renew().held == (calls.HeldRow(key, 1, None, "gpu"),)
    assert publish(web1).publications == ()


@pytest.mark.parametrize(
    ("change", "decision", "reason"),
    [
        ({"queue": "other"}, "settled", "it is not in this queue"),
        ({"attempt": 1}, "settled", "it waits for a worker of the queue gpu"),
        ({"key": run_key("none")}, "settled", "there is no such run"),
    ],
)
def test_messages_that_do_not_pass(
    database: ClusterDatabase, change: dict[str, Any], decision: str, reason: str
) -> None:
    host, key = database.host(), run_key()
    ask(host, queued(key))
    answer = take(host, **{"key": key, **change})
    assert (answer.decision, answer.reason) == (decision, reason)
    assert database.column(key, "state || attempt") == "waiting0"


def test_a_host_that_is_drained_or_older_takes_nothing(database: ClusterDatabase) -> None:
    host, key, newer = database.host(), run_key(), run_key("newer")
    ask(host, queued(key), queued(newer, version=2))
    assert take(host, newer).reason == "it needs pycron 0.1.0"
    assert database.column(newer, "refusal") == "web1: it needs pycron 0.1.0"
    database.server.psql("UPDATE pycron.hosts SET drained = true")
    assert (take(host, key).decision, take(host, key).reason) == ("later", "this host is drained")


def test_the_limits_are_those_of_the_claim(database: ClusterDatabase) -> None:
    """What a limit has kept out is published as soon as there is room."""
    host = database.host()
    first, second, third = (run_key(f"j{n}", ago=3 - n) for n in range(3))
    pool: dict[str, Any] = {"pool": "reports", "pool_limit": 2}
    ask(host, *(queued(key, **pool) for key in (first, second, third)))
    publish(host)
    assert take(host, first).decision == take(host, second).decision == "held"
    assert take(host, third).reason == "the pool reports is full"
    assert publish(host).publications == ()
    answer = host.database.perform(
        calls.Finishes((calls.Finish(first, 1, host.incarnation, "succeeded", None, None),))
    )
    assert isinstance(answer, calls.AllFinished)
    assert answer.publish_in is not None
    assert answer.publish_in <= 0
    assert publish(host).publications == (Publication(*third, 0, "gpu"),)
    assert take(host, third).decision == "held"


@pytest.mark.parametrize("policy", ["forbid", "queue", "replace"])
def test_policies_see_rows_that_wait(database: ClusterDatabase, policy: str) -> None:
    host, old, new = database.host(), run_key(ago=60), run_key(ago=30)
    ask(host, queued(old, concurrency=policy))
    answer = ask(host, queued(new, concurrency=policy)).decided[0]
    if policy == "replace":
        assert database.column(old, "outcome") == "skipped"
        assert database.column(new, "state") == "waiting"
    elif policy == "forbid":
        assert (answer.outcome, database.column(old, "state")) == ("skipped", "waiting")
    else:
        assert answer.decision == "later"


def test_a_retry_and_a_lost_attempt_wait_in_the_queue(database: ClusterDatabase) -> None:
    web1, web2, key = database.host("web1"), database.host("web2"), run_key()
    ask(web1, queued(key, retry=AT_ONCE))
    take(web1, key)
    web1.finish(key, 1, "failed", retry_in=0.0)
    assert publish(web2).publications == (Publication(*key, 1, "gpu"),)
    assert take(web1, key, 1).attempt == 2
    web2.fence(web1)
    assert web2.change(calls.Reap()) == 1
    assert publish(web2).publications == (Publication(*key, 2, "gpu"),)
    assert take(web2, key, 2).attempt == 3


def test_a_retry_is_published_when_it_is_due(database: ClusterDatabase) -> None:
    host, key = database.host(), run_key()
    ask(host, queued(key, retry=AT_ONCE))
    take(host, key)
    host.finish(key, 1, "failed", retry_in=60.0)
    assert publish(host).publications == ()
    publish_in = host.renew().publish_in
    assert publish_in is not None
    assert 50 < publish_in <= 60
    assert take(host, key, 1).decision == "later"


@pytest.mark.parametrize(
    ("happens", "reason"),
    [
        ("nothing", "no host has published it (cluster.broker)"),
        ("broker", "the broker does not answer"),
        ("refused", "web1: the user root is not in worker.users"),
    ],
)
def test_why_it_was_missed(database: ClusterDatabase, happens: str, reason: str) -> None:
    host, key = database.host(), run_key()
    ask(host, queued(key))
    if happens == "refused":
        why = "the user root is not in worker.users"
        assert host.change(calls.Refuse("web1", (calls.Refusal(key, 0, why),))) == 1
        assert host.change(calls.Refuse("web1", (calls.Refusal(key, 1, why),))) == 0
    database.server.psql("UPDATE pycron.runs SET expires = clock_timestamp()")
    assert publish(host).publications == ()
    problem = "the broker does not answer" if happens == "broker" else None
    assert host.change(calls.Expire(problem=problem)) == 1
    assert database.column(key, "outcome") == "missed"
    text = f"no worker of the queue gpu took it in time; {reason}"
    assert database.column(key, "reason") == text
    assert take(host, key).decision == "settled"


def test_kill_ends_it_wherever_it_is(database: ClusterDatabase) -> None:
    host, waiting, running = database.host(), run_key("a"), run_key("b")
    ask(host, queued(waiting), queued(running))
    take(host, running)
    assert host.change(calls.Kill(waiting, "anna")) == 1
    assert database.column(waiting, "outcome || reason") == "cancelledby anna"
    assert host.change(calls.Kill(running, "anna")) == 1
    assert host.renew().held[0].stop == "kill"
    assert host.change(calls.Kill(waiting, "anna")) == 0
    assert host.change(calls.Kill(run_key("c"), "anna")) == 0


def test_what_operators_see(database: ClusterDatabase) -> None:
    host, key = database.host(), run_key(ago=10)
    ask(host, queued(key), queued(run_key("other")))
    take(host, key)
    result = {"started": key.fire_time + 1.5, "ended": key.fire_time + 3.0, "exit_status": 3,
              "signal": None, "cpu_seconds": 0.1, "memory_peak_bytes": 4096, "output_bytes": 3,
              "output_begin": 0}  # fmt: skip
    finish = calls.Finish(key, 1, host.incarnation, "failed", "x", None, result, "YWJj")
    host.database.perform(calls.Finishes((finish,)))
    operations = Operations(database.address, CLUSTER, "root")
    (row,) = operations.runs(Wanted(name=key.name))
    assert (row.table, row.line, row.queue) == ("reports", 7, "gpu")
    assert (row.result.first, row.result.exit_status) == (key.fire_time + 1.5, 3)
    assert operations.output(row) == b"abc"
    (queue,) = operations.queues()
    assert (queue.queue, queue.waiting, queue.held) == ("gpu", 1, 0)
    assert operations.redrive(row)
    assert publish(host).publications[0].name in (key.name, "other")
    operations.close()


def test_the_queues_that_are_served(database: ClusterDatabase) -> None:
    host = database.host()
    worker = calls.WorkerFacts(("gpu", "default"), "0.1.0", 4)
    facts = calls.HostFacts("0.1.0", "2026a", "{}", time.time(), (worker,))
    answer = host.database.perform(calls.Renew("web1", host.incarnation, facts, 0.0))
    assert isinstance(answer, calls.Renewed)
    assert answer.served == ("default", "gpu")
    database.server.psql("UPDATE pycron.hosts SET info = '[]'")
    assert database.host("web2").renew().served == ()


def test_an_upgrade_keeps_the_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """A database of the first version, with rows; its hosts go on with the newer functions."""
    with running_postgres() as server:
        first = migrations.steps()[:1]
        with monkeypatch.context() as patch:
            patch.setattr(migrations, "steps", lambda: first)
            assert migrations.upgrade(server.address()) == [1]
        incarnation = "11111111-1111-1111-1111-111111111111"
        key, fire = run_key(), int(time.time())
        with psycopg.connect(server.address(), autocommit=True) as connection:

            def call(function: str, request: dict[str, Any]) -> Any:
                whole = {"cluster": "prod", "host": "web1", "incarnation": incarnation, **request}
                query = f"SELECT pycron.{function}(%s::jsonb)".encode()
                rows = connection.execute(query, [json.dumps(whole)]).fetchall()
                return rows[0][0]

            item = {"owner": "root", "name": key.name, "fire_time": fire, "window": 300,
                    "catch_up": False, "policy": "allow", "max_running": None, "pool": None,
                    "pool_limit": None, "after": [], "newer": False,
                    "spec": {"most": 1, "lost": True, "delay": 1}}  # fmt: skip
            assert call("register", {"info": {}})["live"]
            assert call("claim", {"items": [item]})["answers"][0]["answer"] == "held"
            assert migrations.upgrade(server.address()) == [2]
            assert migrations.upgrade(server.address()) == []
            renewed = call("renew", {"info": {}, "clock": 0, "ahead": 5})
            assert [row["attempt"] for row in renewed["held"]] == [1]
            end = {**item, "attempt": 1, "incarnation": incarnation, "outcome": "failed",
                   "reason": None, "retry_delay": 0}  # fmt: skip
            assert call("finish", {"items": [end]})["answers"][0]["state"] == "waiting"
            again = call("start", {"items": [{**item, "attempt": 1}]})["answers"][0]
            assert (again["answer"], again["attempt"]) == ("held", 2)
