"""`pycron worker` with real brokers; a fake daemon says what becomes of what it asks for."""

import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from pycron.cluster.calls import Publication
from tests.support.fake_daemon import FakeDaemon, Message, Say, at_once, fake_daemon
from tests.support.queue_brokers import Broker, each_kind, is_here, publisher, running_broker
from tests.support.running_daemon import run
from tests.support.running_worker import RunningWorker, running_worker
from tests.support.waiting import until

pytest.importorskip("celery")
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("brokers")]

FIRE_TIME = 1_796_000_000


@pytest.fixture(scope="module", params=each_kind())
def broker(request: pytest.FixtureRequest) -> Iterator[Broker]:
    with running_broker(request.param) as server:
        yield server


@pytest.fixture(scope="module")
def redis() -> Iterator[Broker]:
    if not is_here("redis"):
        pytest.skip("needs a Redis")
    with running_broker("redis") as server:
        yield server


def publish(broker: Broker, queue: str, *names: str) -> None:
    batch = [Publication("deploy", name, FIRE_TIME, 0, queue) for name in names]
    publisher(broker.url).send(batch)


def names(daemon: FakeDaemon) -> list[str]:
    return [request["name"] for request in daemon.requests]


class Held:
    """Work that is taken, and lasts until the test ends it."""

    def __init__(self) -> None:
        self.may_end = threading.Semaphore(0)
        self.taken = threading.Semaphore(0)

    def __call__(self, request: Message, say: Say) -> None:
        say({"type": "taken", "run_id": "r", "attempt": 1})
        self.taken.release()
        assert self.may_end.acquire(timeout=60)
        say({"type": "done", "outcome": "succeeded", "reason": None})


def test_the_daemon_is_asked_for_what_a_message_names(tmp_path: Path, broker: Broker) -> None:
    with (
        fake_daemon(tmp_path / "state", broker.url, ["one", "two"]) as daemon,
        running_worker(tmp_path / "state", "one,two") as worker,
    ):
        publish(broker, "one", "a")
        publish(broker, "two.low", "b")
        until(lambda: len(daemon.requests) == 2, 60)
        assert sorted(daemon.requests, key=lambda each: str(each["name"])) == [
            {"verb": "work", "cluster": "test", "owner": "deploy", "name": name,
             "fire_time": FIRE_TIME, "attempt": 0, "queue": queue, "resume": False}
            for name, queue in (("a", "one"), ("b", "two.low"))
        ]  # fmt: skip
        assert daemon.serving[0]["queues"] == "one,two"
        assert worker.stop() == 0
        assert "Traceback" not in worker.log


def test_a_slot_is_taken_until_the_attempt_has_ended(tmp_path: Path, broker: Broker) -> None:
    held = Held()
    with (
        fake_daemon(tmp_path / "state", broker.url, ["slots"], held) as daemon,
        running_worker(tmp_path / "state", "slots", concurrency=2),
    ):
        publish(broker, "slots", *"abcde")
        for _ in range(2):
            assert held.taken.acquire(timeout=60)
        held.may_end.release()
        assert held.taken.acquire(timeout=60)
        assert len(daemon.requests) == 3
        held.may_end.release(9)
        until(lambda: sorted(names(daemon)) == [*"abcde"], 60)


def test_the_urgent_ones_come_first(tmp_path: Path, broker: Broker) -> None:
    """At most one message of each queue waits in the worker; the others wait at the broker.

    From SQS, the worker takes one message after the other, of any queue.
    """
    publish(broker, "rank.low", "low1", "low2")
    publish(broker, "rank", "normal1", "normal2")
    publish(broker, "rank.high", "high1", "high2")
    held = Held()
    with (
        fake_daemon(tmp_path / "state", broker.url, ["rank"], held) as daemon,
        running_worker(tmp_path / "state", "rank", concurrency=1),
    ):
        held.may_end.release(6)
        until(lambda: len(daemon.requests) == 6, 60)
        seen = names(daemon)
        if (
            broker.kind == "redis"
        ):  # which is asked for one message at a time, in the order of queues
            assert [each.rstrip("12") for each in seen] == ["high"] * 2 + ["normal"] * 2 + [
                "low"
            ] * 2
        assert broker.kind == "sqs" or seen.index("high2") < seen.index("low2")


def test_a_worker_that_is_told_to_end_waits_for_what_runs(tmp_path: Path, broker: Broker) -> None:
    """What it has not begun goes back to the broker, for another one."""
    held = Held()
    with (
        fake_daemon(tmp_path / "state", broker.url, ["drain"], held) as daemon,
        running_worker(tmp_path / "state", "drain", concurrency=1) as worker,
    ):
        publish(broker, "drain", "a", "b", "c")
        assert held.taken.acquire(timeout=60)
        (first,) = names(daemon)
        worker.process.terminate()
        worker.wait_for("takes no more messages, and waits for 1 run")
        assert worker.process.poll() is None
        held.may_end.release()
        assert worker.process.wait(60) == 0
        assert names(daemon) == [first]


def test_a_second_signal_ends_it_at_once(tmp_path: Path, redis: Broker) -> None:
    held = Held()
    with (
        fake_daemon(tmp_path / "state", redis.url, ["twice"], held),
        running_worker(tmp_path / "state", "twice") as worker,
    ):
        publish(redis, "twice", "a")
        assert held.taken.acquire(timeout=60)
        worker.process.terminate()
        worker.wait_for("takes no more messages")
        worker.process.terminate()
        assert worker.process.wait(30) == 0
        held.may_end.release()


