"""Celery's consumer of messages, with what a worker of pycron needs of it, and nothing else.

No remote control, events, gossip or delayed tasks; and no task of Celery: a message is checked, and
becomes a request to the daemon.
"""

from collections.abc import Callable, Sequence
from logging import getLogger
from typing import Any

from celery.worker.consumer import consumer
from kombu import Message

from pycron.cluster.broker import declared_queue
from pycron.protocol.broker_messages import queue_name, run_message
from pycron.protocol.work_messages import WorkRequest
from pycron.worker.seldom import Seldom
from pycron.worker.slots import Slots

log = getLogger(__name__)

_LONGEST = 200  # characters of what is wrong with a message


class Consumer(consumer.Consumer):  # type: ignore[misc]  # Celery has no types
    """`slots`, `cluster`, `ready`: set before its start, on the class that is made for one worker.

    `ready` is called whenever it takes messages from a new connection.
    """

    slots: Slots
    cluster: str
    ready: Callable[[], None]
    task_consumer: Any = None

    class Blueprint(consumer.Consumer.Blueprint):  # type: ignore[misc]
        default_steps = (
            "celery.worker.consumer.connection:Connection",
            "celery.worker.consumer.tasks:Tasks",
            "celery.worker.consumer.consumer:Evloop",
        )

    def __init__(self, *arguments: Any, **more: Any) -> None:
        self._ranks: dict[str, tuple[int, str]] = {}  # of a queue of the broker: rank and name
        self._say = Seldom(log.warning)
        super().__init__(*arguments, **more)

    def consume_from(self, queues: Sequence[str]) -> None:
        """Serve these queues from now on, the most urgent first."""
        names = {queue_name(self.cluster, queue): queue for queue in queues}
        for name in set(self._ranks) - set(names):
            self.cancel_task_queue(name)
        known = set(self._ranks)
        self._ranks = {name: (rank, queue) for rank, (name, queue) in enumerate(names.items())}
        for name, queue in names.items():
            if name not in known:
                self.app.amqp.queues.select_add(declared_queue(self.cluster, queue))
                if self.task_consumer is not None:  # it has begun
                    self.add_task_queue(name)

    # ---- what Celery calls

    def create_task_handler(self) -> Any:
        return self._on_message

    def on_ready(self) -> None:
        super().on_ready()
        self.ready()

    def update_strategies(self) -> None:
        """There are no tasks."""

    def register_with_event_loop(self, hub: Any) -> None:
        super().register_with_event_loop(hub)
        hub.add_reader(self.slots.fileno(), self.slots.turn)

    def on_close(self) -> None:
        self.slots.forget()
        super().on_close()

    def on_decode_error(self, message: Message, exc: Exception) -> None:
        self._drop(message, str(exc))

    # ---- messages

    def _on_message(self, message: Message) -> None:
        """Whoever can write to the broker can send anything."""
        try:
            rank, request = self._request(message)
        except (ValueError, KeyError, TypeError) as error:
            self._drop(message, str(error))
            return
        self.slots.offer(rank, request, lambda: self._acknowledge(message))

    def _request(self, message: Message) -> tuple[int, WorkRequest]:
        """What to ask the daemon for. Raises ValueError, KeyError or TypeError."""
        rank, queue = self._ranks[message.delivery_info["routing_key"]]
        run = run_message(message.body)
        if run["cluster"] != self.cluster:
            raise ValueError("a message of another cluster")
        return rank, WorkRequest(**run, queue=queue)

    def _acknowledge(self, message: Message) -> None:
        message.ack_log_error(log, self.connection_errors)

    def _drop(self, message: Message, reason: str) -> None:
        self._acknowledge(message)
        self._say(f"dropped a message that no agent has sent: {reason[:_LONGEST]}")
