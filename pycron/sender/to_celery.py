"""Hands a message to the broker of Celery workers, by Celery's own means.

The queue is not declared: only its workers know how it is made (a quorum queue, for example). So a
queue that RabbitMQ does not have is an answer of the broker, and not a message that is lost.
"""

from typing import Any
from urllib.parse import parse_qsl, urlsplit

from celery import Celery
from kombu import Queue

from pycron.sender.request import SendRequest

TIMEOUT = 10  # seconds that a connection or an answer may take
_REDIS = {"socket_timeout": TIMEOUT, "socket_connect_timeout": TIMEOUT}
_SQS = {
    "client-config": {
        "connect_timeout": TIMEOUT,
        "read_timeout": TIMEOUT,
        "retries": {"max_attempts": 1},
    }
}


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
    address, options = _transport(url)
    app = Celery("pycron", broker=address, set_as_current=False)
    app.conf.update(
        task_serializer="json",
        broker_connection_timeout=TIMEOUT,
        broker_transport_options={"max_retries": 0, **options},
        broker_connection_retry=False,
    )
    return app


def _transport(url: str) -> tuple[str, dict[str, Any]]:
    """The URL as Celery reads it, and the options of its transport.

    SQS needs a region, which Celery does not look for in a URL: `sqs://KEY:SECRET@?region=…`.
    """
    parts = urlsplit(url)
    if parts.scheme == "sqs":
        given = dict(parse_qsl(parts.query))
        secure = given.pop("is_secure", "true") == "true"
        return parts._replace(query="").geturl(), {"is_secure": secure, **given, **_SQS}
    return url, _REDIS if parts.scheme.startswith("redis") else {"confirm_publish": True}
