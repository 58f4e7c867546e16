"""The functions of a cluster's database, on a real PostgreSQL: every transition of a row."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from pycron.cluster import calls
from pycron.cluster.calls import CallFailed, Decided, RetryTerms, SharedKey
from pycron.cluster.database import Database
from pycron.cluster.migrations import upgrade
from tests.support import postgres
from tests.support.cluster_database import ClusterDatabase, Host, claim, cluster_database, run_key
from tests.support.waiting import until

pytestmark = pytest.mark.skipif(not postgres.is_here(), reason="PostgreSQL is not installed")

DAY = 86_400
LOST_AGAIN = RetryTerms(most=1, lost=True, delay=0.0, jitter=0.0)


@pytest.fixture(scope="module")
def server() -> Iterator[ClusterDatabase]:
    with cluster_database() as made:
        yield made


@pytest.fixture
def database(server: ClusterDatabase) -> Iterator[ClusterDatabase]:
    yield server
    server.clear()


def short(decided: Decided) -> tuple[str, int, str | None]:
    return (decided.decision.value, decided.attempt, decided.outcome)


# ---- claims


def test_a_fire_time_is_claimed_once(database: ClusterDatabase) -> None:
    web1, web2 = database.host("web1"), database.host("web2")
    key = run_key()
    assert [short(each) for each in web1.claim(claim(key))] == [("held", 1, None)]
    [other] = web2.claim(claim(key))
    assert (other.decision, other.holder, other.reason) == ("settled", "web1", "web1 runs it")
    # Called again, because the answer was lost on the way.
    assert [short(each) for each in web1.claim(claim(key))] == [("held", 1, None)]


@pytest.mark.parametrize(
    ("ago", "catch_up", "expected"),
    [
        (-3, False, ("later", 0, None)),  # the host's clock is ahead
        (0, False, ("held", 1, None)),
        (290, False, ("held", 1, None)),
        (310, False, ("settled", 0, "missed")),
        (310, True, ("held", 1, None)),
        (6 * DAY, True, ("held", 1, None)),
        (7 * DAY + 60, True, ("settled", 0, "missed")),
        (8 * DAY + 60, True, ("settled", 0, "missed")),
    ],
)
def test_the_time_for_a_claim(
    database: ClusterDatabase, ago: int, catch_up: bool, expected: tuple[str, int, str | None]
) -> None:
    [decided] = database.host().claim(claim(run_key(ago=ago), catch_up=catch_up))
    assert short(decided) == expected


def test_of_a_fire_time_that_may_have_been_forgotten_there_is_no_new_row(
    database: ClusterDatabase,
) -> None:
    key = run_key(ago=8 * DAY + 60)
    database.host().claim(claim(key, catch_up=True))
    assert database.column(key, "count(*)") == "0"


@pytest.mark.parametrize("standing", ["drained", "fenced"])
def test_a_host_that_gets_no_runs_still_records_missed_ones(
    database: ClusterDatabase, standing: str
) -> None:
    web1, web2 = database.host("web1"), database.host("web2")
    if standing == "drained":
        web2.database.ask("drain", {"host": "web1", "drained": True})
    else:
        assert web2.fence(web1)
    due, over = run_key("due"), run_key("over", ago=600)
    decided = web1.claim(claim(due), claim(over))
    assert [short(each) for each in decided] == [("later", 0, None), ("settled", 0, "missed")]
    assert decided[0].reason == f"this host is {standing}"


def test_forbid_skips(database: ClusterDatabase) -> None:
    web1, web2 = database.host("web1"), database.host("web2")
    web1.claim(claim(run_key(ago=60), concurrency="forbid"))
    [decided] = web2.claim(claim(run_key(), concurrency="forbid"))
    assert short(decided) == ("settled", 0, "skipped")
    assert decided.reason == "an earlier run still runs (CRON_CONCURRENCY=forbid)"


def test_forbid_skips_while_a_retry_waits_unless_it_ends_at_this_fire_time(
    database: ClusterDatabase,
) -> None:
    web1 = database.host()
    for number, until_ in enumerate((None, run_key().fire_time)):
        name = f"job{number}"
        retry = RetryTerms(most=1, until=until_)
        old, new = run_key(name, ago=60), run_key(name)
        web1.claim(claim(old, concurrency="forbid", retry=retry))
        web1.finish(old, outcome="failed", retry_in=0.0)
        [decided] = web1.claim(claim(new, concurrency="forbid"))
        expected = ("settled", 0, "skipped") if until_ is None else ("held", 1, None)
        assert short(decided) == expected


def test_queue_waits_without_a_row(database: ClusterDatabase) -> None:
    web1 = database.host()
    old, new, newest = run_key(ago=60), run_key(ago=30), run_key()
    web1.claim(claim(old, concurrency="queue"))
    [waits] = web1.claim(claim(new, concurrency="queue"))
    assert short(waits) == ("later", 0, None)
    # One may wait: when a newer one has come, this one is skipped.
    [skipped] = web1.claim(claim(new, concurrency="queue", newer=True))
    assert short(skipped) == ("settled", 0, "skipped")
    assert short(web1.claim(claim(newest, concurrency="queue"))[0]) == ("later", 0, None)
    web1.finish(old)
    assert short(web1.claim(claim(newest, concurrency="queue"))[0]) == ("held", 1, None)


def test_replace_tells_the_older_run_to_stop(database: ClusterDatabase) -> None:
    web1, web2 = database.host("web1"), database.host("web2")
    old, new = run_key(ago=60), run_key()
    web1.claim(claim(old, concurrency="replace"))
    assert short(web2.claim(claim(new, concurrency="replace"))[0]) == ("later", 0, None)
    assert [(row.key, row.stop) for row in web1.renew().held] == [(old, "replace")]
    web1.finish(old, outcome="killed", retry_in=0.0)
    assert database.column(old, "state") == "ended"
    assert short(web2.claim(claim(new, concurrency="replace"))[0]) == ("held", 1, None)
    # An older one that comes too late does not replace the newer one.
    [late] = web1.claim(claim(run_key(ago=30), concurrency="replace"))
    assert short(late) == ("settled", 0, "skipped")


def test_replace_ends_a_run_that_waits(database: ClusterDatabase) -> None:
    web1 = database.host()
    old, new = run_key(ago=60), run_key()
    web1.claim(claim(old, concurrency="replace"))
    web1.finish(old, outcome="failed", retry_in=60.0)
    assert short(web1.claim(claim(new, concurrency="replace"))[0]) == ("held", 1, None)
    assert database.column(old, "state || ' ' || outcome") == "ended failed"


def test_limits_of_the_job_and_of_the_pool(database: ClusterDatabase) -> None:
    web1 = database.host()
    first, second, other = run_key(ago=60), run_key(), run_key("other")
    limits: dict[str, Any] = {"max_running": 1, "pool": "reports", "pool_limit": 1}
    assert short(web1.claim(claim(first, **limits))[0]) == ("held", 1, None)
    assert web1.claim(claim(second, **limits))[0].reason == (
        "an earlier run still runs (CRON_MAX_RUNNING)"
    )
    assert web1.claim(claim(other, pool="reports", pool_limit=1))[0].reason == (
        "the pool reports is full"
    )
    web1.finish(first)
    assert short(web1.claim(claim(other, pool="reports", pool_limit=1))[0])[0] == "held"


def test_a_batch_is_decided_in_order(database: ClusterDatabase) -> None:
    keys = [run_key(name) for name in ("b", "a", "c")]
    decided = database.host().claim(*(claim(k, pool="p", pool_limit=2) for k in keys))
    assert [each.key for each in decided] == keys
    assert [each.decision for each in decided] == ["held", "held", "later"]  # a, b, then c


@pytest.mark.parametrize(
    ("ends", "expected"),
    [
        ({}, ("later", 0, None)),
        ({"first": "succeeded"}, ("later", 0, None)),
        ({"first": "succeeded", "second": "succeeded"}, ("held", 1, None)),
        ({"first": "succeeded", "second": "failed"}, ("settled", 0, "skipped")),
    ],
)
def test_after(
    database: ClusterDatabase, ends: dict[str, str], expected: tuple[str, int, str | None]
) -> None:
    """Also if the Runs that it follows take longer than its window."""
    web1 = database.host()
    at = run_key().fire_time - 250
    for name in ("first", "second"):
        web1.claim(claim(SharedKey("root", name, at)))
    for name, outcome in ends.items():
        web1.finish(SharedKey("root", name, at), outcome=outcome)
    [decided] = web1.claim(
        claim(SharedKey("root", "third", at), after=("first", "second"), window=1.0)
    )
    assert short(decided) == expected


# ---- ends, retries


def test_a_retry_is_started_by_any_host(database: ClusterDatabase) -> None:
    web1, web2 = database.host("web1"), database.host("web2")
    key = run_key()
    web1.claim(claim(key))
    assert web1.finish(key, outcome="failed", retry_in=0.0).taken
    [due] = web2.renew().due
    assert (due.key, due.attempt, due.due_in <= 0) == (key, 1, True)
    assert short(web2.start(key, 1)) == ("held", 2, None)
    assert short(web2.start(key, 1)) == ("held", 2, None)  # called again
    assert short(web1.start(key, 1)) == ("settled", 2, None)
    assert web2.renew().due == ()


def test_a_retry_waits_for_its_time(database: ClusterDatabase) -> None:
    web1 = database.host()
    key = run_key()
    web1.claim(claim(key))
    web1.finish(key, outcome="failed", retry_in=30.0)
    assert web1.renew().due == ()
    assert [round(row.due_in) for row in web1.renew(ahead=60.0).due] == [30]
    assert short(web1.start(key, 1)) == ("later", 0, None)


def test_a_retry_obeys_the_limits(database: ClusterDatabase) -> None:
    web1 = database.host()
    old, new = run_key(ago=60), run_key()
    web1.claim(claim(old))
    web1.finish(old, outcome="failed", retry_in=0.0)
    web1.claim(claim(new))
    assert short(web1.start(old, 1, concurrency="queue")) == ("later", 0, None)
    assert short(web1.start(old, 1, pool="p", pool_limit=1)) == ("held", 2, None)


def test_a_retry_that_would_be_too_late_does_not_wait(database: ClusterDatabase) -> None:
    web1 = database.host()
    key = run_key()
    web1.claim(claim(key, retry=RetryTerms(most=1, until=key.fire_time + 20)))
    web1.finish(key, outcome="failed", retry_in=30.0)
    assert database.column(key, "state || ' ' || outcome") == "ended failed"


def test_a_waiting_run_expires_with_its_last_outcome(database: ClusterDatabase) -> None:
    web1 = database.host()
    key = run_key(ago=10)
    web1.claim(claim(key, retry=RetryTerms(most=1, until=time.time() + 1)))
    web1.finish(key, outcome="timed_out", retry_in=0.0)
    until(lambda: web1.renew().expired)
    assert short(web1.start(key, 1)) == ("settled", 1, "timed_out")
    assert web1.change(calls.Expire()) == 0  # the start gate has ended it


def test_finish_may_be_repeated(database: ClusterDatabase) -> None:
    web1 = database.host()
    key = run_key()
    web1.claim(claim(key))
    assert web1.finish(key, outcome="failed", retry_in=0.0).taken
    assert web1.finish(key, outcome="failed", retry_in=0.0).taken
    web1.start(key, 1)
    assert web1.finish(key, outcome="failed", retry_in=0.0).taken  # Attempt 2 is not touched
    assert database.column(key, "state || attempt") == "held2"
    assert not web1.finish(run_key("other")).taken


def test_an_end_that_is_reported_too_late(database: ClusterDatabase) -> None:
    web1, web2 = database.host("web1"), database.host("web2")
    key = run_key()
    web1.claim(claim(key))
    assert web2.fence(web1)
    assert web2.change(calls.Reap()) == 1
    finished = web1.finish(key)
    assert (finished.taken, finished.reason) == (False, "attempt 1: ended, lost")


# ---- hosts


def test_a_name_has_one_host(database: ClusterDatabase) -> None:
    web1, twin = database.host("web1"), database.host("web1", live=False)
    assert web1.register()  # again
    assert not twin.register()
    assert not twin.renew().live
    assert web1.change(calls.Goodbye("web1", web1.incarnation)) == 1
    assert web1.change(calls.Goodbye("web1", web1.incarnation)) == 1  # again
    assert twin.register()


def test_a_host_that_holds_something_does_not_leave(database: ClusterDatabase) -> None:
    web1 = database.host()
    key = run_key()
    web1.claim(claim(key))
    assert web1.change(calls.Goodbye("web1", web1.incarnation)) == 0
    web1.finish(key)
    assert web1.change(calls.Goodbye("web1", web1.incarnation)) == 1


def test_a_beat_is_never_used_again(database: ClusterDatabase) -> None:
    web1, web2 = database.host("web1"), database.host("web2")
    beats = [next(h.beat for h in web1.renew().hosts if h.host == "web1") for _ in range(5)]
    assert len(set(beats)) == 5
    old = calls.Fence("web1", web1.incarnation, beats[0])
    assert web2.change(old) == 0
    assert web1.renew().live


def test_the_runs_of_a_fenced_host_are_lost(database: ClusterDatabase) -> None:
    web1, web2 = database.host("web1"), database.host("web2")
    kept, again, gone = run_key("kept"), run_key("again"), run_key("gone")
    web2.claim(claim(kept))
    web1.claim(claim(again, retry=LOST_AGAIN), claim(gone))
    assert not web2.renew().orphans
    assert web2.fence(web1)
    assert not web1.renew().live
    assert web2.renew().orphans
    assert web2.change(calls.Reap(most=1)) == 1
    assert web2.change(calls.Reap()) == 1
    assert web2.change(calls.Reap()) == 0
    states = [database.column(key, "state || attempt") for key in (kept, again, gone)]
    assert states == ["held1", "waiting1", "ended1"]
    assert short(web2.start(again, 1)) == ("held", 2, None)
    web3 = database.host("web3")
    assert web3.fence(web2)
    web3.change(calls.Reap())
    assert database.column(again, "state || ' ' || outcome") == "ended lost"  # one retry


@pytest.mark.parametrize("spec", ['{"most": "many", "lost": true}', '{"lost": "?"}', "[]", "1"])
def test_a_damaged_row_does_not_stop_the_reaping(database: ClusterDatabase, spec: str) -> None:
    web1, web2 = database.host("web1"), database.host("web2")
    keys = [run_key(name) for name in ("a", "b")]
    web1.claim(*map(claim, keys))
    database.server.psql(f"UPDATE pycron.runs SET spec = '{spec}' WHERE name = 'a'")
    assert web2.fence(web1)
    assert web2.change(calls.Reap()) == 2


def test_clusters_in_one_database_are_apart(database: ClusterDatabase) -> None:
    here, there = database.host("web1"), database.host("web1", cluster="test")
    key = run_key()
    assert short(here.claim(claim(key))[0]) == short(there.claim(claim(key))[0])
    assert [host.incarnation for host in there.renew().hosts] == [there.incarnation]


# ---- old rows


def test_old_rows_are_deleted(database: ClusterDatabase) -> None:
    web1 = database.host()
    names = ("old", "held")
    web1.claim(*(claim(run_key(name, ago=60)) for name in names), claim(run_key("new")))
    web1.finish(run_key("old", ago=60))
    database.server.psql(
        "UPDATE pycron.runs SET fire_time = fire_time - interval '9 days' WHERE name <> 'new';"
        "UPDATE pycron.runs SET state = 'ended', holder = NULL, outcome = 'succeeded'"
        " WHERE name = 'old'"
    )
    assert web1.change(calls.Prune()) == 1
    assert database.server.psql("SELECT string_agg(name, ',' ORDER BY name) FROM pycron.runs") == (
        "held,new"
    )


def test_a_clock_that_is_ahead_deletes_nothing(database: ClusterDatabase) -> None:
    """The database's clock is a month ahead of the hosts' clocks, which made the fire times."""
    web1 = database.host()
    web1.claim(claim(run_key()))
    database.server.psql(
        "UPDATE pycron.runs SET fire_time = fire_time - interval '30 days', state = 'ended',"
        " holder = NULL, outcome = 'succeeded'"
    )
    assert web1.change(calls.Prune()) == 0


# ---- connections


def test_a_lock_that_is_not_let_go(database: ClusterDatabase) -> None:
    """The call fails after its lock_timeout, and the next one works."""
    web1 = database.host()
    key = run_key()
    web1.claim(claim(key))
    with psycopg.connect(database.address) as other:
        other.execute("SELECT FROM pycron.runs FOR UPDATE")
        with pytest.raises(CallFailed, match="55P03"):
            web1.finish(key)
    assert web1.finish(key).taken


def test_a_server_that_says_nothing(database: ClusterDatabase) -> None:
    web1 = database.host()
    impatient = Database(database.address, "prod", patience=0.5)
    pid = int(impatient.query("SELECT pg_backend_pid()")[0][0])
    os.kill(pid, signal.SIGSTOP)
    try:
        with pytest.raises(CallFailed, match="no answer in time"):
            impatient.perform(calls.Reap())
    finally:
        os.kill(pid, signal.SIGCONT)
    assert impatient.perform(calls.Reap()) == calls.Changed(0)  # with a new connection
    impatient.close()
    assert web1.renew().live


def test_a_connection_that_breaks(database: ClusterDatabase) -> None:
    web1 = database.host()
    pid = web1.database.query("SELECT pg_backend_pid()")[0][0]
    database.server.psql(f"SELECT pg_terminate_backend({pid})")
    with pytest.raises(CallFailed):
        web1.renew()
    assert web1.renew().live


def test_only_a_primary_is_spoken_to(database: ClusterDatabase) -> None:
    database.server.psql("ALTER DATABASE postgres SET default_transaction_read_only = on")
    try:
        with pytest.raises(CallFailed, match=r"no connection to the database: .*read-only"):
            Database(database.address, "prod").perform(calls.Reap())
    finally:
        database.server.psql("ALTER DATABASE postgres RESET default_transaction_read_only")


def test_another_isolation_level_is_refused(database: ClusterDatabase) -> None:
    """With one snapshot for a whole transaction, a lock would protect nothing."""
    database.server.psql("ALTER DATABASE postgres SET default_transaction_isolation = serializable")
    try:
        with pytest.raises(CallFailed, match=r"isolation level read committed, not serializable"):
            Database(database.address, "prod").perform(calls.Reap())
    finally:
        database.server.psql("ALTER DATABASE postgres RESET default_transaction_isolation")


def test_another_encoding_is_refused(database: ClusterDatabase) -> None:
    """It cannot write every name, and a claim with such a name gets no answer."""
    latin = "TEMPLATE template0 ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C'"
    database.server.psql(f"CREATE DATABASE latin {latin}")
    with pytest.raises(CallFailed, match=r"has the encoding LATIN1, and pycron needs UTF8: "):
        upgrade(database.server.address("latin"))


def test_the_settings_of_a_session(database: ClusterDatabase) -> None:
    session = Database(database.address, "prod")
    names = ("lock_timeout", "idle_in_transaction_session_timeout", "statement_timeout")
    [values] = session.query(
        "SELECT " + ", ".join(f"to_jsonb(current_setting('{name}'))" for name in names)
    )
    assert values == ["5s", "10s", "0"]
    session.close()


def test_the_server_soon_closes_a_session_whose_network_is_cut(database: ClusterDatabase) -> None:
    """Or else each cut would leave it with sessions for hours, until it has room for no more."""
    session = Database(database.address, "prod")
    names = (
        "tcp_keepalives_idle", "tcp_keepalives_interval", "tcp_keepalives_count",
        "tcp_user_timeout",
    )  # fmt: skip
    [values] = session.query(
        "SELECT " + ", ".join(f"to_jsonb(current_setting('{name}')::integer)" for name in names)
    )
    assert values == [5, 3, 3, 10_000]
    session.close()


@pytest.mark.slow
def test_a_commit_that_is_on_no_standby_is_not_believed(database: ClusterDatabase) -> None:
    """A wait for the standby that somebody cancels ends with success, and a warning."""
    database.server.psql("ALTER DATABASE postgres SET synchronous_commit = on")
    web1, key = database.host(), run_key()
    _set_standby(database, "nobody")
    try:
        for _ in range(2):  # also if the row is there already, from a commit that nobody has
            answers: list[object] = []
            thread = threading.Thread(target=_claim_into, args=(answers, web1, key))
            thread.start()
            until(lambda: _cancel_wait(database), 8)
            thread.join()
            assert [type(each) for each in answers] == [CallFailed], answers
            assert "standby" in str(answers[0])
    finally:
        _set_standby(database, "")
        database.server.psql("ALTER DATABASE postgres RESET synchronous_commit")
    assert short(web1.claim(claim(key))[0]) == ("held", 1, None)


def _set_standby(database: ClusterDatabase, names: str) -> None:
    database.server.psql(f"ALTER SYSTEM SET synchronous_standby_names = '{names}'")
    database.server.psql("SELECT pg_reload_conf()")
    until(lambda: database.server.psql("SHOW synchronous_standby_names") == names)


def _claim_into(answers: list[object], host: Host, key: SharedKey) -> None:
    try:
        answers.append(host.claim(claim(key)))
    except CallFailed as error:
        answers.append(error)


def _cancel_wait(database: ClusterDatabase) -> bool:
    return "t" in database.server.psql(
        "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
    )
