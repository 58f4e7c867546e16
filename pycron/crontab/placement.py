"""CRON_ON: where the Job of an entry runs, and what makes a shared Job the same on all hosts."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from pycron.crontab.identity import job_number, shared_key, shared_number
from pycron.crontab.line import LineError
from pycron.model.hosts import EACH, Cluster, RunsOn
from pycron.model.job import Source
from pycron.schedule.expressions import Reboot


class Placement(NamedTuple):
    """What follows from CRON_ON for an entry.

    `values`: of its settings; other ones for a shared Job. `host` and `key`: what `~` and `H`
    depend on. `number`: its id. `here`: whether the entry concerns this host.
    """

    values: dict[str, Any]
    host: str
    key: str
    number: int
    here: bool = True


def placed(
    values: dict[str, Any],
    source: Source,
    user: str,
    key: str,
    column: int,
    host: str,
    cluster: Cluster | None,
) -> Placement:
    """Where an entry runs. Raises LineError.

    `key`: from `twin_key`. `host`: what `~` and `H` of the Jobs of this host depend on. `cluster`:
    None if it is not known.
    """
    where, name = values.get("runs_on"), values.get("name")
    if where is None or where == EACH:  # as of nearly all entries
        return Placement(values, host, key, job_number(source, user, name, key))
    reason = _why_not(where, name, cluster)
    if where.queue is not None and values.get("send") is not None:
        reason = "a worker runs commands, and sends no messages: CRON_SEND"
    if reason is not None:
        raise LineError("bad-setting", f'bad CRON_ON: "{where}" ({reason})', column)
    here = cluster is None or cluster.is_for_this_host(where)
    if not where.shared:
        return Placement(values, host, key, job_number(source, user, name, key), here)
    known = cluster or Cluster(host, "")
    in_cluster = known.name or ""
    return Placement(
        {**values, "zone": values.get("zone") or known.zone},
        in_cluster,
        shared_key(user, name or ""),
        shared_number(in_cluster, user, name or ""),
        here,
    )


def refuse_reboot(schedule: object, where: RunsOn, column: int) -> None:
    """A shared Job has fire times, about which the database decides. Raises LineError."""
    if isinstance(schedule, Reboot):
        message = f'bad CRON_ON: "{where}" (@reboot has no fire time that hosts could share)'
        raise LineError("bad-setting", message, column)


def _why_not(where: RunsOn, name: str | None, cluster: Cluster | None) -> str | None:
    """Why an entry cannot run there; None if it can."""
    if where.shared and name is None:
        return "hosts know a shared job by its name: write CRON_NAME in front of the entry, too"
    if cluster is None:
        return None
    if where.shared and cluster.name is None:
        return "this host is in no cluster: [cluster] of pycron.toml"
    if where.group is not None and where.group not in cluster.groups:
        return _no_group(cluster.groups)
    return None


def _no_group(groups: Mapping[str, object]) -> str:
    known = ", ".join(sorted(groups)) or "none"
    return f"no such group in [cluster] groups of pycron.toml; it has {known}"
