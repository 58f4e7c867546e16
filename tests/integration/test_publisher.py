"""Publishing to a real Redis, a real RabbitMQ, and moto's SQS."""

import json
import signal
from collections.abc import Iterator
from contextlib import suppress

import pytest

from pycron.cluster.calls import Publication
from pycron.cluster.events import BrokerSaid
from pycron.cluster.publisher import Publisher
from pycron.protocol.broker_messages import RunMessage, run_message
from tests.support.queue_brokers import Broker, each_kind, is_here, running_broker
from tests.support.waiting import until

kombu = pytest.importorskip("kombu")
brokers = pytest.importorskip("pycron.cluster.broker")
pytestmark = pytest.mark.xdist_group("brokers")

FIRE_TIME = 1_796_000_000
LONG = "a-name-that-is-about-as-long-as-people-make-them-when-it-is-to-say-all"


@pytest.fixture(scope="module", params=each_kind())
def broker(request: pytest.FixtureRequest) -> Iterator[Broker]:
    with running_broker(request.param) as server:
        yield server


def publication(name: str, queue: str, attempt: int = 0) -> Publication:
    return Publication("deploy", name, FIRE_TIME, attempt, queue)


def taken(broker: Broker, queue: str, count: int) -> list[RunMessage]:
    """The messages of a queue, as a worker sees them, which connects again if it has to.

    A RabbitMQ closes the connection of a consumer whose quorum queue has no leader yet.
    """
    found: list[RunMessage] = []
    while len(found) < count:
        with suppress(*kombu.Connection(broker.url).connection_errors):
            _take(broker, queue, count, found)
    return found


def _take(broker: Broker, queue: str, count: int, found: list[RunMessage]) -> None:
    """Add to `found` what comes, until they are so many; raises a connection error of kombu."""

    def take(message: object) -> None:
        found.append(run_message(message.body))  # type: ignore[attr-defined]
        message.ack()  # type: ignore[attr-defined]

    declared = brokers.declared_queue("test", queue)
    with (
        brokers.connection(broker.url) as connection,
        connection.channel() as channel,
        kombu.Consumer(channel, [declared], on_message=take),
    ):
        while len(found) < count:
            connection.drain_events(timeout=20)


def problem(publisher: Publisher) -> str:
    """What is said about an outage, once."""
    (change,) = until(publisher.take, 30)
    assert change.problem is not None
    return change.problem


def test_each_queue_gets_its_messages(broker: Broker) -> None:
    publisher = Publisher(broker.url, "test")
    publisher.send(
        [publication("a", "one"), publication("b", "two.high", 3), publication("c", "one")]
    )
    assert sorted(each["name"] for each in taken(broker, "one", 2)) == ["a", "c"]
    assert taken(broker, "two.high", 1) == [
        {"cluster": "test", "owner": "deploy", "name": "b", "fire_time": FIRE_TIME, "attempt": 3}
    ]
    assert publisher.take() == []


def test_a_broker_that_comes_back_gets_later_messages(broker: Broker) -> None:
    publisher = Publisher(broker.url, "test")
    publisher.send([publication("before", "back")])
    assert taken(broker, "back", 1)
    # In good order: a RabbitMQ of one node forgets a queue if it is killed just after it was made.
    broker.kill(signal.SIGTERM)
    publisher.send([publication("lost", "back")])
    assert problem(publisher).startswith("the broker takes no messages: ")
    broker.start()

    def send_again() -> list[BrokerSaid]:
        """A RabbitMQ that has just begun may refuse the first ones."""
        publisher.send([publication("after", "back")])
        return publisher.take()

    assert until(send_again, 60) == [BrokerSaid(None)]
    assert taken(broker, "back", 1)[0]["name"] == "after"


@pytest.mark.skipif(not is_here("redis"), reason="needs a Redis")
def test_a_message_is_small_and_has_no_command() -> None:
    """What a Redis gets is larger than what the others get, beside the protocols themselves."""
    redis = pytest.importorskip("redis")
    with running_broker("redis") as broker:
        publisher = Publisher(broker.url, "test")
        publisher.send([publication("nightly", "default.high"), publication(LONG, "x")])
        client = redis.Redis.from_url(broker.url)
        until(lambda: client.llen("pycron.test.x"), 30)
        usual = client.lpop("pycron.test.default.high")
        assert len(usual) < 500
        assert len(client.lpop("pycron.test.x")) < 500
        arguments, *rest = json.loads(json.loads(usual)["body"])
        assert arguments == ["test", "deploy", "nightly", FIRE_TIME, 0]
        assert rest == [{}, {}]


def test_a_broker_that_is_none_of_the_three() -> None:
    publisher = Publisher("filesystem://", "test")
    publisher.send([publication("a", "one")])
    text = "the broker takes no messages: cluster.broker: filesystem:// is none of redis://, "
    assert problem(publisher).startswith(text)


@pytest.mark.skipif(not is_here("redis"), reason="needs a Redis")
def test_a_queue_that_nobody_serves_gets_no_more(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("pycron.cluster.publisher._MOST_WAITING", 2)
    redis = pytest.importorskip("redis")
    with running_broker("redis") as broker:
        publisher = Publisher(broker.url, "test")
        client = redis.Redis.from_url(broker.url)
        for name in ("a", "b", "c", "d"):
            publisher.send([publication(name, "full")])
        publisher.send([publication("a", "other")])
        until(lambda: client.llen("pycron.test.other"))
        assert client.llen("pycron.test.full") == 2
    # Publishers of other tests say what they say: their threads end with the process.
    told = [line for line in capfd.readouterr().err.splitlines() if '"full"' in line]
    assert told == ['cluster: the queue "full" gets no more: 2 messages wait there']