def test_a_broker_that_was_away(tmp_path: Path, broker: Broker) -> None:
    with (
        fake_daemon(tmp_path / "state", broker.url, ["away"]) as daemon,
        running_worker(tmp_path / "state", "away") as worker,
    ):
        broker.kill(signal.SIGTERM)
        worker.wait_for("onnect", 60)
        broker.start()

        def arrives() -> bool:
            publisher(broker.url).send([Publication("deploy", "a", FIRE_TIME, 0, "away")])
            return bool(daemon.requests)

        until(arrives, 120)
        assert worker.process.poll() is None


def test_without_a_daemon_messages_stay_where_they_are(tmp_path: Path, redis: Broker) -> None:
    with (
        fake_daemon(tmp_path / "state", redis.url, ["gone"]) as daemon,
        running_worker(tmp_path / "state", "gone") as worker,
    ):
        daemon.close()
        worker.wait_for("takes no messages meanwhile")
        publish(redis, "gone", "a", "b")
        client = pytest.importorskip("redis").Redis.from_url(redis.url)
        until(lambda: client.hlen("unacked") == 1)  # one waits in the worker
        assert not daemon.requests
        daemon.listen()
        until(lambda: sorted(names(daemon)) == ["a", "b"], 30)


def test_a_run_that_was_taken_is_followed_by_the_next_daemon(tmp_path: Path, redis: Broker) -> None:
    held = Held()
    with (
        fake_daemon(tmp_path / "state", redis.url, ["next"], held) as daemon,
        running_worker(tmp_path / "state", "next", concurrency=1),
    ):
        publish(redis, "next", "a")
        assert held.taken.acquire(timeout=30)
        daemon.close()
        daemon.work = at_once
        daemon.listen()
        until(lambda: len(daemon.requests) == 2, 30)
        assert [each["resume"] for each in daemon.requests] == [False, True]
        publish(redis, "next", "b")
        until(lambda: names(daemon) == ["a", "a", "b"], 30)
        held.may_end.release()


def test_a_daemon_without_room_is_asked_again(tmp_path: Path, redis: Broker) -> None:
    def refuse_twice(request: Message, say: Say) -> None:
        if len(daemon.requests) < 3:
            say({"type": "refused", "reason": "no room", "again": True})
        else:
            at_once(request, say)

    with (
        fake_daemon(tmp_path / "state", redis.url, ["room"], refuse_twice) as daemon,
        running_worker(tmp_path / "state", "room"),
    ):
        publish(redis, "room", "a")
        until(lambda: names(daemon) == ["a", "a", "a"], 30)


def test_a_refusal_is_the_last_word(tmp_path: Path, redis: Broker) -> None:
    def refuse(_request: Message, say: Say) -> None:
        say({"type": "refused", "reason": "a duplicate", "again": False})

    with (
        fake_daemon(tmp_path / "state", redis.url, ["no"], refuse) as daemon,
        running_worker(tmp_path / "state", "no", concurrency=1),
    ):
        publish(redis, "no", "a", "b", "c")
        until(lambda: names(daemon) == ["a", "b", "c"], 30)


def test_a_reload_changes_what_is_served(tmp_path: Path, redis: Broker) -> None:
    with (
        fake_daemon(tmp_path / "state", redis.url, ["old"]) as daemon,
        running_worker(tmp_path / "state", "old,new") as worker,
    ):
        daemon.tell(["new"])
        worker.wait_for("serves new.high, new, new.low")
        publish(redis, "old", "a")
        publish(redis, "new", "b")
        until(lambda: daemon.requests, 30)
        assert names(daemon) == ["b"]


def test_what_is_said_when_there_is_nothing_to_serve(tmp_path: Path, redis: Broker) -> None:
    with fake_daemon(tmp_path / "state", redis.url, []):
        done = run("pycron", "--state-dir", tmp_path / "state", "worker", "--queues", "x")
    assert done.returncode == 1
    assert done.stderr == (
        "pycron: nothing to serve: worker.queues of pycron.toml names the queues\n"
    )


def test_what_is_said_when_there_is_no_daemon(tmp_path: Path) -> None:
    done = run("pycron", "--state-dir", tmp_path / "state", "worker", "--queues", "x")
    assert done.returncode == 1
    assert "no pycron daemon answers" in done.stderr


def test_a_configuration_can_name_another_broker(tmp_path: Path, redis: Broker) -> None:
    config = tmp_path / "pycron.toml"
    config.write_text(f'[cluster]\nname = "test"\ndatabase = "service=x"\nbroker = "{redis.url}"\n')
    with fake_daemon(tmp_path / "state", "filesystem://", ["one"]) as daemon:
        worker = RunningWorker(tmp_path / "state", "one", options=("--config", config))
        try:
            worker.wait_for(": serves ")
            publish(redis, "one", "a")
            until(lambda: names(daemon) == ["a"], 30)
        finally:
            worker.kill()
        done = run("pycron", "--state-dir", tmp_path / "state", "worker", "--queues", "one")
        assert "cluster.broker: filesystem:// is none of" in done.stderr
