"""Whoever can write to the broker cannot make a worker run what [worker] does not allow."""

import json
import os
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pycron.cluster.calls import Publication
from pycron.system.accounts import own_account
from tests.support.cluster_hosts import hosts, rows, wait_for_rows
from tests.support.fake_daemon import FakeDaemon, fake_daemon
from tests.support.postgres import is_here as postgres_is_here
from tests.support.postgres import running_postgres
from tests.support.queue_brokers import Broker, is_here, publisher, running_broker
from tests.support.running_worker import RunningWorker, running_worker
from tests.support.waiting import until

redis = pytest.importorskip("redis")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not is_here("redis"), reason="needs a Redis"),
    pytest.mark.xdist_group("brokers"),
]

FIRE_TIME = 1_796_000_000
GOOD = ["test", "deploy", "nightly", FIRE_TIME, 0]


@pytest.fixture(scope="module")
def server() -> Iterator[Broker]:
    with running_broker("redis") as broker:
        yield broker


@pytest.fixture
def broker(server: Broker) -> Broker:
    """With nothing in it."""
    redis.Redis.from_url(server.url).flushall()
    return server


class _Trap:
    """Whoever unpickles it makes a directory."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


def envelope(body: Any, headers: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    """What a Redis has of a message of Celery."""
    return {
        "body": body if isinstance(body, str) else json.dumps(body),
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": {"task": "pycron.run", "id": "x"} if headers is None else headers,
        "properties": {
            "delivery_mode": 2, "priority": 0, "body_encoding": None, "delivery_tag": "tag",
            "delivery_info": {"exchange": "", "routing_key": "pycron.test.default"},
        },
        **more,
    }  # fmt: skip


def push(broker: Broker, *items: str, queue: str = "pycron.test.default") -> None:
    redis.Redis.from_url(broker.url).lpush(queue, *items)


def survives(broker: Broker, daemon: FakeDaemon, worker: RunningWorker) -> None:
    """The worker still takes the messages of agents."""
    count = len(daemon.requests)
    sound = json.dumps(envelope([[*GOOD[:2], "sound", FIRE_TIME, 0], {}, {}]))

    def arrives() -> bool:
        push(broker, sound)  # at once: the thread of a Publisher might send it in the next test
        return "sound" in [each["name"] for each in daemon.requests[count:]]

    until(arrives, 60)
    assert worker.process.poll() is None


@pytest.mark.parametrize(
    "message",
    [
        envelope([[*GOOD[:2], "x" * 65, FIRE_TIME, 0], {}, {}]),
        envelope([["celery.ping"], {}, {}], {"task": "celery.map", "id": "x"}),
        envelope("[" * 100_000),
        envelope([[], {}, {}]),
        envelope([GOOD[:4], {}, {}]),
        envelope([["other", *GOOD[1:]], {}, {}]),
        envelope([[*GOOD[:3], "now", 0], {}, {}]),
        envelope([[*GOOD[:2], {"$ne": 1}, FIRE_TIME, 0], {}, {}]),
        envelope({"task": "pycron.run", "id": "x", "args": [], "kwargs": {}}, {}),
        envelope("\ud800"),
        envelope("x" * 2_000_000),
        envelope([GOOD, {}, {}], properties={"delivery_tag": "t", "delivery_info": {
            "exchange": "", "routing_key": "pycron.test.unserved"}}),
        envelope([GOOD, {}, {}], headers={"compression": "application/x-gzip"}),
        envelope([GOOD, {}, {}], properties={}),
    ],
)  # fmt: skip
def test_messages_of_strangers_reach_no_daemon(
    tmp_path: Path, broker: Broker, message: dict[str, Any]
) -> None:
    with (
        fake_daemon(tmp_path / "state", broker.url, ["default"]) as daemon,
        running_worker(tmp_path / "state", "default") as worker,
    ):
        push(broker, json.dumps(message))
        survives(broker, daemon, worker)
        assert {each["name"] for each in daemon.requests} == {"sound"}


@pytest.mark.parametrize(
    "garbage",
    ["null", "[" * 100_000, "", "[]", "{}", "{", '"x"'],
    ids=lambda text: text[:9] or "empty",
)
def test_what_is_no_message_at_all(tmp_path: Path, broker: Broker, garbage: str) -> None:
    with (
        fake_daemon(tmp_path / "state", broker.url, ["default"]) as daemon,
        running_worker(tmp_path / "state", "default") as worker,
    ):
        push(broker, garbage)
        survives(broker, daemon, worker)


def test_nothing_is_unpickled(tmp_path: Path, broker: Broker) -> None:
    import base64

    trap = tmp_path / "trap"
    body = base64.b64encode(pickle.dumps(_Trap(trap))).decode()
    message = envelope(body)
    message |= {"content-type": "application/x-python-serialize", "content-encoding": "binary"}
    message["properties"]["body_encoding"] = "base64"
    with (
        fake_daemon(tmp_path / "state", broker.url, ["default"]) as daemon,
        running_worker(tmp_path / "state", "default") as worker,
    ):
        push(broker, json.dumps(message))
        survives(broker, daemon, worker)
        assert not trap.exists()


def test_what_else_a_task_may_say_does_nothing(tmp_path: Path, broker: Broker) -> None:
    """No delay, no task that follows, no answer, no time limit: the message is a hint at a Run."""
    headers: dict[str, Any] = {
        "task": "pycron.run", "id": "x", "eta": "2099-01-01T00:00:00", "timelimit": [1, 1],
        "expires": "2000-01-01T00:00:00", "retries": 9, "reply_to": "mine",
    }  # fmt: skip
    follow = {"task": "pycron.run", "args": GOOD, "kwargs": {}, "options": {"queue": "mine"}}
    message = envelope([GOOD, {"command": "id"}, {"callbacks": [follow], "chain": [follow]}])
    message["headers"] = headers
    with (
        fake_daemon(tmp_path / "state", broker.url, ["default"]) as daemon,
        running_worker(tmp_path / "state", "default"),
    ):
        push(broker, json.dumps(message))
        until(lambda: daemon.requests, 30)
        (request,) = daemon.requests
        assert request == {
            "verb": "work", "cluster": "test", "owner": "deploy", "name": "nightly",
            "fire_time": FIRE_TIME, "attempt": 0, "queue": "default", "resume": False,
        }  # fmt: skip
        client = redis.Redis.from_url(broker.url)
        assert client.llen("mine") == 0


def test_no_remote_control(tmp_path: Path, broker: Broker) -> None:
    """A worker of Celery would end itself when told so through the broker."""
    from celery import Celery

    app = Celery("pycron", broker=broker.url, set_as_current=False)
    with (
        fake_daemon(tmp_path / "state", broker.url, ["default"]) as daemon,
        running_worker(tmp_path / "state", "default") as worker,
    ):
        app.control.shutdown()
        assert app.control.ping(timeout=1) == []
        survives(broker, daemon, worker)
    app.close()


@pytest.mark.skipif(not postgres_is_here(), reason="needs PostgreSQL")
@pytest.mark.parametrize(
    ("users", "queue"), [(["nobody"], "default"), ([own_account().name], "other")]
)
def test_the_configuration_decides_what_runs(
    tmp_path: Path, broker: Broker, users: list[str], queue: str
) -> None:
    """With a real daemon: a Run of a user, and one of a queue, that are not of this host."""
    pytest.importorskip("psycopg")
    section = (f'broker = "{broker.url}"', "[worker]", 'queues = ["default"]',
               f"users = {json.dumps(users)}")  # fmt: skip
    line = f"CRON_NAME=x CRON_ON=queue:{queue} @every 2s touch {tmp_path}/ran"
    with (
        running_postgres() as database,
        hosts(tmp_path, database, 1, "@daily true", options=section) as (host,),
        running_worker(host.state, "default") as worker,
    ):
        host.write(line)
        wait_for_rows(database, "state = 'waiting'")
        host.write("@daily true")
        columns = "extract(epoch FROM fire_time)::bigint"
        batch = [
            Publication(own_account().name, "x", int(fire_time), 0, "default")
            for (fire_time,) in rows(database, columns)
        ]
        client = redis.Redis.from_url(broker.url)
        publisher(broker.url).send([*batch, Publication("deploy", "last", 0, 0, "seen")])
        until(lambda: client.llen("pycron.test.seen"), 30)
        until(lambda: not client.llen("pycron.test.default") and not client.hlen("unacked"), 30)
        assert worker.stop() == 0  # it has waited for all answers
        assert not (tmp_path / "ran").exists()
        assert {attempt for (attempt,) in rows(database, "attempt")} == {"0"}
