"""Queue Jobs from the fire time to the end, with nothing left out: daemons, agents, PostgreSQL, a
real broker and real workers.
"""

import signal
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from pycron.system.accounts import own_account
from tests.support.cluster_hosts import Host, hosts, rows, wait_for_rows, witnessed
from tests.support.postgres import Postgres, is_here, running_postgres
from tests.support.queue_brokers import Broker, each_kind, running_broker
from tests.support.running_daemon import run
from tests.support.running_worker import RunningWorker, running_worker
from tests.support.waiting import until

pytest.importorskip("psycopg")
pytest.importorskip("celery")
pytestmark = [
    pytest.mark.skipif(not is_here(), reason="needs PostgreSQL"),
    pytest.mark.xdist_group("shared_jobs"),
]

WRITE = 'echo "$CRON_JOB $CRON_FIRE_TIME $CRON_ATTEMPT" >> $WITNESS'


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with running_postgres() as postgres:
        yield postgres


@pytest.fixture(params=each_kind())
def broker(request: pytest.FixtureRequest) -> Iterator[Broker]:
    with running_broker(request.param) as server:
        yield server


def options(broker: Broker) -> tuple[str, ...]:
    """Lines of [cluster], and what follows it."""
    users = f'users = ["{own_account().name}"]'
    return f'broker = "{broker.url}"', "[worker]", 'queues = ["default", "other"]', users


def queued(name: str, queue: str, schedule: str, command: str, *settings: str) -> str:
    return f"CRON_NAME={name} CRON_ON=queue:{queue} {' '.join(settings)} {schedule} {command}"


def worker_of(
    host: Host, stack: ExitStack, queues: str = "default", size: int = 2
) -> RunningWorker:
    return stack.enter_context(running_worker(host.state, queues, size))


@pytest.mark.slow
def test_each_fire_time_runs_once_among_two_workers(
    tmp_path: Path, server: Postgres, broker: Broker
) -> None:
    server.psql("DROP SCHEMA IF EXISTS pycron CASCADE")
    lines = [queued(f"j{n}", "default", "@every 2s", WRITE) for n in range(5)]
    with (
        hosts(tmp_path, server, 2, *lines, options=options(broker)) as (first, second),
        ExitStack() as stack,
    ):
        workers = [worker_of(host, stack) for host in (first, second)]
        wait_for_rows(server, "outcome = 'succeeded'", 30, 90)
        for host in (first, second):
            host.write()
        wait_for_rows(server, "state = 'ended'", 30)
        until(lambda: not rows(server, "name", "state <> 'ended'"), 90)
        seen = witnessed([first, second])
        assert set(seen.values()) == {1}
        assert {outcome for (outcome,) in rows(server, "outcome")} == {"succeeded"}
        for worker in workers:
            assert worker.stop() == 0
            assert "Traceback" not in worker.log
        shown = run("pycron", "cluster", "status", "--config", first.config)
        assert shown.returncode == 0


@pytest.mark.slow
def test_what_is_published_while_the_broker_is_away_comes_later(
    tmp_path: Path, server: Postgres, broker: Broker
) -> None:
    """Nobody sends the message that the broker did not get; the row does not forget."""
    server.psql("DROP SCHEMA IF EXISTS pycron CASCADE")
    with (
        hosts(tmp_path, server, 1, "@daily true", options=options(broker)) as (host,),
        ExitStack() as stack,
    ):
        worker_of(host, stack)
        # In good order: a RabbitMQ of one node forgets a queue if it is killed when that is new.
        broker.kill(signal.SIGTERM)
        host.write(queued("x", "default", "@every 5s", WRITE))
        wait_for_rows(server, "state = 'waiting' AND publications > 0")
        host.write()
        broker.start()
        wait_for_rows(server, "outcome = 'succeeded'", 1, 120)
        assert set(witnessed([host]).values()) == {1}
