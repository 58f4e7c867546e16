"""CRON_SEND with CRON_ON=any: hosts of a cluster send each message once."""

import importlib.util
from pathlib import Path

import pytest

from tests.integration.test_senders import queued
from tests.support.brokers import needs_redis, redis_server
from tests.support.cluster_hosts import Host, hosts
from tests.support.postgres import is_here, running_postgres
from tests.support.waiting import until

pytestmark = [
    needs_redis,
    pytest.mark.skipif(importlib.util.find_spec("celery") is None, reason="needs celery"),
    pytest.mark.skipif(importlib.util.find_spec("psycopg") is None, reason="needs psycopg"),
    pytest.mark.skipif(not is_here(), reason="needs PostgreSQL"),
]

LINE = "CRON_NAME=s CRON_SEND=shop CRON_ON=any CRON_RETRIES=3 @every 2s shop.tasks.refresh"


def ended(host: Host) -> int:
    """How many Attempts have ended on a host, as far as its log has it."""
    return len(host.running.log("attempt_ended"))


@pytest.mark.slow
def test_two_hosts_send_each_message_once_also_when_one_dies(tmp_path: Path) -> None:
    with running_postgres() as server, redis_server(tmp_path / "redis") as redis:
        sender = ("[senders.shop]", f'celery = "{redis.url}"', 'queue = "shop"')
        with hosts(tmp_path, server, 2, LINE, options=sender) as (one, other):
            until(lambda: len(queued(redis)) >= 3, 30)
            one.running.kill()
            before = len(queued(redis))
            until(lambda: len(queued(redis)) >= before + 3, 30)
            one.start()
            one.joined()
            until(lambda: len(queued(redis)) >= before + 6, 30)
            messages = [each["headers"] for each in queued(redis)]
            # The broker has a message before its Attempt has ended; a kill may cost one log line.
            until(lambda: ended(one) + ended(other) >= len(messages) - 1, 30)
    fire_times = [each["cron_fire_time"] for each in messages]
    assert len(set(fire_times)) == len(fire_times)
    assert len({each["id"] for each in messages}) == len(messages)
    assert len({each["cron_run_id"] for each in messages}) == len(messages)
