"""`pycron cluster kill`, `redrive` and `drain` with real daemons."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pycron.system.accounts import own_account
from tests.support.cluster_hosts import CLUSTER, Host, hosts, wait_for_rows, witnessed
from tests.support.postgres import Postgres, is_here, running_postgres
from tests.support.running_daemon import run
from tests.support.waiting import until

pytest.importorskip("psycopg")
pytestmark = [
    pytest.mark.skipif(not is_here(), reason="needs PostgreSQL"),
    pytest.mark.xdist_group("shared_jobs"),
]

WRITE = 'echo "$CRON_JOB $CRON_ATTEMPT" >> $WITNESS'


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    with running_postgres() as server:
        yield server


@pytest.fixture
def server(postgres: Postgres) -> Iterator[Postgres]:
    yield postgres
    postgres.empty()


def verb(host: Host, *arguments: str) -> list[dict[str, Any]]:
    done = run("pycron", "cluster", *arguments, "--config", host.config, "--json")
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def insert_yesterdays_run(server: Postgres, name: str, attempt: int, outcome: str) -> None:
    """A Run of a Job that is due each midnight, which has ended."""
    fire_time = int(time.time()) // 86_400 * 86_400 - 86_400
    server.psql(
        "INSERT INTO pycron.runs (cluster, owner, name, fire_time, attempt, state, outcome,"
        f" changed) VALUES ('{CLUSTER}', '{own_account().name}', '{name}',"
        f" to_timestamp({fire_time}), {attempt}, 'ended', '{outcome}', now())"
    )


@pytest.mark.slow
def test_a_run_is_killed_on_whatever_host_it_is(tmp_path: Path, server: Postgres) -> None:
    """And there is no retry, although the Job has some."""
    line = f"CRON_NAME=long CRON_ON=any CRON_RETRIES=3 CRON_RETRY_DELAY=1s @every 20s {WRITE};"
    with hosts(tmp_path, server, 2, f"{line} exec sleep 600") as (one, other):
        wait_for_rows(server, "state = 'held'", patience=60)
        until(lambda: witnessed([one, other]), 60)
        [row] = verb(other, "runs", "--limit", "1")
        verb(other, "kill", row["run_id"])
        wait_for_rows(server, f"state = 'ended' AND outcome IN ('cancelled', 'killed')"
                      f" AND attempt = 1 AND host = '{row['host']}'", patience=60)  # fmt: skip


@pytest.mark.slow
def test_a_run_that_was_missed_is_redriven(tmp_path: Path, server: Postgres) -> None:
    """Its first Attempt is still to come."""
    line = f"CRON_NAME=late CRON_ON=any @daily {WRITE}"
    with hosts(tmp_path, server, 2, line) as all_hosts:
        insert_yesterdays_run(server, "late", 0, "missed")
        [row] = verb(all_hosts[0], "runs", "--outcome", "missed")
        verb(all_hosts[0], "redrive", row["run_id"])
        wait_for_rows(server, "outcome = 'succeeded' AND attempt = 1", patience=60)
        assert dict(witnessed(all_hosts)) == {"late 1": 1}


@pytest.mark.slow
def test_a_redriven_run_has_its_retries_again(tmp_path: Path, server: Postgres) -> None:
    """On whatever hosts the Attempts are, and although the next fire time has come long ago."""
    settings = "CRON_RETRIES=1 CRON_RETRY_DELAY=1s CRON_RETRY_JITTER=0"
    line = f"CRON_NAME=bad CRON_ON=any {settings} @daily {WRITE}; false"
    with hosts(tmp_path, server, 2, line) as all_hosts:
        insert_yesterdays_run(server, "bad", 2, "failed")
        [row] = verb(all_hosts[0], "runs", "--outcome", "failed")
        verb(all_hosts[0], "redrive", row["run_id"])
        wait_for_rows(server, "state = 'ended' AND attempt = 4", patience=60)
        verb(all_hosts[0], "redrive", row["run_id"])
        wait_for_rows(server, "state = 'ended' AND attempt = 6", patience=60)
        assert dict(witnessed(all_hosts)) == {f"bad {number}": 1 for number in (3, 4, 5, 6)}


@pytest.mark.slow
def test_a_drained_host_starts_nothing(tmp_path: Path, server: Postgres) -> None:
    line = f"CRON_NAME=often CRON_ON=any @every 1s {WRITE}"
    with hosts(tmp_path, server, 2, line) as (one, other):
        until(lambda: one.lines() and other.lines(), 60)
        verb(one, "drain", other.name, "--wait")
        before = len(other.lines())
        at_first = len(one.lines())
        until(lambda: len(one.lines()) >= at_first + 5, 60)
        assert len(other.lines()) == before
        verb(one, "drain", other.name, "--undo")
        until(lambda: len(other.lines()) > before, 60)
