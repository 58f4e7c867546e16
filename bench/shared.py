"""Shared Jobs on several daemons of this machine, with a PostgreSQL that waits for the disk.

Needs PostgreSQL on this machine and psycopg. Prints rows as JSON; names say what is milliseconds
(ms), MB and per second, all other durations are seconds, as [least, median, most].

starts: local Jobs of one host that are due at once, then shared ones of all: how late the first,
    the median and the last command started; the claims per second, from the first to the last one.
killed: all processes of a host are killed at a random moment. The Runs that it had: how long after
    the kill they were lost, how long after that another host started them, and how late that was.
    The fire times that were its to claim afterwards: how late the others claimed them while they
    waited for it, and since when they do not.
idle: what entries that are not due cost the processes of a host and PostgreSQL.
"""

import argparse
import json
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import psutil

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from pycron.cluster.preference import asks_first
from pycron.model.shared import SharedKey
from tests.support.cluster_hosts import Host, hosts, wait_for_rows
from tests.support.postgres import Postgres, is_here, running_postgres
from tests.support.waiting import until

Row = dict[str, object]

_DURABLE = {"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on"}
_SETTLED = 60  # seconds after which a cluster is idle
_WAITED = 0.9  # seconds of lateness: the claim is by a host that has waited for another one


def unable() -> str | None:
    """Why nothing can be measured here; None if it can."""
    needed = is_here() and find_spec("psycopg") is not None
    return None if needed else "it needs PostgreSQL on this machine, and psycopg"


@contextmanager
def _cluster(count: int, *options: str) -> Iterator[tuple[Postgres, list[Host]]]:
    """So many hosts with nothing to do. `options`: lines of [cluster]."""
    with (
        tempfile.TemporaryDirectory(prefix="pycron-bench-", dir="/tmp") as directory,
        running_postgres(**_DURABLE) as server,
        hosts(Path(directory), server, count, "@yearly true", options=options) as all_hosts,
    ):
        yield server, all_hosts


class Run(NamedTuple):
    """A row of the database."""

    key: SharedKey
    log: list[dict[str, Any]]

    def at(self, event: str) -> float | None:
        """The UTC second of the first event of this kind."""
        return next((each["at"] for each in self.log if each["event"] == event), None)


def _runs(server: Postgres) -> list[Run]:
    found = server.psql(
        "SELECT json_build_array(owner, name, extract(epoch FROM fire_time)::bigint, log)"
        " FROM pycron.runs"
    )
    rows = map(json.loads, found.splitlines())
    return [Run(SharedKey(owner, name, fire), log) for owner, name, fire, log in rows]


def _range(values: Iterable[float]) -> list[float]:
    """The least, the median and the most."""
    found = sorted(values)
    three = (found[0], statistics.median(found), found[-1]) if found else ()
    return [round(each, 2) for each in three]


# ---- starts


def starts(jobs: int, hosts_count: int) -> Iterator[Row]:
    with _cluster(hosts_count) as (server, all_hosts):
        yield {"kind": "local", **_burst(all_hosts[:1], jobs, "")}
        row = _burst(all_hosts, jobs, "CRON_ON=any ")
        claims = sorted(run.at("claimed") or 0.0 for run in _runs(server))
        rate = len(claims) / (claims[-1] - claims[0])
        yield {"kind": "shared", **row, "claims_per_second": round(rate)}


def _burst(on: list[Host], jobs: int, settings: str) -> Row:
    schedule, fire = _next_minute(1 if time.time() % 60 < 40 else 2)
    for host in on:
        host.write(*(f"CRON_NAME=j{n} {settings}{schedule} true" for n in range(jobs)))
    until(lambda: len(_lateness(on, fire)) >= jobs, 240)
    late = _lateness(on, fire)
    return {
        "jobs": jobs,
        "hosts": len(on),
        "first_ms": late[0],
        "median_ms": round(statistics.median(late)),
        "last_ms": late[-1],
    }


