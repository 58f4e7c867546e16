"""Job: what an entry defines."""

from dataclasses import dataclass

from pycron.model.settings import Settings
from pycron.schedule.expressions import Schedule

try:
    from _blake2 import blake2b  # what hashlib has, without OpenSSL, which is 3.6 MB
except ImportError:  # it is CPython's own affair
    from hashlib import blake2b


Environment = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Source:
    """Where a table comes from.

    `name` is what messages call it: a path, or the name of the user whose table it is. `owner` is
    the user all its Jobs run as; None for a system table, which has a user column.
    """

    name: str
    owner: str | None


@dataclass(frozen=True, slots=True)
class Job:
    """What an entry defines. `id` lasts as long as its schedule, user and command stay the same.

    `flags` are those of the entry (OpenBSD's n, q, s; cronie's leading `-` counts as q). `hook_of`:
    the id of the Job whose failures this Job handles, if this Job is a failure hook.
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
    hook_of: str | None = None

    @property
    def zone(self) -> str | None:
        """The zone that the table names; None stands for the machine's."""
        return self.settings.zone


def digest(*parts: str) -> str:
    """64 bits that stand for these texts, as 16 hexadecimal digits."""
    text = "\0".join(parts).encode("utf-8", "surrogateescape")
    return blake2b(text, digest_size=8).hexdigest()
