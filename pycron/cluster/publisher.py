"""Publishes Runs that wait for a worker: a message for each, to the queue of its Job.

A thread of its own speaks to the broker, and nobody waits for it. What cannot be sent now is
dropped: its row says when it is to be published again.
"""

import queue
import threading
import time
from collections.abc import Collection, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

from pycron.cluster.calls import Publication
from pycron.cluster.events import BrokerSaid
from pycron.cluster.log import say
from pycron.crontab.identity import shared_run
from pycron.model.shared import SharedKey
from pycron.model.text import printable
from pycron.protocol.broker_messages import RunMessage, queue_name, run_headers, run_task
from pycron.system.thread_queue import ThreadQueue

if TYPE_CHECKING:
    from kombu import Connection, Producer

_MOST_BATCHES = 20  # that wait for the thread
_MOST_WAITING = 50_000  # messages in a queue, then no more are sent to it
_CONFIRMED = 5.0  # seconds in which RabbitMQ has to say something
_PAUSE = 0.5  # seconds between two tries
_LONGEST = 200  # characters of what a broker says


class Publisher:
    """`cluster`: its name, which the queues of the broker have.

    `fileno` can be read from while `take` has something to return.
    """

    def __init__(self, broker_url: str, cluster: str) -> None:
        self._batches: queue.Queue[tuple[Publication, ...]] = queue.Queue(_MOST_BATCHES)
        self._said: ThreadQueue[BrokerSaid] = ThreadQueue()
        threading.Thread(
            target=self._serve, args=(broker_url, cluster), name="publisher", daemon=True
        ).start()

    def fileno(self) -> int:
        return self._said.fileno()

    def send(self, publications: Collection[Publication]) -> None:
        """Send a message for each, soon; none of them if the broker is too slow."""
        try:
            self._batches.put_nowait(tuple(publications))
        except queue.Full:
            pass

    def take(self) -> list[BrokerSaid]:
        """What has changed since the last call: one for each outage, and one for its end."""
        return self._said.take()

    def _serve(self, broker_url: str, cluster: str) -> None:
        broker = _Broker(broker_url, cluster)
        failing = False
        while True:
            batch, problem = self._batches.get(), None
            try:
                broker.send(batch)
            except Exception as error:  # noqa: BLE001  each transport has errors of its own
                broker.disconnect()
                self._drop()
                problem = f"the broker takes no messages: {_reason(error)}"
            if (problem is not None) != failing:
                self._said.put(BrokerSaid(problem))
            failing = problem is not None

    def _drop(self) -> None:
        """Drop the batches that wait: most brokers that do not answer do not for a while."""
        while not self._batches.empty():
            self._batches.get()


class _Broker:
    """Keeps a connection as long as it works."""

    def __init__(self, url: str, cluster: str) -> None:
        self._url = url
        self._cluster = cluster
        self._full: set[str] = set()
        self._connection: Connection | None = None

    def send(self, batch: Sequence[Publication]) -> None:
        """Send all of a batch, in the order of their queues. Raises whatever the transport does.

        There are two tries: a connection of earlier may have ended meanwhile, and RabbitMQ refuses
        messages for a queue that it has just made.
        """
        try:
            self._send(batch)
        except Exception:  # noqa: BLE001  each transport has errors of its own
            self.disconnect()
            time.sleep(_PAUSE)
            self._send(batch)

    def _send(self, batch: Sequence[Publication]) -> None:
        if self._connection is None:
            self._connect()
        by_queue = sorted(batch, key=lambda each: each.queue)
        for name, publications in groupby(by_queue, lambda each: each.queue):
            if self._has_room(name):
                for each in publications:
                    self._publish(each)
        if self._confirms:
            self._confirms.wait()

    def _connect(self) -> None:
        from pycron.cluster import broker  # 100 ms and 20 MB: only who has a broker needs them

        self._declared = broker.declared_queue
        self._connection = connection = broker.connection(self._url)
        connection.connect()  # tries twice; kombu's default channel would try for long
        channel = connection.channel()
        self._producer: Producer = connection.Producer(channel, auto_declare=False)
        is_amqp = connection.transport.driver_type == "amqp"
        self._confirms = _Confirms(connection, channel) if is_amqp else None

    def disconnect(self) -> None:
        """End the connection, whatever state it is in."""
        connection, self._connection = self._connection, None
        try:
            if connection is not None:
                connection.collect(socket_timeout=1)
        except Exception:  # noqa: BLE001, S110  it is of no use any more
            pass

    def _has_room(self, name: str) -> bool:
        """Declare a queue, and count what waits there: nobody may serve it."""
        queue = self._declared(self._cluster, name)
        waiting = self._producer.channel.queue_declare(
            queue=queue.name, durable=True, auto_delete=False, exclusive=False,
            arguments=queue.queue_arguments,
        ).message_count  # fmt: skip
        if waiting < _MOST_WAITING:
            self._full.discard(name)
            return True
        if name not in self._full:
            say(f'the queue "{name}" gets no more: {waiting} messages wait there')
        self._full.add(name)
        return False

    def _publish(self, publication: Publication) -> None:
        """`mandatory`: RabbitMQ returns what no queue gets, which raises."""
        message: RunMessage = {
            "cluster": self._cluster,
            "owner": publication.owner,
            "name": publication.name,
            "fire_time": publication.fire_time,
            "attempt": publication.attempt,
        }
        shared = SharedKey(publication.owner, publication.name, publication.fire_time)
        self._producer.publish(
            run_task(message),
            headers=run_headers(str(shared_run(self._cluster, shared)), message),
            routing_key=queue_name(self._cluster, publication.queue),
            serializer="json",
            mandatory=True,
            retry=False,
        )
        if self._confirms:
            self._confirms.expect()


class _Confirms:
    """RabbitMQ confirms each message once it is on several nodes. `channel`: of pyamqp."""

    def __init__(self, connection: "Connection", channel: Any) -> None:
        self._connection = connection
        self._sent = 0
        self._expected: set[int] = set()  # delivery tags
        channel.confirm_select()
        channel.events["basic_ack"].add(self._confirmed)
        channel.events["basic_nack"].add(self._refused)

    def expect(self) -> None:
        """A message was sent."""
        self._sent += 1
        self._expected.add(self._sent)

    def wait(self) -> None:
        """Wait until all are confirmed. Raises, also if a message found no queue."""
        while self._expected:
            self._connection.drain_events(timeout=_CONFIRMED)

    def _confirmed(self, tag: int, multiple: bool) -> None:
        if multiple:
            self._expected = {each for each in self._expected if each > tag}
        else:
            self._expected.discard(tag)

    def _refused(self, tag: int, _multiple: bool) -> None:
        raise ConnectionError(f"RabbitMQ has refused message {tag}")


def _reason(error: Exception) -> str:
    if isinstance(error, ImportError):
        return f"{error} (pip install 'pycrond[celery]')"
    return printable(str(error) or repr(error))[:_LONGEST]
