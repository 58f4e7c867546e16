"""Whoever can write to the database of a cluster cannot make a host run what its tables do not say.

The attacker has the whole database: its rows, and its functions, which may answer anything.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pycron.system.accounts import own_account
from tests.support.cluster_hosts import Host, hosts, wait_for_rows
from tests.support.interleavings import schema
from tests.support.postgres import Postgres, is_here, running_postgres
from tests.support.waiting import until

pytest.importorskip("psycopg")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not is_here(), reason="needs PostgreSQL"),
    pytest.mark.xdist_group("shared_jobs"),
]

ME = own_account().name
SHARED = "CRON_NAME=shared CRON_ON=any CRON_RETRIES=3 @every 4s echo shared >> $WITNESS"
LOCAL = "CRON_NAME=local @daily echo local >> $WITNESS"
ELSEWHERE = "CRON_NAME=elsewhere CRON_ON=other @every 1s echo elsewhere >> $WITNESS"
TICK = "CRON_NAME=tick @every 1s echo tick >> $WITNESS"
COMMAND = "touch /tmp/pycron-was-here; $(touch /tmp/pycron-was-here)"


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with running_postgres() as postgres:
        yield postgres


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, server: Postgres) -> Iterator[Host]:
    directory = tmp_path_factory.mktemp("attacked")
    with hosts(directory, server, 1, SHARED, LOCAL, ELSEWHERE, TICK) as (one,):
        yield one


@pytest.fixture
def host(running: Host, server: Postgres) -> Iterator[Host]:
    """The host; afterwards the functions and rows are good ones again."""
    wait_for_rows(server, "outcome = 'succeeded'", 1)
    yield running
    server.psql(schema())
    server.psql("DELETE FROM pycron.runs")


def works_on(host: Host) -> None:
    """Local Jobs run, and nothing has run but what the table says."""
    ticks = host.lines().count("tick")
    until(lambda: host.lines().count("tick") >= ticks + 3, 60)
    assert set(host.lines()) <= {"shared", "tick"}
    assert not Path("/tmp/pycron-was-here").exists()


def is_renewed_twice(server: Postgres) -> None:
    """By then the agent has seen all rows, and offered to the daemon what is due."""
    seen: set[str] = set()

    def has_seen_three() -> bool:
        seen.add(server.psql("SELECT beat FROM pycron.hosts"))
        return len(seen) > 2

    until(has_seen_three, 60)


def insert(
    server: Postgres, name: str, state: str, owner: str, attempt: int = 1, queue: str | None = None
) -> None:
    """A row with a command in every text that it has. `queue`: of a queue Job that is right."""
    job: dict[str, Any] = {
        "command": COMMAND,
        "environment": [],
        "flags": "",
        "schedule": "",
        "settings": {"CRON_ON": f"queue:{queue}"},
    }
    spec = json.dumps({"command": COMMAND, "cmd": COMMAND, "env": {"SHELL": COMMAND},
                       "version": 1, "job": json.dumps(job)})  # fmt: skip
    holder = "(SELECT incarnation FROM pycron.hosts LIMIT 1)" if state == "held" else "NULL"
    times = "clock_timestamp() - interval '1 minute', clock_timestamp() + interval '1 hour'"
    server.psql(
        "INSERT INTO pycron.runs (cluster, owner, name, fire_time, attempt, state, holder,"
        " not_before, expires, host, reason, outcome, pool, spec, changed, queue)"
        f" SELECT cluster, $x${owner}$x$, $x${name}$x$, date_trunc('second', clock_timestamp())"
        f" - interval '90 seconds', {attempt}, '{state}', {holder}, {times},"
        f" $x${COMMAND}$x$, $x${COMMAND}$x$, $x${COMMAND}$x$, $x${COMMAND}$x$, $x${spec}$x$,"
        f" clock_timestamp(), {'NULL' if queue is None else repr(queue)}"
        " FROM pycron.hosts LIMIT 1"
    )


def test_rows_of_other_jobs(host: Host, server: Postgres) -> None:
    """Only the shared Jobs of the host's own tables can be started by a row."""
    for name in ("local", "elsewhere", "unknown", COMMAND, "", "x" * 5000):
        for state, owner in (("waiting", ME), ("held", f"{ME}x")):
            insert(server, name, state, owner)
    for owner in ("root", "daemon", "nobody", COMMAND):
        if owner != ME:
            insert(server, "shared", "waiting", owner)
    is_renewed_twice(server)
    works_on(host)