def _next_minute(ahead: int) -> tuple[str, str]:
    """The schedule, and the fire time as it is logged."""
    fire = (int(time.time()) // 60 + ahead) * 60
    when = time.gmtime(fire)
    return f"{when.tm_min} {when.tm_hour} * * *", time.strftime("%Y-%m-%dT%H:%M:%SZ", when)


def _lateness(on: list[Host], fire: str) -> list[int]:
    return sorted(
        int(line["lateness_ms"])
        for host in on
        for line in host.running.log("attempt_started")
        if line["fire_time"] == fire
    )


# ---- killed


def killed(jobs: int, hosts_count: int, lease: str) -> Row:
    """The Jobs are due every ten seconds, and run for nine."""
    settings = "CRON_RETRIES=1 CRON_RETRY_DELAY=1s CRON_RETRY_UNTIL=never CRON_CONCURRENCY=allow"
    line = f"CRON_NAME=j{{}} CRON_ON=any {settings} @every 10s sleep 9"
    with _cluster(hosts_count, f'lease = "{lease}"') as (server, all_hosts):
        for host in all_hosts:
            host.write(*(line.format(n) for n in range(jobs)))
        wait_for_rows(server, "outcome = 'succeeded'", 2 * jobs, 120)
        time.sleep(random.uniform(0, 10))
        victim, at = all_hosts[0].name, time.time()
        all_hosts[0].kill()
        until(lambda: _is_over(server, victim), 600)
        runs = _runs(server)
        names = [host.name for host in all_hosts]
    due = [
        run for run in runs if run.key.fire_time > at and asks_first(run.key, victim, names, None)
    ]
    return {"kind": "killed", "lease": lease, **_lost(runs, at), **_due(due, at)}


def _is_over(server: Postgres, victim: str) -> bool:
    """Whether the host was fenced, and others have started the Runs that it had."""
    fenced = f"SELECT incarnation IS NULL FROM pycron.hosts WHERE name = '{victim}'"
    unfinished = (
        "SELECT count(*) FROM pycron.runs"
        f" WHERE state = 'waiting' OR (state = 'held' AND host = '{victim}')"
    )
    return server.psql(fenced) == "t" and server.psql(unfinished) == "0"


def _lost(runs: list[Run], at: float) -> Row:
    lost = [
        (run.key.fire_time, reaped, started)
        for run in runs
        if (reaped := run.at("reaped")) and (started := run.at("started"))
    ]
    return {
        "had": len(lost),
        "lost_after": _range(reaped - at for _, reaped, _ in lost),
        "started_after_that": _range(started - reaped for _, reaped, started in lost),
        "late": _range(started - fire for fire, _, started in lost),
    }


def _due(due: list[Run], at: float) -> Row:
    waited = [
        (run.key.fire_time, late)
        for run in due
        if (late := (run.at("claimed") or 0.0) - run.key.fire_time) > _WAITED
    ]
    return {
        "waited_for_it": len(waited),
        "claimed_late": _range(late for _, late in waited),
        "until": round(max((fire for fire, _ in waited), default=at) - at, 1),
    }


# ---- idle


def idle(entries: int, hosts_count: int, minutes: float) -> Iterator[Row]:
    with _cluster(hosts_count) as (server, all_hosts):
        time.sleep(_SETTLED)
        yield {"kind": "memory", "entries": 1, **_memory(all_hosts[0], server)}
        for host in all_hosts:
            host.write(*(f"CRON_NAME=i{n} CRON_ON=any 0 0 1 1 * true" for n in range(entries)))
        for host in all_hosts:
            until(lambda host=host: host.running.log("table_loaded", jobs=entries), 300)
        time.sleep(_SETTLED)
        yield {"kind": "memory", "entries": entries, **_memory(all_hosts[0], server)}
        yield {"kind": "idle", "entries": entries, "hosts": hosts_count, **_load(server, minutes)}


def _memory(host: Host, server: Postgres) -> Row:
    pids = {"daemon": host.running.process.pid, "agent": host.agent, "runner": host.runner}
    sessions = server.psql("SELECT pid FROM pg_stat_activity WHERE application_name = 'pycron'")
    return {
        **{f"{name}_mb": _pss(psutil.Process(pid)) for name, pid in pids.items()},
        "backends": len(sessions.split()),
        "backend_mb": _range(_pss(psutil.Process(int(pid))) for pid in sessions.split()),
        "postgresql_mb": round(sum(map(_pss, _processes(server))), 1),
    }


def _pss(process: psutil.Process) -> float:
    return round(process.memory_full_info().pss / 2**20, 1)


def _processes(server: Postgres) -> list[psutil.Process]:
    first = psutil.Process(server.pid)
    return [first, *first.children()]


def _load(server: Postgres, minutes: float) -> Row:
    before = _counters(server)
    time.sleep(60 * minutes)
    passed = [now - then for now, then in zip(_counters(server), before, strict=True)]
    seconds, cpu, transactions, inserted, updated, deleted, wal = passed
    return {
        "minutes": minutes,
        "transactions_per_second": round(transactions / seconds, 2),
        "cpu_per_minute": round(60 * cpu / seconds, 3),
        "rows_written_per_second": round((inserted + updated + deleted) / seconds, 2),
        "wal_bytes_per_second": round(wal / seconds),
    }


def _counters(server: Postgres) -> list[float]:
    """Numbers that only grow: seconds, CPU seconds of the server, transactions, rows, WAL bytes."""
    used = [process.cpu_times() for process in _processes(server)]
    ended = used[0].children_user + used[0].children_system
    found = server.psql(
        "SELECT xact_commit + xact_rollback, tup_inserted, tup_updated, tup_deleted,"
        " pg_current_wal_lsn() - '0/0' FROM pg_stat_database WHERE datname = current_database()"
    )
    cpu = ended + sum(each.user + each.system for each in used)
    return [time.monotonic(), cpu, *map(float, found.split("|"))]


FIGURES = ("starts", "killed", "idle")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("figures", nargs="*", choices=FIGURES, default=FIGURES, metavar="FIGURE")
    parser.add_argument("--hosts", type=int, default=3)
    parser.add_argument(
        "--jobs", type=int, default=1000, help="due at once in starts; killed has a tenth"
    )
    parser.add_argument("--leases", default="30s,90s", help="for killed: a host is killed for each")
    parser.add_argument("--entries", type=int, default=100_000, help="on each host, for idle")
    parser.add_argument("--minutes", type=float, default=5, help="measured by idle")
    options = parser.parse_args()
    if why := unable():
        parser.error(why)
    rows = {
        "starts": lambda: starts(options.jobs, options.hosts),
        "killed": lambda: (
            killed(options.jobs // 10, options.hosts, lease) for lease in options.leases.split(",")
        ),
        "idle": lambda: idle(options.entries, options.hosts, options.minutes),
    }
    for figure in options.figures:
        for row in rows[figure]():
            print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
