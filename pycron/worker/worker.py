"""A worker: Celery's worker takes the messages, slots hold the Runs, the daemon runs them."""

import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from types import FrameType

from celery import Celery
from celery.worker import WorkController, state
from kombu.asynchronous import set_event_loop

from pycron.cluster import broker
from pycron.model.in_words import number_of
from pycron.model.queues import with_priorities
from pycron.protocol.work_messages import ServeAnswer
from pycron.worker.consumer import Consumer
from pycron.worker.local_daemon import LocalDaemon, Say
from pycron.worker.slots import Slots

_HEARTBEAT = 30  # seconds between signs of life to and from RabbitMQ
_PAUSE = 5.0  # seconds until Celery's worker begins anew
_NOT_NEEDED = {"without_mingle": True, "without_gossip": True, "without_heartbeat": True}


class Worker:
    """`broker_url`, `cluster`: as in pycron.toml; `size`: how many Runs it has at once.

    Raises ValueError if workers cannot use this broker.
    """

    def __init__(
        self, broker_url: str, cluster: str, size: int, daemon: LocalDaemon, say: Say
    ) -> None:
        self._daemon = daemon
        self._say = say
        self._stopping = False
        self._pause = threading.Event()
        self._slots = Slots(size, daemon.work)
        self._app = _celery(broker_url)
        attributes = {"slots": self._slots, "cluster": cluster, "ready": self._ready}
        self._consumer_class = type("ConsumerOfThis", (Consumer,), attributes)

    def run(self, served: Iterator[ServeAnswer | None], first: ServeAnswer) -> None:
        """Serve until SIGTERM or SIGINT; a second one ends the process at once.

        `first`, `served`: what the daemon allows, now and later.
        """
        self._queues = ordered(first["queues"])
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        threading.Thread(target=self._follow, args=(served,), daemon=True).start()
        logging.basicConfig(level=logging.WARNING, handlers=[_Log(self._say)])
        while not self._stopping:
            self._serve()
        self._slots.wait()

    def _serve(self) -> None:
        """Take messages until the worker is stopped, or Celery gives up (its log says why)."""
        set_event_loop(None)  # another one has ended with the worker before
        state.should_stop = 0 if self._stopping else None
        controller = WorkController(
            app=self._app, pool_cls="solo", concurrency=1, loglevel="WARNING",
            consumer_cls=self._consumer_class, **_NOT_NEEDED,
        )  # fmt: skip
        self._consumer: Consumer = controller.consumer
        self._consumer.consume_from(self._queues)
        controller.start()
        if not self._stopping:
            self._say(f"begins anew in {_PAUSE:.0f} seconds")
            self._pause.wait(_PAUSE)

    def _ready(self) -> None:
        self._say(f"serves {', '.join(self._queues)}")

    def _follow(self, served: Iterator[ServeAnswer | None]) -> None:
        for answer in served:
            self._slots.call(self._told(answer))

    def _told(self, answer: ServeAnswer | None) -> Callable[[], None]:
        def act() -> None:
            self._slots.open = answer is not None and not self._stopping
            if answer is not None:
                self._queues = ordered(answer["queues"])
                self._consumer.consume_from(self._queues)
                self._ready()

        return act

    def _stop(self, _number: int, _frame: FrameType | None) -> None:
        if self._stopping:
            os._exit(0)  # what runs goes on in pycrond
        self._stopping = True
        self._slots.open = False
        self._pause.set()
        self._daemon.stop()
        runs = number_of(self._slots.taken, "run")
        self._say(f"takes no more messages, and waits for {runs}")
        state.should_stop = 0  # Celery's loop looks at it


def ordered(names: Sequence[str]) -> list[str]:
    """The queues of these names with their priorities, the most urgent of all names first."""
    return [queue for same in zip(*map(with_priorities, names), strict=True) for queue in same]


class _Log(logging.Handler):
    """Says the warnings of Celery and kombu.

    An error in kombu's event loop means that some queue may have got stuck, as those of SQS do when
    it answers "503": then Celery's worker begins anew.
    """

    def __init__(self, say: Say) -> None:
        super().__init__()
        self._say = say

    def emit(self, record: logging.LogRecord) -> None:
        self._say(" ".join(record.getMessage().split()))
        if record.name.startswith("kombu.") and record.levelno >= logging.ERROR:
            state.should_stop = 0


def _celery(broker_url: str) -> Celery:
    app = Celery("pycron", set_as_current=False)
    app.conf.update(
        accept_content=["json"],
        broker_connection_max_retries=None,  # for ever
        broker_connection_retry_on_startup=True,
        broker_connection_timeout=5,
        broker_heartbeat=_HEARTBEAT,
        broker_pool_limit=1,
        broker_read_url=broker_url,
        broker_transport_options=broker.transport_options(broker_url),
        broker_write_url=broker_url,
        task_create_missing_queues=False,
        task_ignore_result=True,
        task_default_queue="",  # no queue but those that are added
        worker_cancel_long_running_tasks_on_connection_loss=True,  # its other value gives a warning
        worker_enable_prefetch_count_reduction=False,
        worker_enable_remote_control=False,
        worker_prefetch_multiplier=1,  # slots decide when the next message may come
        worker_send_task_events=False,
    )
    return app
