"""1,000 shared Jobs due in one minute on three daemons of this machine, beside 1,000 local ones.

Needs PostgreSQL on this machine and psycopg. Prints for each kind how late the first, the median
and the last command started, in milliseconds, and the memory of the processes with more entries.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.support.cluster_hosts import Host, hosts
from tests.support.postgres import running_postgres
from tests.support.waiting import until


def lateness(all_hosts: list[Host], fire: str) -> list[int]:
    return sorted(
        int(line["lateness_ms"])
        for host in all_hosts
        for line in host.running.log("attempt_started")
        if line["fire_time"] == fire
    )


def next_minute(ahead: int) -> tuple[str, str]:
    """The minute field, and the fire time as it is logged."""
    fire = (int(time.time()) // 60 + ahead) * 60
    when = time.gmtime(fire)
    return f"{when.tm_min} {when.tm_hour} * * *", time.strftime("%Y-%m-%dT%H:%M:%SZ", when)


def measure(all_hosts: list[Host], jobs: int, *, shared: bool) -> dict[str, object]:
    schedule, fire = next_minute(1 if time.time() % 60 < 40 else 2)
    prefix = "CRON_NAME=j{} CRON_ON=any " if shared else "CRON_NAME=j{} "
    lines = [f"{prefix.format(n)}{schedule} true" for n in range(jobs)]
    for host in all_hosts if shared else all_hosts[:1]:
        host.write(*lines)
    until(lambda: len(lateness(all_hosts, fire)) >= jobs, 240)
    late = lateness(all_hosts, fire)
    return {
        "kind": "shared" if shared else "local",
        "jobs": jobs,
        "hosts": len(all_hosts) if shared else 1,
        "first_ms": late[0],
        "median_ms": round(statistics.median(late)),
        "last_ms": late[-1],
    }


def memory(host: Host) -> dict[str, float]:
    pids = {"daemon": host.running.process.pid, "agent": host.agent, "runner": host.runner}
    return {name: round(psutil.Process(pid).memory_info().rss / 2**20, 1)
            for name, pid in pids.items()}  # fmt: skip


def memory_of_entries(host: Host, count: int) -> dict[str, object]:
    """The memory (MB) of the processes of a host before and after it gets so many idle entries."""
    before = memory(host)
    host.write(*(f"CRON_NAME=i{n} CRON_ON=any 0 0 1 1 * true" for n in range(count)))
    until(lambda: host.running.log("table_loaded", jobs=count), 120)
    time.sleep(5)
    return {"entries": count, "before_mb": before, "after_mb": memory(host)}


def measured(jobs: int, hosts_count: int, entries: int = 0) -> Iterator[dict[str, object]]:
    """The rows of local and of shared Jobs; with `entries`, one about memory."""
    with (
        tempfile.TemporaryDirectory(prefix="pycron-bench-", dir="/tmp") as directory,
        running_postgres() as server,
        hosts(Path(directory), server, hosts_count, "@yearly true") as all_hosts,
    ):
        for shared in (False, True):
            yield measure(all_hosts, jobs, shared=shared)
        for host in all_hosts:
            host.write("@yearly true")
        if entries:
            yield memory_of_entries(all_hosts[0], entries)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=1000)
    parser.add_argument("--hosts", type=int, default=3)
    parser.add_argument("--entries", type=int, default=0, help="idle shared entries for memory")
    options = parser.parse_args()
    for row in measured(options.jobs, options.hosts, options.entries):
        print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
