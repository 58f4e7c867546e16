"""Job: what an entry defines."""

from collections.abc import Collection
from dataclasses import dataclass

from pycron.model.delivery import Delivery
from pycron.model.settings import Settings
from pycron.schedule.expressions import Schedule

try:
    from _blake2 import blake2b  # the function of hashlib, which also loads OpenSSL (3.6 MB)
except ImportError:  # _blake2 is an internal module of CPython
    from hashlib import blake2b


# The variables of a command, in order. Those of a table share their memory (crontab/variables.py).
Environment = Collection[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Source:
    """Where a table comes from.

    `name`: what messages call the table: its path, or the name of the user whose table it is.
    `owner`: the user that all its Jobs run as; None for a system table, which has a user column.
    """

    name: str
    owner: str | None


@dataclass(frozen=True, slots=True)
class Job:
    """The thing that an entry defines.

    `id` stays the same while schedule, user and command stay the same.

    `flags` are those of the entry (OpenBSD's n, q, s; cronie's leading `-` counts as q).
    `delivery`: for a Job that tells somebody about the Runs of another Job.
    """

    id: str
    name: str
    source: Source
    line: int
    user: str
    schedule: Schedule
    command: str
    stdin: str | None
    environment: Environment
    settings: Settings
    flags: str = ""
    delivery: Delivery | None = None

    @property
    def is_message(self) -> bool:
        """Whether this is a delivery that pycron itself sends, so not a failure hook."""
        return self.delivery is not None and self.delivery.is_message

    @property
    def zone(self) -> str | None:
        """The zone that the table names; None stands for the machine's."""
        return self.settings.zone


def digest(*parts: str) -> str:
    """A digest of these texts: 64 bits, as 16 hexadecimal digits."""
    text = "\0".join(parts).encode("utf-8", "surrogateescape")
    return blake2b(text, digest_size=8).hexdigest()
