"""Hosts: on which of them a Job runs (CRON_ON), and what a host knows of its cluster."""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from pycron.model.setting_values import NAME_PATTERN

HOST_PATTERN = r"[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,251}[A-Za-z0-9])?"


@dataclass(frozen=True, slots=True)
class RunsOn:
    """The value of CRON_ON: on each host, or on one host, or on those of a group.

    `shared`: once among these hosts for each fire time, instead of on each of them. `host` and
    `group`: None if all hosts are meant. `queue`: of a shared Job that a worker runs, on whatever
    host that is.
    """

    shared: bool = False
    host: str | None = None
    group: str | None = None
    queue: str | None = None

    def __str__(self) -> str:
        if self.queue is not None:
            return f"{_QUEUE}{self.queue}"
        group = f"@{self.group}" if self.group else ""
        return f"any{group}" if self.shared else group or self.host or "each"


EACH = RunsOn()
_QUEUE = "queue:"


def in_words(where: RunsOn) -> str | None:
    """`once among all hosts that have the entry`; None for a Job of each host."""
    if where.queue is not None:
        return f"once for each fire time, by a worker of the queue {where.queue}"
    if where.shared:
        hosts = f"of the group {where.group}" if where.group else "that have the entry"
        return f"once for each fire time, among the hosts {hosts}"
    if where.group:
        return f"on the hosts of the group {where.group}"
    return f"on the host {where.host}" if where.host else None


def parse_runs_on(text: str) -> RunsOn:
    """The value of `each`, `HOST`, `@GROUP`, `any`, `any@GROUP` or `queue:NAME`.

    Raises ValueError.
    """
    if text == "each":
        return EACH
    if text.startswith(_QUEUE):
        queue = text.removeprefix(_QUEUE)
        if not re.fullmatch(NAME_PATTERN, queue, re.ASCII):
            raise ValueError
        return RunsOn(shared=True, queue=queue)
    first, at, group = text.partition("@")
    if at and not re.fullmatch(NAME_PATTERN, group, re.ASCII):
        raise ValueError
    if first == "any":
        return RunsOn(shared=True, group=group or None)
    if at:
        if first:
            raise ValueError
        return RunsOn(group=group)
    if not re.fullmatch(HOST_PATTERN, text, re.ASCII):
        raise ValueError
    return RunsOn(host=text)


@dataclass(frozen=True, slots=True)
class Cluster:
    """What tables depend on of a host and its cluster.

    `host`: the name of this host. `name`: None if this host is in no cluster. `zone`: of shared
    Jobs whose entries name none. `groups`: named sets of hosts. `everywhere`: a table is only
    looked at, so entries for other hosts count, too.
    """

    host: str
    name: str | None = None
    zone: str = "UTC"
    groups: Mapping[str, Collection[str]] = field(default_factory=dict)
    everywhere: bool = False

    def is_for_this_host(self, where: RunsOn) -> bool:
        """Whether a Job runs on this host, or may run here if it is shared."""
        if self.everywhere:
            return True
        if where.host is not None:
            return where.host == self.host
        return where.group is None or self.host in self.groups.get(where.group, ())
