"""Where pycron reports a problem of a queue: the table of docs/workers.md, with nothing left out.

One host has the entries, the other one the worker; PostgreSQL and Redis are real.
"""

import json
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from pycron.system.accounts import own_account
from tests.support.cluster_hosts import Host, hosts, rows, wait_for_rows
from tests.support.postgres import Postgres, running_postgres
from tests.support.postgres import is_here as postgres_is_here
from tests.support.queue_brokers import is_here, running_broker
from tests.support.running_daemon import run
from tests.support.running_worker import RunningWorker, running_worker
from tests.support.waiting import until

pytest.importorskip("psycopg")
pytest.importorskip("celery")
pytestmark = [
    pytest.mark.skipif(not postgres_is_here(), reason="needs PostgreSQL"),
    pytest.mark.skipif(not is_here("redis"), reason="needs a Redis"),
    pytest.mark.slow,
    pytest.mark.xdist_group("shared_jobs"),
]

UNSERVED, STRANGER, NO_COMMAND, NEWER = "unserved", "stranger", "no-command", "newer"
LINES = [
    f"CRON_NAME={name} CRON_ON=queue:{queue} * * * * * {command}"
    for name, queue, command in [
        (UNSERVED, "gpu", "true"),
        (STRANGER, "default", "true"),
        (NO_COMMAND, "default", "/no/such/command"),
        (NEWER, "default", "true"),
    ]
]
NO_USER = "host2: no such user: nobody-knows"
TOO_OLD = "host2: it needs pycron 9.9"


class Cluster(NamedTuple):
    """Each Job's first Run has met its problem. `fire_time`: of these Runs."""

    server: Postgres
    entries: Host
    working: Host
    worker: RunningWorker
    fire_time: int

    def said(self, *words: str | Path) -> str:
        """Run a verb that asks the database; its output."""
        done = run("pycron", *words, "--config", self.entries.config)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def minute(self) -> str:
        return time.strftime("%Y-%m-%dT%H:%MZ", time.gmtime(self.fire_time))

    def why(self, name: str) -> str:
        return self.said("why", name, self.minute(), "--cluster")

    def why_here(self, name: str) -> str:
        """Of the host with the entry."""
        done = run("pycron", "why", name, self.minute(), "--state-dir", self.entries.state)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def show(self, name: str) -> str:
        return self.said("show", self.row(name)["run_id"], "--cluster")

    def row(self, name: str) -> dict[str, Any]:
        """Of `pycron runs --cluster --json`."""
        lines = self.said("runs", "--cluster", "--json", "--job", name).splitlines()
        oldest: dict[str, Any] = json.loads(lines[-1])
        return oldest

    def logged(self, host: Host, event: str, name: str) -> list[dict[str, Any]]:
        fire = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self.fire_time))
        lines = host.running.log(event, job=name)
        return [line for line in lines if line.get("fire_time", fire) == fire]


def first_fire_time(server: Postgres) -> int:
    """When all four wait, and a message was sent for each."""
    wait_for_rows(server, "state = 'waiting' AND publications > 0", len(LINES), 150)
    times = rows(server, "extract(epoch FROM fire_time)::bigint")
    return int(times[0][0])


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """The user is unknown, and the version too old, because the rows were changed."""
    users = f'users = ["{own_account().name}", "nobody-knows"]'
    with running_postgres() as server, running_broker("redis") as broker:
        options = (f'broker = "{broker.url}"', "[worker]", 'queues = ["default"]', users)
        place = tmp_path_factory.mktemp("reports")
        with hosts(place, server, 2, "@yearly true", options=options) as (first, second):
            first.write(*LINES)
            fire_time = first_fire_time(server)
            of_it = f"fire_time = to_timestamp({fire_time})"
            newer = """spec || '{"version": 99, "pycron": "9.9"}'::jsonb"""
            server.psql(f"UPDATE pycron.runs SET spec = {newer} WHERE name = '{NEWER}'")
            stranger = f"name = '{STRANGER}' AND {of_it}"
            server.psql(f"UPDATE pycron.runs SET owner = 'nobody-knows' WHERE {stranger}")
            with running_worker(second.state, "default") as worker:
                wait_for_rows(server, f"{of_it} AND refusal = '{NO_USER}'", patience=120)
                wait_for_rows(server, f"{of_it} AND refusal = '{TOO_OLD}'", patience=120)
                wait_for_rows(server, f"{of_it} AND outcome = 'failed'", patience=120)
                yield Cluster(server, first, second, worker, fire_time)


def test_a_queue_that_nobody_serves(cluster: Cluster) -> None:
    assert "no worker serves the queue gpu at present" in cluster.why_here(UNSERVED)
    assert "no worker serves the queue gpu at present" in cluster.why(UNSERVED)
    assert "no worker serves the queue gpu at present" in cluster.show(UNSERVED)
    for verb in ("status", "queues"):
        lines = cluster.said("cluster", verb).splitlines()
        (served,) = [line.split() for line in lines if line.startswith("gpu ")]
        assert served[-1] == "nobody"
    assert cluster.row(UNSERVED)["state"] == "waiting"


def test_a_user_whom_the_host_of_the_worker_does_not_know(cluster: Cluster) -> None:
    for page in (cluster.why(STRANGER), cluster.show(STRANGER)):
        assert f"refused    {NO_USER}" in page
    assert cluster.row(STRANGER)["refusal"] == NO_USER
    refusals = cluster.working.running.log("work_refused", job=STRANGER)
    refused = next(line for line in refusals if line["user"] == "nobody-knows")
    assert (refused["level"], refused["reason"]) == ("warning", "no such user: nobody-knows")


def test_a_command_that_does_not_exist(cluster: Cluster) -> None:
    assert "failed, exit status 127" in cluster.why(NO_COMMAND)
    page = cluster.show(NO_COMMAND)
    assert "failed, exit status 127" in page
    assert "/no/such/command: not found" in page
    row = cluster.row(NO_COMMAND)
    assert (row["outcome"], row["exit_status"], row["host"]) == ("failed", 127, "host2")
    (ended,) = cluster.logged(cluster.working, "attempt_ended", NO_COMMAND)
    assert (ended["level"], ended["exit_status"]) == ("warning", 127)


def test_a_worker_of_an_older_version(cluster: Cluster) -> None:
    for page in (cluster.why(NEWER), cluster.show(NEWER)):
        assert f"refused    {TOO_OLD}" in page
    assert cluster.row(NEWER)["refusal"] == TOO_OLD
    assert "VERSION" in cluster.said("cluster", "status")


def test_the_log_of_the_worker_tells_of_itself_alone(cluster: Cluster) -> None:
    """What it serves; the daemon of its host logs what becomes of Runs."""
    assert cluster.worker.log == "pycron worker: serves default.high, default, default.low\n"


def test_a_missed_run_says_why(cluster: Cluster) -> None:
    """The last test: it ends what waits."""
    cluster.server.psql(
        "UPDATE pycron.runs SET expires = clock_timestamp() WHERE state = 'waiting'"
        f" AND fire_time = to_timestamp({cluster.fire_time})"
    )
    for name, more in ((UNSERVED, "gpu"), (STRANGER, NO_USER), (NEWER, TOO_OLD)):
        row = until(partial(_missed, cluster, name), 60)
        assert row["reason"].startswith("no worker of the queue ")
        assert more in row["reason"]
        assert row["reason"] in cluster.why(name)


def _missed(cluster: Cluster, name: str) -> dict[str, Any] | None:
    row = cluster.row(name)
    return row if row["outcome"] == "missed" else None
