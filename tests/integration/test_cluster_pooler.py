"""A cluster whose hosts reach the database through PgBouncer in transaction mode."""

from collections.abc import Iterator

import pytest

from pycron.cluster import calls
from pycron.cluster.calls import Decision
from tests.support import pgbouncer, postgres
from tests.support.cluster_database import ClusterDatabase, claim, cluster_database, run_key
from tests.support.pgbouncer import running_pgbouncer

pytestmark = [
    pytest.mark.skipif(not postgres.is_here(), reason="PostgreSQL is not installed"),
    pytest.mark.skipif(not pgbouncer.is_here(), reason="PgBouncer is not installed"),
]


@pytest.fixture(scope="module")
def database() -> Iterator[ClusterDatabase]:
    with cluster_database() as made, running_pgbouncer(made.server) as address:
        pooled = ClusterDatabase(made.server, address)
        yield pooled
        pooled.clear()


def test_hosts_share_one_connection_of_the_server(database: ClusterDatabase) -> None:
    hosts = [database.host(f"web{number}") for number in range(1, 5)]
    key = run_key()
    decided = [host.claim(claim(key, concurrency="forbid"))[0].decision for host in hosts]
    assert sorted(decided) == [Decision.HELD, *[Decision.SETTLED] * 3]
    pids = {host.database.query("SELECT to_jsonb(pg_backend_pid())")[0][0] for host in hosts}
    assert len(pids) < len(hosts)
    holder = hosts[decided.index(Decision.HELD)]
    assert holder.finish(key, outcome="failed", retry_in=0.0).taken
    other = next(host for host in hosts if host is not holder)
    assert other.start(key, 1).decision is Decision.HELD
    assert holder.fence(other)
    assert holder.change(calls.Reap()) == 1


@pytest.mark.slow
def test_no_session_leaves_anything_behind(database: ClusterDatabase) -> None:
    """Locks and settings of one call are gone when another host's call has the connection."""
    web1, web2 = database.host("left1"), database.host("left2")
    web1.claim(claim(run_key("left"), concurrency="forbid", pool="p", pool_limit=1))
    [[locks]] = web2.database.query(
        "SELECT to_jsonb(count(*)) FROM pg_locks WHERE locktype = 'advisory'"
    )
    [[timeout]] = web2.database.query("SELECT to_jsonb(current_setting('lock_timeout'))")
    assert (locks, timeout) == (0, "0")
