"""Hands a message to the broker of Celery workers, by Celery's own means.

The queue is not declared: only its workers know how it is made (a quorum queue, for example). So a
queue that RabbitMQ does not have is an answer of the broker, and not a message that is lost.
"""

from celery import Celery
from kombu import Queue

from pycron.sender.request import SendRequest

TIMEOUT = 10  # seconds that a connection or an answer may take


def send(request: SendRequest) -> None:
    """Send the task; the broker has accepted it. Raises exceptions of kombu and its transports."""
    with _app(request["url"]) as app:
        app.send_task(
            request["task"],
            request["arguments"],
            request["named"],
            task_id=request["id"],
            queue=Queue(request["queue"], no_declare=True),
            headers=request["headers"],
            mandatory=True,
            retry=False,
            confirm_timeout=TIMEOUT,
        )


def _app(url: str) -> Celery:
    app = Celery("pycron", broker=url, set_as_current=False)
    options: dict[str, object] = {"max_retries": 0}
    if url.startswith(("redis", "rediss")):
        options |= {"socket_timeout": TIMEOUT, "socket_connect_timeout": TIMEOUT}
    elif url.startswith("amqp"):
        options |= {"confirm_publish": True}
    app.conf.update(
        task_serializer="json",
        broker_connection_timeout=TIMEOUT,
        broker_transport_options=options,
        broker_connection_retry=False,
    )
    return app
