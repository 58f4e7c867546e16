"""The sections [senders.NAME] of pycron.toml: brokers whose workers get messages (CRON_SEND)."""

import re
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from pycron.model.setting_values import NAME_PATTERN

# The kinds of workers: the schemes of their brokers, and the queue that they serve by default.
_SCHEMES = {
    "celery": ("redis", "rediss", "amqp", "amqps", "sqs"),
    "rq": ("redis", "rediss"),
}
_QUEUES = {"celery": "celery", "rq": "default"}
_QUEUE = re.compile(r"[!-~]{1,255}", re.ASCII)


class BadSender(Exception):
    """The section cannot be used; the message names the key, and never the URL."""


@dataclass(frozen=True, slots=True)
class SenderOptions:
    """A section [senders.NAME]. `url`, of the broker, is a secret.

    `kind`: celery or rq. `users`: those whose tables may use the sender.
    """

    kind: str
    url: str = field(repr=False)
    queue: str
    users: frozenset[str] = frozenset()


def sender(name: str, content: Any) -> SenderOptions:
    """The options of a section. Raises BadSender."""
    section = f"senders.{name}"
    if not re.fullmatch(NAME_PATTERN, name, re.ASCII) or not isinstance(content, dict):
        raise BadSender(f'bad section: "[{section}]" (see pycron.toml(5))')
    unknown = set(content) - {*_SCHEMES, "queue", "users"}
    if unknown:
        raise BadSender(f'unknown option: "{section}.{min(unknown)}"')
    kinds = [kind for kind in _SCHEMES if kind in content]
    if len(kinds) != 1:
        raise BadSender(f"bad {section}: it has either celery or rq, the URL of a broker")
    (kind,) = kinds
    if not _is_url(content[kind], _SCHEMES[kind]):
        words = ", ".join(f"{scheme}://" for scheme in _SCHEMES[kind])
        raise BadSender(f"bad {section}.{kind}: not shown (a URL that begins with {words})")
    queue = content.get("queue", _QUEUES[kind])
    if not isinstance(queue, str) or not _QUEUE.fullmatch(queue):
        raise BadSender(f"bad {section}.queue: {queue!r} (the name of a queue)")
    users = content.get("users", [])
    if not isinstance(users, list) or not all(isinstance(each, str) for each in users):
        raise BadSender(f"bad {section}.users: {users!r} (a list of users)")
    return SenderOptions(kind, content[kind], queue, frozenset(users))


def _is_url(value: Any, schemes: tuple[str, ...]) -> bool:
    """Whether this is a URL of one of these schemes, with a host and a port that is a number."""
    if not isinstance(value, str) or not re.fullmatch(r"[!-~]{1,2000}", value, re.ASCII):
        return False
    try:
        url = urlsplit(value)
        _ = url.port  # raises ValueError
    except ValueError:
        return False
    return url.scheme in schemes and (bool(url.hostname) or url.scheme == "sqs")