def test_rows_that_the_host_seems_to_hold(host: Host, server: Postgres) -> None:
    for name in ("local", "elsewhere", "unknown", COMMAND):
        insert(server, name, "held", ME)
    is_renewed_twice(server)
    works_on(host)


def test_rows_of_queues(host: Host, server: Postgres) -> None:
    """This host has no [worker]: it takes no Job from a row, also if it seems to hold that."""
    for owner in {ME, "root", "nobody"}:
        for name in ("local", "shared", "unknown"):
            insert(server, f"{name}w", "waiting", owner, queue="default")
            insert(server, f"{name}h", "held", owner, queue="default")
    insert(server, "nothing", "held", ME, queue="default")
    server.psql("UPDATE pycron.runs SET spec = '{}' WHERE name = 'nothing'")
    ended = "outcome = 'failed' AND reason LIKE '%the queue default is not in worker.queues'"
    wait_for_rows(server, ended, 3 * len({ME, "root", "nobody"}))
    is_renewed_twice(server)
    works_on(host)


def test_numbers_of_attempts(host: Host, server: Postgres) -> None:
    for number, name in ((0, "local"), (-1, "elsewhere"), (2**31 - 1, "unknown")):
        insert(server, name, "waiting", ME, number)
        insert(server, f"{name}x", "held", ME, number)
    is_renewed_twice(server)
    works_on(host)


ANSWERS = {
    "held": json.dumps({"live": True, "clock": 0, "drained": False, "hosts": [], "due": [
        {"owner": "root", "name": "local", "fire_time": 0, "attempt": 0, "due_in": 0},
        {"owner": "root", "name": COMMAND, "fire_time": -1, "attempt": -1, "due_in": -1e300}],
        "held": [{"owner": "root", "name": "local", "fire_time": 1, "attempt": 1, "stop": COMMAND},
                 {"owner": COMMAND, "name": COMMAND, "fire_time": 2**52, "attempt": 2**40}],
        "orphans": True, "expired": True,
        "answers": [{"owner": "root", "name": "local", "fire_time": 1, "answer": "held",
                     "attempt": 1}]}),
    "null": "null",
    "text": json.dumps(COMMAND),
    "nested": "[" * 200 + "]" * 200,
    "nothing": "{}",
}  # fmt: skip


def replace_functions(server: Postgres, expression: str) -> None:
    for function in ("renew", "claim", "start", "finish", "register", "reap", "fence"):
        server.psql(
            f"CREATE OR REPLACE FUNCTION pycron.{function}(request jsonb) RETURNS jsonb LANGUAGE"
            f" sql VOLATILE AS $f$ SELECT {expression} $f$"
        )


@pytest.mark.parametrize("answer", ANSWERS)
def test_functions_that_answer_something_else(host: Host, server: Postgres, answer: str) -> None:
    replace_functions(server, f"$x${ANSWERS[answer]}$x$::jsonb")
    ticks = host.lines().count("tick")
    until(lambda: host.lines().count("tick") >= ticks + 7, 60)  # longer than between renewals
    works_on(host)


def test_answers_without_end(host: Host, server: Postgres) -> None:
    replace_functions(server, "jsonb_build_object('live', true, 'hosts', repeat('x', 50000000))")
    ticks = host.lines().count("tick")
    until(lambda: host.lines().count("tick") >= ticks + 7, 60)
    works_on(host)


def test_the_database_sees_no_command(host: Host, server: Postgres) -> None:
    """Neither the text nor the environment of an entry leaves the host."""
    wait_for_rows(server, "outcome = 'succeeded'", 2)
    rows = server.psql("SELECT to_jsonb(r) FROM pycron.runs r")
    rows += server.psql("SELECT to_jsonb(h) FROM pycron.hosts h")
    assert "echo" not in rows
    assert "WITNESS" not in rows
