"""Brokers: how agents and workers speak to Redis, RabbitMQ and SQS, through Celery's transports.

A queue is declared by whoever comes first, with the same properties on both sides. Messages are
never more than hints, so all time-outs are short: what could not be sent or taken comes again.
"""

from typing import Any

from kombu import Connection, Exchange, Queue

from pycron.protocol.broker_messages import queue_name

_PATIENCE = 5  # seconds for each answer of a broker
_RETURNS_AFTER = 300  # seconds until a message of a worker that died is given to another one

_REDIS = {
    "body_encoding": None,  # the text as it is: base64 makes a message a tenth longer
    "priority_steps": [0],  # a priority is a queue of its own
    "queue_order_strategy": "priority",  # the order of the queues
    "visibility_timeout": _RETURNS_AFTER,
    "socket_connect_timeout": _PATIENCE,
    "socket_timeout": _PATIENCE,
    "socket_keepalive": True,
    "health_check_interval": 25,
}
_AMQP = {"read_timeout": _PATIENCE, "write_timeout": _PATIENCE}
_SQS = {
    "visibility_timeout": _RETURNS_AFTER,
    "polling_interval": 0,  # the server waits
    "wait_time_seconds": 10,
    "client-config": {
        "connect_timeout": _PATIENCE,
        "read_timeout": 4 * _PATIENCE,  # longer than the server waits
        "retries": {"max_attempts": 1},
    },
}
_OPTIONS: dict[str, dict[str, Any]] = {
    "redis": _REDIS, "rediss": _REDIS, "amqp": _AMQP, "amqps": _AMQP, "sqs": _SQS,
}  # fmt: skip


def transport_options(url: str) -> dict[str, Any]:
    """For the transport of this URL. Raises ValueError for a broker that is none of the three."""
    scheme = url.partition("://")[0]
    if scheme not in _OPTIONS:
        known = ", ".join(f"{each}://" for each in _OPTIONS)
        raise ValueError(f"cluster.broker: {scheme}:// is none of {known}")
    return dict(_OPTIONS[scheme])


def connection(url: str) -> Connection:
    """A connection that is made when it is first used. Raises ValueError, as above."""
    return Connection(url, transport_options=transport_options(url), connect_timeout=_PATIENCE)


def declared_queue(cluster: str, queue: str) -> Queue:
    """RabbitMQ keeps it on several nodes (a quorum queue); the others pass over the arguments."""
    name = queue_name(cluster, queue)
    arguments = {"x-queue-type": "quorum"}
    return Queue(name, Exchange(""), routing_key=name, queue_arguments=arguments)
