"""The messages that agents send to workers through a broker (cluster.broker).

A message is a task of Celery (protocol 2) that names a Run and has no command. It is a hint:
whoever can write to the broker can send any text, so the worker checks each message, and the daemon
and the database decide what becomes of it.
"""

import json
from typing import Any, TypedDict, cast

from pycron.protocol.cluster_checks import check_object

TASK = "pycron.run"
_MOST_BYTES = 1000  # of a body
_LONGEST_NAME = 64


class RunMessage(TypedDict):
    """The Run of this Job and fire time waits for the Attempt after Attempt `attempt`."""

    cluster: str
    owner: str
    name: str
    fire_time: int
    attempt: int


_KEYS: tuple[Any, ...] = tuple(RunMessage.__annotations__)


def queue_name(cluster: str, queue: str) -> str:
    """What a queue is called at the broker."""
    return f"pycron.{cluster}.{queue}"


def run_headers(run_id: str, message: RunMessage) -> dict[str, str]:
    """The headers of a task; its id names the Attempt that is to start."""
    return {"task": TASK, "id": f"{run_id}.{message['attempt'] + 1}"}


def run_task(message: RunMessage) -> list[object]:
    """What a body says: arguments without keywords, which are long, and nothing that follows."""
    return [list(message.values()), {}, {}]


def run_message(body: str | bytes) -> RunMessage:
    """What a body says, checked. Raises ValueError."""
    if len(body) > _MOST_BYTES:
        raise ValueError(f"a message of {len(body)} bytes")
    try:
        parts: Any = json.loads(body)
    except RecursionError:
        raise ValueError("a message that is nested too deeply") from None
    arguments = parts[0] if isinstance(parts, list) and len(parts) == 3 else None
    if not isinstance(arguments, list) or len(arguments) != len(_KEYS):
        raise ValueError("a message that is no task of pycron")
    message = cast(RunMessage, dict(zip(_KEYS, arguments, strict=True)))
    check_object(TASK, RunMessage, message, {})
    if max(len(message["cluster"]), len(message["owner"]), len(message["name"])) > _LONGEST_NAME:
        raise ValueError("a name that is too long")
    return message
