"""Identity: keys that tell the entries of a table apart, and the ids made from them."""

from collections.abc import Iterator

from pycron.model.job import Source, digest
from pycron.model.run import RunKey
from pycron.model.shared import SharedKey
from pycron.schedule.fields import Pick


def entry_key(user: str, words: tuple[str, ...], command: str, stdin: str | None) -> str:
    """A key that only equal entries of a table share. `words`: those of the schedule."""
    return digest(user, " ".join(words), command, stdin or "")


def twin_key(key: str, twin: int) -> str:
    """The key of one of several equal entries. `twin`: how many equal ones are above it."""
    return f"{key}.{twin}"


def job_number(source: Source, user: str, name: str | None, key: str) -> int:
    """The id of a Job as a number of 64 bits. `name`: that of CRON_NAME. `key`: from `twin_key`.

    A named Job keeps its id when its entry changes, unless another user gets the entry: that user
    must not see or end the Runs of the user before.
    """
    if name is None:
        return int(digest(source.name, "entry", key), 16)
    column = () if source.owner else (user,)
    return int(digest(source.name, "name", name, *column), 16)


def shared_key(user: str, name: str) -> str:
    """What `~` and `H` of a shared Job depend on, besides the cluster; see `entry_key`."""
    return digest("shared", user, name)


def shared_number(cluster: str, user: str, name: str) -> int:
    """The id of a shared Job as a number: the same on all hosts, whatever its table is called."""
    return int(digest("cluster", cluster, user, name), 16)


def shared_run(cluster: str, shared: SharedKey) -> RunKey:
    """The key of a shared Run on all hosts of the cluster."""
    return RunKey(job_id(shared_number(cluster, shared.owner, shared.name)), shared.fire_time)


def is_named(identifier: str, table: str, user: str, name: str) -> bool:
    """Whether the Job with this id has its name from CRON_NAME, not from its command."""
    return identifier in (digest(table, "name", name), digest(table, "name", name, user))


def job_id(number: int) -> str:
    """The id of a Job as people see it: 16 hexadecimal digits."""
    return f"{number:016x}"


def picker(host: str, key: str) -> Pick:
    """The numbers for `~` and `H`: always the same for one entry on one host, without a store."""
    turns: Iterator[int] = iter(range(1_000_000))

    def pick(field: str) -> int:
        return int(digest(host, key, field, str(next(turns))), 16)

    return pick
