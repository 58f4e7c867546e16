"""What `python -m pycron.sender` reads from stdin: one JSON object on a line.

It is not in the arguments or in the environment, because the URL may have a password.
"""

import json
from typing import Any, Literal, TypedDict, cast


class SendRequest(TypedDict):
    """Send one message. `kind`: whose workers get it. `url`: of the broker, a secret.

    `id`: of the task; the same whenever this Run is sent. `headers`: what the task can learn about
    the Run.
    """

    kind: Literal["celery", "rq"]
    url: str
    queue: str
    task: str
    arguments: list[Any]
    named: dict[str, Any]
    id: str
    headers: dict[str, str]


_FORMS: dict[str, type] = {
    "kind": str, "url": str, "queue": str, "task": str, "arguments": list, "named": dict, "id": str,
    "headers": dict,
}  # fmt: skip


class BadRequest(Exception):
    """The request is none that this program knows; the text names the key that is wrong."""


def checked(line: bytes) -> SendRequest:
    """The request on this line of JSON. Raises BadRequest."""
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        raise BadRequest("no JSON") from None
    if not isinstance(value, dict):
        raise BadRequest("no object")
    for key, kind in _FORMS.items():
        if not isinstance(value.get(key), kind):
            raise BadRequest(key)
    if value["kind"] not in ("celery", "rq"):
        raise BadRequest("kind")
    if not all(isinstance(each, str) for each in value["headers"].values()):
        raise BadRequest("headers")
    return cast(SendRequest, value)
